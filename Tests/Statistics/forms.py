"""The two forms that sluicestat writes for programs: JSON that its schema describes, and Prometheus's text."""
import re

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
# Every keyword that the schema uses; another one is an error, not passed over.
KEYWORDS = {"description", "type", "properties", "required", "additionalProperties", "items", "enum", "const", "minimum", "maximum",
            "exclusiveMinimum", "anyOf", "$ref"}


class Wrong(Exception):
    pass


def is_kind(value, kind):
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def check(value, schema, definitions, where="$"):
    """Raises Wrong where a value does not follow the schema, or has a member that it does not describe."""
    def need(condition, what):
        if not condition:
            raise Wrong(f"{where}: {what}")

    need(set(schema) <= KEYWORDS, f"keywords of the schema: {set(schema) - KEYWORDS}")
    if "$ref" in schema:
        check(value, definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, where)
    if "anyOf" in schema:
        problems = []
        for choice in schema["anyOf"]:
            try:
                check(value, choice, definitions, where)
                break
            except Wrong as problem:
                problems.append(str(problem))
        need(len(problems) < len(schema["anyOf"]), problems)
    need("type" not in schema or is_kind(value, schema["type"]), f"{value!r} is no {schema.get('type')}")
    need("const" not in schema or value == schema["const"] and type(value) is type(schema["const"]), f"{value!r}")
    need("enum" not in schema or value in schema["enum"], f"{value!r}")
    if isinstance(value, (int, float)):
        need(value >= schema.get("minimum", value) and value <= schema.get("maximum", value), f"{value} is out of range")
        need("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"], f"{value} is out of range")
    if schema.get("type") == "object":
        members = schema.get("properties", {})
        need(set(schema.get("required", ())) <= set(value), f"without {set(schema.get('required', ())) - set(value)}")
        for name, member in value.items():
            rest = schema.get("additionalProperties")
            need(name in members or rest, f"{name} is not described")
            check(member, members.get(name, rest), definitions, f"{where}.{name}")
    for place, item in enumerate(value if schema.get("type") == "array" else ()):
        check(item, schema["items"], definitions, f"{where}[{place}]")


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? (-?[0-9.]+(?:[eE][-+]?[0-9]+)?|\+Inf|NaN)")


def check_histogram(name, samples):
    """For each set of labels: buckets that grow up to +Inf, which has all, and a sum."""
    buckets = {}
    for labels, value in samples.items():
        if ("", "_bucket") in labels:
            rest = tuple(label for label in labels if label[0] not in ("", "le"))
            buckets.setdefault(rest, []).append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
    for rest, values in buckets.items():
        values.sort()
        counts = [count for _, count in values]
        if counts != sorted(counts) or values[-1] != (float("inf"), samples.get(tuple(sorted(rest + (("", "_count"),))))):
            raise Wrong(f"{name}: buckets {values}")
        if tuple(sorted(rest + (("", "_sum"),))) not in samples:
            raise Wrong(f"{name}: no sum")


def exposition(text):
    """{name: (kind, help, {labels: value})} of a page in Prometheus's text format 0.0.4; raises Wrong."""
    families, name = {}, None
    if text and not text.endswith("\n"):
        raise Wrong("the last line has no end")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            if name in families or not re.fullmatch(NAME, name) or not words or re.search(r"\\(?![\\n])", words):
                raise Wrong(line)
            families[name] = [None, words, {}]
        elif line.startswith("# TYPE "):
            of, _, kind = line[7:].partition(" ")
            if of != name or families[name][0] or kind not in ("counter", "gauge", "histogram", "summary", "untyped"):
                raise Wrong(line)
            families[name][0] = kind
        elif not line.startswith("#"):
            found = SAMPLE.fullmatch(line)
            suffix = found[1].removeprefix(name) if found else ""
            if not found or found[1] != name + suffix or not families[name][0]:
                raise Wrong(line)
            if suffix not in (("_bucket", "_sum", "_count") if families[name][0] == "histogram" else ("",)):
                raise Wrong(line)
            labels = tuple(sorted([("", suffix)] * bool(suffix) + [(key, re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), value))
                                  for key, value in re.findall(LABEL, found[2] or "")]))
            if labels in families[name][2] or len({key for key, _ in labels}) < len(labels):
                raise Wrong(f"twice: {line}")
            families[name][2][labels] = float(found[7])
    for name, (kind, _, samples) in families.items():
        if not kind or (kind == "counter") != name.endswith("_total"):
            raise Wrong(f"{name} is a {kind}")
        if kind == "counter" and any(value < 0 for value in samples.values()):
            raise Wrong(f"{name} is below 0")
        if kind == "histogram":
            check_histogram(name, samples)
    return {name: tuple(family) for name, family in families.items()}
