#!/bin/bash
# Deliberate faults: each mutant of *.mutants is put into a copy of the tree, the release library is built there, and
# its cases of the differential suite must turn red. A mutant that survives is a failure, and so is one whose text is no
# longer in the tree exactly once.
# usage: run.sh [MUTANT...]    these alone; without: every tenth one, all under SLUICE_TEST_ALL=1
#
#     mutant NAME              what breaks
#     file ROOM/FILE.swift     below Sources
#     cases GLOB...            of `diff-peer suite`; a case that is red without the mutant does not count
#     mode MODE                of `diff-peer suite`; default: default
#     - TEXT                   lines that are replaced; the text begins after "- "
#     + TEXT                   by these
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
work=$build/mutants
tree=$work/tree
result=$work/build/release/libsluice.so
mkdir -p "$work"

# mutate list | stale | cases MODE | modes | apply NAME | restore NAME | field NAME WORD
mutate() { python3 "$here/mutate.py" "$here" "$top" "$tree" "$@"; }

build_library() {
    quietly swift build -c release --traits Embedded --package-path "$tree" --scratch-path "$work/build" \
        --disable-local-rpath --product sluice < /dev/null
}

# red LIBRARY MODE CASE...: the names of the cases that fail, one a line.
red() {
    local library=$1 mode=$2 status=0
    shift 2
    timeout --kill-after=10 240 "$work/diff-peer" suite --preload "$library" --mode "$mode" --placements both --timeout 5 "$@" \
        > "$work/log" 2>&1 < /dev/null || status=$?
    if ! grep -qE '^[0-9]+ passed, [0-9]+ failed$' "$work/log"; then
        printf 'broken: exit code %s\n' "$status"
        return 1
    fi
    awk '$1 == "FAIL" { print $2 }' "$work/log" | sort -u
}

prepare() {
    rm -rf "$tree"
    mkdir -p "$tree"
    # Times are kept, so that only what changed is built anew.
    cp -a "$top/Package.swift" "$top/Sources" "$top/Tests" "$tree/" || return 1
    sed -i 's/ + \[.strictMemorySafety.*$//' "$tree/Package.swift" || return 1
    cc -std=gnu11 -D_GNU_SOURCE -O1 -pthread -o "$work/diff-peer" "$top"/Tests/diff-peer/*.c || return 1
    build_library || return 1
    cp -- "$result" "$work/libsluice-plain.so"
}

# Which cases are red without any mutant, by mode.
baseline() {
    local mode
    for mode in $(mutate modes); do
        # shellcheck disable=SC2046
        red "$work/libsluice-plain.so" "$mode" $(mutate cases "$mode") > "$work/red-${mode/:/-}" || return 1
    done
}

try() {
    local name=$1 mode cases file output killers
    mode=$(mutate field "$name" mode) cases=$(mutate field "$name" cases)
    if ! output=$(mutate apply "$name" 2>&1); then
        not_ok "$name" "$output"
        return
    fi
    if ! output=$(build_library 2>&1); then
        not_ok "$name" "cannot be built" "$(grep -E 'error' <<< "$output" | head -n 5)"
    else
        # shellcheck disable=SC2086
        killers=$(red "$result" "$mode" $cases | grep -vxFf "$work/red-${mode/:/-}" | paste -sd ' ')
        case $killers in
            '') not_ok "$name" "survived: $(mutate field "$name" what)" "$(tail -n 2 "$work/log")" ;;
            broken*) not_ok "$name" "the suite gave no counts" "$(tail -n 5 "$work/log")" ;;
            *) ok "$name: red by ${killers:0:150}" ;;
        esac
    fi
    mutate restore "$name"
}

chosen=("$@")
if [ $# -eq 0 ]; then mapfile -t chosen < <(mutate list); fi
if [ $# -eq 0 ] && [ "${SLUICE_TEST_ALL:-0}" -eq 0 ]; then
    # Each build takes some ten seconds: another tenth each day of the year.
    every=("${chosen[@]}") chosen=()
    for ((i = 10#$(date +%j) % 10; i < ${#every[@]}; i += 10)); do chosen+=("${every[i]}"); done
    say "${#chosen[@]} of ${#every[@]} mutants; all of them with SLUICE_TEST_ALL=1"
fi
# Of all of them, whichever are chosen.
stale=$(mutate stale | paste -sd ' ')
if [ -n "$stale" ]; then not_ok "every mutant's text stands in the tree exactly once" "$stale"; else ok "every mutant's text stands in the tree exactly once"; fi
if ! prepare || ! baseline; then
    not_ok "the tree without a mutant is built and run"
    finish
    exit 1
fi
for name in "${chosen[@]}"; do
    try "$name"
done
finish
