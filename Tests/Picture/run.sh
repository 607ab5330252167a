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
draws all "49 of the figures, 16 of the groups"
stored faster 'for r in d["results"]: r["values"] = {m: v * (7 if r["contestant"].startswith("sluice") else 0.013) for m, v in r["values"].items()}'
draws faster "49 of the figures, 16 of the groups"
stored decades 'for r in d["results"]: r["values"] = {m: 100000 if r["contestant"] == "kernel" else 1000 for m in r["values"]}'
draws decades "49 of the figures, 16 of the groups"
stored halves 'for r in d["results"]: r["values"] = {m: v // 1000 * 1000 + 500.5 for m, v in r["values"].items()}'
draws halves "49 of the figures, 16 of the groups"
stored rounds 'for i, r in enumerate(d["results"]): r["rounds"] += i % 5'
draws rounds "49 of the figures, 16 of the groups"
stored one 'd["results"] = [r for r in d["results"] if r["contest"] == "nginx-keep-1" and r["contestant"] == "sluice"]'
draws one "1 of the figures, 1 of the groups"

stored none 'd["results"] = [r for r in d["results"] if r["contestant"] == "pipe"]'
expect "without any main result" 1 'no picture' "$bench" --from "$work/none.json" --svg "$work/none.svg"
expect "no file is left then" 2 'No such file' ls "$work/none.svg"
expect "a file of something else" 1 'is not what --json writes' "$bench" --from "$here/compare.py" --svg "$work/none.svg"
expect "a file that is not there" 1 'No such file' "$bench" --from "$work/nothing.json" --svg "$work/none.svg"
expect "--from without --svg and --markdown" 64 'wants --svg FILE or --markdown' "$bench" --from "$work/all.json"

# line NAME WANTED: the table of the stored results has this line.
line() {
    "$bench" --from "$work/all.json" --markdown "$work/all.md" && grep -qxF -- "$2" "$work/all.md" && ok "$1" || not_ok "$1" "$(cat "$work/all.md")"
}
line "table: a round trip" '| UDP round trip 64 B, both spinning | 4.44 us | 444 ns | 10.0 | unix socket 3.33 us; bare ring 122 ns |'
line "table: a rate" '| memcached GET, 50 connections | 111 k/s | 1000 k/s | 9.00 | unix socket 182 k/s |'
line "table: where it was measured" 'Measured on Linux 0.0, 2 x Not <measured> & for tests only: medians of 3 rounds in turns.'
expect "a table without any main result" 1 'no table' "$bench" --from "$work/none.json" --markdown "$work/none.md"

if [ "$(nproc)" -ge 2 ]; then
    # Of whatever figures this machine has just now.
    expect "a run draws" 0 'acceptance figure' "$bench" --quick --rounds 1 --no-filter --only pingpong-spin-two-64 --json "$work/run.json" --svg "$work/run.svg"
    said=$(python3 "$here/compare.py" "$work/run.json" "$work/run.svg" 2>&1)
    [ "$said" = "4 of the figures, 1 of the groups" ] && ok "a run: $said" || not_ok "a run" "$said"
else
    skip "a run draws" "needs two processors"
fi
finish
