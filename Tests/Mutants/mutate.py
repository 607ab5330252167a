#!/usr/bin/env python3
"""Reads the mutants of *.mutants and puts one into a copy of the tree; the form is told in run.sh.

usage: mutate.py FOLDER TREE COPY list | stale | modes | cases MODE | field NAME WORD | apply NAME | restore NAME"""
import glob, os, re, shutil, sys

folder, tree, copy, verb, *arguments = sys.argv[1:]


def parse(path):
    mutants, current = [], None
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word == "mutant":
                name = rest.strip()
                current = {"name": name, "mode": "default", "old": [], "new": [], "what": ""}
                mutants.append(current)
            elif word in ("what", "file", "cases", "mode"):
                current[word] = rest
            elif word == "-":
                current["old"].append(rest)
            elif word == "+":
                current["new"].append(rest)
            else:
                sys.exit(f"{path}:{number}: cannot be read: {line}")
    return mutants


mutants = {m["name"]: m for path in sorted(glob.glob(os.path.join(folder, "*.mutants"))) for m in parse(path)}


def place(mutant, root):
    return os.path.join(root, "Sources", mutant["file"])


def without_marks(path):
    """Mutants are written without the marks of unsafe expressions; the copy is built without the rule that asks for them."""
    with open(path, encoding="utf-8") as source:
        return re.sub(r"\bunsafe ", "", source.read())


def apply(mutant):
    path = place(mutant, copy)
    text = without_marks(path)
    old, new = "\n".join(mutant["old"]), "\n".join(mutant["new"])
    found = text.count(old) if old else 0
    if found != 1:
        sys.exit(f"the text to replace stands {found} times in {mutant['file']}")
    with open(path, "w", encoding="utf-8") as target:
        target.write(text.replace(old, new))


def is_stale(mutant):
    return without_marks(place(mutant, tree)).count("\n".join(mutant["old"])) != 1


if verb == "list":
    print("\n".join(mutants))
elif verb == "stale":
    print("\n".join(name for name, mutant in mutants.items() if is_stale(mutant)))
elif verb == "modes":
    print("\n".join(sorted({m["mode"] for m in mutants.values()})))
elif verb == "cases":
    print("\n".join(sorted({c for m in mutants.values() if m["mode"] == arguments[0] for c in m["cases"].split()})))
elif arguments[0] not in mutants:
    sys.exit(f"no mutant {arguments[0]}")
elif verb == "field":
    print(mutants[arguments[0]][arguments[1]])
elif verb == "apply":
    apply(mutants[arguments[0]])
elif verb == "restore":
    shutil.copy2(place(mutants[arguments[0]], tree), place(mutants[arguments[0]], copy))
