#!/bin/bash
# What `sluicestat` counts and shows: peers, stacks, stats, prometheus and watch, beside what real programs count for themselves, and
# all JSON beside its schema.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
stat=$build/bin/sluicestat
[ -x "$stat" ] || missing "$stat; run Scripts/build"
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

quietly "${CC:-gcc}" -O1 -Wall -Wextra -o "$work/pause" "$here/pause.c" || not_ok "pause.c" "cannot be compiled"
cases=(schema forms stacks stats reset peer fork absent prometheus output listen watch terminal churn many manual)
if [ "$(id -u)" -eq 0 ]; then
    # One that another user may run, wherever the checkout is.
    cp "$stat" "$work/sluicestat"
    cases+=(privilege)
else
    skip "privilege" "needs root"
fi
for case in "${cases[@]}"; do
    mkdir "$work/$case"
    if said=$(cd "$work/$case" && PYTHONDONTWRITEBYTECODE=1 timeout 300 python3 "$here/cases.py" "$case" "$stat" \
        "${SLUICE_LIBRARY:-$library}" "$top/Scripts/schemas/sluicestat.schema.json" "$work/pause" "$work/sluicestat" 2>&1 < /dev/null); then
        ok "$case"
    else
        not_ok "$case" "$(tail -n 12 <<< "$said")"
    fi
done
finish
