#!/bin/bash
# `sluicestat capture`: what it writes beside what programs have sent, byte by byte, and as tcpdump reads it; tools and programs
# that are killed or stopped meanwhile.
# usage: run.sh [CASE...]
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
# Processes of its own: a capture of all shall be none of other programs.
if [ -z "${SLUICE_TEST_VIEW-}" ] && unshare --pid --fork --mount-proc -- true 2> /dev/null; then
    SLUICE_TEST_VIEW=1 exec unshare --pid --fork --kill-child --mount-proc -- bash "$here/run.sh" "$@"
fi
stat=$build/bin/sluicestat
[ -x "$stat" ] || missing "$stat; run Scripts/build"
"$top/Scripts/setup" --tcpdump || { not_ok "tcpdump could be unpacked"; finish; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ $# -gt 0 ] || set -- tcp tcp6 udp udp6 one_end threads fork choice pipe stopped tool_killed program_killed two_tools wrong abandoned late
run_case() {
    (mkdir "$work/$1" && cd "$work/$1" && use_unpacked "$build/tcpdump" && PYTHONDONTWRITEBYTECODE=1 \
        timeout 300 python3 "$here/cases.py" "$1" "$stat" "${SLUICE_LIBRARY:-$library}" tcpdump) > "$work/$1.log" 2>&1 < /dev/null
}
# Waits most of its time: beside the others, but for the one that captures all processes.
case " $* " in *' abandoned '*) run_case abandoned & abandoned=$! ;; esac
for case; do
    begun=$SECONDS
    if if [ "$case" = abandoned ]; then wait "$abandoned"; else run_case "$case"; fi; then
        ok "$case ($((SECONDS - begun)) s)"
    else
        not_ok "$case" "$(tail -n 12 "$work/$case.log")"
    fi
done
finish
