#!/bin/bash
# The picture that sluicebench draws, from stored results and from a run, against the figures that it is drawn from.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench=$build/bin/sluicebench

# stored NAME EXPRESSION: the stored results as $work/NAME.json, changed by an expression of Python on `d`.
stored() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); exec(sys.argv[2]); json.dump(d, open(sys.argv[3], "w"))' "$here/results.json" "$2" "$work/$1.json"; }

# draws NAME WANTED: the picture of $work/NAME.json has all its figures.
draws() {
    local said
    said=$("$bench" --from "$work/$1.json" --svg "$work/$1.svg" 2>&1 && python3 "$here/compare.py" "$work/$1.json" "$work/$1.svg" 2>&1)
    [ "$said" = "$2" ] && ok "$1: $said" || not_ok "$1" "expected $2" "$said"
}

stored all ''
draws all "20 of the figures, 7 of the groups"
stored faster 'for r in d["results"]: r["values"] = {m: v * (7 if r["contestant"].startswith("sluice") else 0.013) for m, v in r["values"].items()}'
draws faster "20 of the figures, 7 of the groups"
stored decades 'for r in d["results"]: r["values"] = {m: 100000 if r["contestant"] == "kernel" else 1000 for m in r["values"]}'
draws decades "20 of the figures, 7 of the groups"
stored halves 'for r in d["results"]: r["values"] = {m: v // 1000 * 1000 + 500.5 for m, v in r["values"].items()}'
draws halves "20 of the figures, 7 of the groups"
stored rounds 'for i, r in enumerate(d["results"]): r["rounds"] += i % 5'
draws rounds "20 of the figures, 7 of the groups"
stored one 'd["results"] = [r for r in d["results"] if r["contest"] == "nginx-keep-1" and r["contestant"] == "sluice"]'
draws one "1 of the figures, 1 of the groups"

stored none 'd["results"] = [r for r in d["results"] if r["contestant"] == "pipe"]'
expect "without any main result" 1 'no picture' "$bench" --from "$work/none.json" --svg "$work/none.svg"
expect "no file is left then" 2 'No such file' ls "$work/none.svg"
expect "a file of something else" 1 'is not what --json writes' "$bench" --from "$here/compare.py" --svg "$work/none.svg"
expect "a file that is not there" 1 'No such file' "$bench" --from "$work/nothing.json" --svg "$work/none.svg"
expect "--from without --svg" 64 'wants --svg' "$bench" --from "$work/all.json"

if [ "$(nproc)" -ge 2 ]; then
    # Of whatever figures this machine has just now.
    expect "a run draws" 0 'acceptance figure' "$bench" --quick --rounds 1 --no-filter --only pingpong-spin-two-64 --json "$work/run.json" --svg "$work/run.svg"
    said=$(python3 "$here/compare.py" "$work/run.json" "$work/run.svg" 2>&1)
    [ "$said" = "4 of the figures, 1 of the groups" ] && ok "a run: $said" || not_ok "a run" "$said"
else
    skip "a run draws" "needs two processors"
fi
finish
