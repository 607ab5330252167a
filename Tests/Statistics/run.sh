#!/bin/bash
# What `sluicestat` counts and shows: peers, stacks, stats, prometheus and watch, beside what real programs count for themselves;
# every counter beside an independent count; all JSON beside its schema.
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
cases=(schema forms stacks stats reset peer fork absent prometheus output listen watch terminal churn many thousand manual)
if [ "$(id -u)" -eq 0 ]; then
    # One that another user may run, wherever the checkout is.
    cp "$stat" "$work/sluicestat"
    cases+=(privilege)
else
    skip "privilege" "needs root"
fi
# run CASE FILE
run() {
    mkdir "$work/$1"
    if said=$(cd "$work/$1" && PYTHONDONTWRITEBYTECODE=1 timeout 300 python3 "$here/$2" "$1" "$stat" \
        "${SLUICE_LIBRARY:-$library}" "$top/Scripts/schemas/sluicestat.schema.json" "$work/pause" "$work/sluicestat" 2>&1 < /dev/null); then
        ok "$1"
    else
        not_ok "$1" "$(tail -n 12 <<< "$said")"
    fi
}
for case in "${cases[@]}"; do run "$case" cases.py; done

# Each counter beside an independent count. What one case compares, the last one wants.
counts=(woken dropped columns bypass_stats lanes regions impostors refused resets awaited damaged latency latency_forms latency_datagrams latency_room)
if ! strace -qq -e trace=none true 2> /dev/null; then
    skip "tcp udp meetings table" "need strace, and leave to trace"
else
    counts+=(tcp udp meetings)
fi
if [ "$(nproc)" -ge 2 ]; then
    counts+=(spins latency_spins)
else
    skip "spins" "needs two processors"
fi
# As root a limit on descriptors binds only who has given up his privileges.
counts+=(shortage)
[ "${#counts[@]}" -eq 21 ] && counts+=(table)
for case in "${counts[@]}"; do run "$case" counts.py; done
finish
