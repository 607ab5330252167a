#!/bin/bash
# What `sluicestat` counts and shows: stacks, stats, prometheus and watch, beside what real programs count for themselves, and
# all JSON beside its schema.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
stat=$build/bin/sluicestat
[ -x "$stat" ] || missing "$stat; run Scripts/build"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly "${CC:-gcc}" -O1 -Wall -Wextra -o "$work/pause" "$here/pause.c" || not_ok "pause.c" "cannot be compiled"
for case in schema forms stacks stats reset fork absent prometheus output listen watch terminal churn many manual; do
    mkdir "$work/$case"
    if said=$(cd "$work/$case" && PYTHONDONTWRITEBYTECODE=1 timeout 300 python3 "$here/cases.py" "$case" "$stat" \
        "${SLUICE_LIBRARY:-$library}" "$top/Scripts/schemas/sluicestat.schema.json" "$work/pause" 2>&1 < /dev/null); then
        ok "$case"
    else
        not_ok "$case" "$(tail -n 12 <<< "$said")"
    fi
done
finish
