#!/bin/bash
# Faults: processes killed, stopped and interrupted anywhere, impostors, namespaces, shortage. Plain programs, under the
# library of .build; the long forms with SLUICE_TEST_ALL=1.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
library=${SLUICE_LIBRARY:-$library}
[ -e "$library" ] || missing "$library; run Scripts/build"
unset LD_PRELOAD
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
all=${SLUICE_TEST_ALL:-0}

# build NAME SOURCE...: without lazy binding, so that a call's instructions are its own.
build_driver() {
    local name=$1
    shift
    "${CC:-gcc}" -D_GNU_SOURCE -O1 -g -Wall -Wextra -pthread -Wl,-z,now -I"$top/Sources/CStackLayout/include" -o "$name" "${@/#/$here/}" "$here/Faults.c"
}
build_driver hostile Hostile.c HostileVictim.c HostileActs.c HostileSpeaks.c || exit 1
build_driver steps Steps.c StepRound.c StepTrace.c StepEnds.c StepPaths.c || exit 1
build_driver hostile-datagrams HostileDatagrams.c || exit 1
build_driver datagram-steps Steps.c StepRound.c StepTrace.c DatagramEnds.c DatagramPaths.c || exit 1
for driver in kills namespaces impostor storms shortage alarms users limits pairs sharers refusals containers; do build_driver "$driver" "${driver^}.c" || exit 1; done

