#!/bin/bash
# Language runtimes and strange processes, unmodified. Languages: an echo server and its client in three placements, each byte
# compared; with both ends `sluicestat` must show that bytes went through rings; some also as an unprivileged user under a filter. Strange processes: programs that check
# themselves, on the plain kernel and under Sluice.
# usage: run.sh [WORD]    WORD: only the cases whose name begins so
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
. "$here/../../Scripts/servers.sh"
. "$here/../placements.sh"
[ -e "$library" ] || missing "$library; run Scripts/build"
"$top/Scripts/setup" --runtimes || exit 1
use_programs
use_runtimes
peer_limit=60
all=${SLUICE_TEST_ALL:-0}
only=${1-}
work=$(mktemp -d)
trap 'kill_peers; stop_servers; rm -rf "$work"' EXIT
unset LD_PRELOAD
. "$here/../filtered.sh"
. "$here/languages.sh"
. "$here/strange.sh"

wanted() { [ -z "$only" ] || [[ $1 == "$only"* ]]; }
for language in "${languages[@]}"; do
    if wanted "$language"; then language_case "$language"; fi
done
if wanted strange || [[ $only == strange-* ]]; then strange_cases; fi
finish
