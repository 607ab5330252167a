#!/bin/bash
# The contests of datagrams, of many client processes and of real programs: a short run of each has figures for everybody in it.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
"$top/Scripts/setup" --servers < /dev/null || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bench=$build/bin/sluicebench

# has CONTEST CONTESTANT...: what a run of it gave, by whom it was to be held.
has() {
    local contest=$1 said
    shift
    if [ "$("$bench" --quick --list --only "$contest")" != "$contest" ]; then
        not_ok "$contest" "--list does not have just this one"
        return
    fi
    timeout 120 "$bench" --quick --rounds 1 --no-filter --programs "$programs" --programs "$servers" --only "$contest" \
        --json "$work/results" > "$work/out" 2>&1 < /dev/null || { not_ok "$contest" "$(tail -n 20 "$work/out")"; return; }
    said=$(python3 "$here/figures.py" "$@" < "$work/results" 2>&1)
    case $?,$said in
        0,skip*) skip "$contest" "${said#skip }" ;;
        0,*) ok "$contest: $said" ;;
        *) not_ok "$contest" "$said" "$(cat "$work/out")" ;;
    esac
}

if [ "$(nproc)" -lt 2 ]; then
    skip "all contests" "they need two processors"
    finish
    exit
fi
has udp-pingpong-spin-two-64 median kernel sluice 'sluice loop' unix 'bare ring'
has udp-pingpong-sleep-same-64 median kernel 'sluice asleep' 'sluice adaptive' 'sluice spinning' unix
has udp-pingpong-epoll-two-64 p99 kernel 'sluice asleep' 'sluice adaptive' 'sluice spinning' unix
has udp-oneway-two-65000 loss kernel 'kernel loop' 'sluice adaptive' 'sluice spinning' 'sluice loop' unix
has clients-tcp-50 rate kernel sluice unix
has clients-udp-50 rate kernel sluice unix
has memcached-c50 rate kernel sluice unix
has pgbench-c1 rate kernel sluice unix
has sockperf-sleep-64 median kernel sluice
has iperf3-1400 loss kernel sluice
has dnsmasq-q20 rate kernel sluice
finish