# driver NAME SECONDS VARIABLE=VALUE... -- COMMAND...: shows what a driver says and adds its counts.
driver() {
    local name=$1 limit=$2 status=0 line
    local -a variables=()
    shift 2
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    shift
    printf '%s\n' "-- $name"
    timeout --kill-after=10 "$limit" env "${variables[@]}" "$@" > "$work/out" 2>&1 < /dev/null || status=$?
    grep -vE '^[0-9]+ passed, ' "$work/out"
    line=$(tail -n 1 "$work/out")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
        [ "$status" -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || not_ok "$name" "exit code $status"
    else
        not_ok "$name" "exit code $status, no counts"
    fi
}

preload=LD_PRELOAD=$library
seed=${SLUICE_SEED:-$(date +%s)}
points=(--points 300) few=(--points 50) datagrams=(--points 60) kills=100 limit=600 turns=4
if [ "$all" -eq 1 ]; then points=(--all) datagrams=(--all) few=(--points 300) kills=1000 limit=14000 turns=100; fi
# One page in a ring and no spinning: short paths that sleep.
small=(SLUICE_RING_BYTES=4096 EF_SPIN_USEC=0)

# What is expected of the lane holds on the kernel.
driver "calls cut off, on the kernel" 300 -- ./steps "${few[@]}" --seed "$seed"
driver "calls cut off, on the lane" "$limit" "$preload" SLUICE_LANE_AT=0 "${small[@]}" -- ./steps "${points[@]}" --seed "$seed"
driver "calls cut off, while meeting" "$limit" "$preload" SLUICE_LANE_AT=4 "${small[@]}" -- ./steps "${points[@]}" --seed "$seed"

driver "UDP calls cut off, on the kernel" 300 -- ./datagram-steps --points 20 --seed "$seed"
driver "UDP calls cut off, on the lane" "$limit" "$preload" SLUICE_LANE_AT=0 "${small[@]}" -- ./datagram-steps "${datagrams[@]}" --seed "$seed"
driver "UDP calls cut off, while meeting" "$limit" "$preload" SLUICE_LANE_AT=4 "${small[@]}" -- ./datagram-steps "${points[@]}" --seed "$seed"

if [ "$all" -eq 1 ]; then
    driver "calls that stand still for a second" "$limit" "$preload" SLUICE_LANE_AT=0 "${small[@]}" -- ./steps --mode stop --stop 1000 --points 40 --seed "$seed"
fi

driver "random kills, on the kernel" 300 -- ./kills --kills "$kills" --seed "$seed"
driver "random kills, lane at once" "$limit" "$preload" SLUICE_LANE_AT=0 -- ./kills --kills "$kills" --seed "$seed"
driver "random kills, lane soon" "$limit" "$preload" SLUICE_LANE_AT=4 -- ./kills --kills "$kills" --seed "$seed"

driver "early kills under two threads" "$limit" "$preload" SLUICE_LANE_AT=0 -- ./kills --kills "$kills" --within 4 --style "two threads" --seed "$seed"

driver "namespaces" 120 "$preload" SLUICE_LANE_AT=4 -- ./namespaces
driver "namespaces, lane at once" 120 "$preload" SLUICE_LANE_AT=0 -- ./namespaces
driver "strangers at the rendezvous" 200 "$preload" SLUICE_LANE_AT=4 -- ./impostor
driver "pairs" 200 "$preload" SLUICE_LANE_AT=4 EF_SHARE_WITH=-1 -- ./pairs
driver "two users" 200 "$preload" SLUICE_LANE_AT=4 EF_SHARE_WITH=-1 -- ./users
driver "two users, the largest rings" 200 "$preload" SLUICE_LANE_AT=4 EF_SHARE_WITH=-1 SLUICE_RING_BYTES=268435456 -- ./users

if [ -x "$build/bin/sluicestat" ]; then
    driver "a hostile peer" 200 "$preload" SLUICE_LANE_AT=4 EF_SHARE_WITH=-1 -- ./hostile "$build/bin/sluicestat"
else
    not_ok "a hostile peer" "sluicestat is not built"
fi

driver "a hostile peer over UDP, on the kernel" 300 -- ./hostile-datagrams --turns 1 --seed "$seed"
driver "a hostile peer over UDP" 300 "$preload" SLUICE_LANE_AT=4 -- ./hostile-datagrams --turns "$turns" --seed "$seed"

storms=60
[ "$all" -eq 0 ] || storms=200
driver "forks, on the kernel" 300 -- ./storms --rounds "$storms"
driver "forks, lane at once" 300 "$preload" SLUICE_LANE_AT=0 -- ./storms --rounds "$storms"
driver "forks, lane soon" 300 "$preload" SLUICE_LANE_AT=4 -- ./storms --rounds "$storms"

driver "sharers, on the kernel" 300 -- ./sharers
driver "sharers, lane at once" 300 "$preload" SLUICE_LANE_AT=0 -- ./sharers
driver "sharers, lane soon" 300 "$preload" SLUICE_LANE_AT=4 -- ./sharers

driver "shortage, on the kernel" 300 -- ./shortage
driver "shortage, lane at once" 300 "$preload" SLUICE_LANE_AT=0 -- ./shortage
driver "shortage, lane soon" 300 "$preload" SLUICE_LANE_AT=4 -- ./shortage

driver "limits, lane at once" 300 "$preload" SLUICE_LANE_AT=0 -- ./limits
driver "limits, lane soon" 300 "$preload" SLUICE_LANE_AT=4 -- ./limits

if [ -x "$build/bin/sluicestat" ]; then
    driver "refused calls, lane at once" 300 "$preload" SLUICE_LANE_AT=0 -- ./refusals "$build/bin/sluicestat"
    driver "refused calls, lane soon" 300 "$preload" SLUICE_LANE_AT=4 -- ./refusals "$build/bin/sluicestat"
    driver "containers" 300 "$preload" SLUICE_LANE_AT=4 -- ./containers "$build/bin/sluicestat"
else
    not_ok "refused calls and containers" "sluicestat is not built"
fi

driver "alarms, on the kernel" 300 -- ./alarms
driver "alarms" 300 "$preload" SLUICE_LANE_AT=4 -- ./alarms
driver "alarms, rings of one page" 300 "$preload" SLUICE_LANE_AT=4 "${small[@]}" -- ./alarms
finish
