#!/bin/bash
# Servers and clients of Debian, unmodified, in three placements (Sluice in both ends, in the server only, in the client only):
# what arrives is compared, or checked by the programs themselves, and with both ends bytes must go through rings where the
# connections live long enough. Then once more as an unprivileged user under the system call filters of containers and services.
# usage: run.sh [CASE...]    SLUICE_TEST_ALL=1 adds the long forms; SLUICE_TEST_PLACEMENTS='both server client' chooses
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
. "$here/../placements.sh"
. "$here/../../Scripts/servers.sh"
for part in support stores database web remote plain options datagrams questions quic crowd; do . "$here/$part.sh"; done
all=(late replica memcached postgres nginx_changes haproxy tls iperf ssh rsync git socat netcat inetd options
    sockperf iperf_udp dns dig ntp memcached_udp lines quic crowd)
[ $# -gt 0 ] || set -- "${all[@]}"
unset LD_PRELOAD

if [ -z "${SLUICE_TEST_FILTER-}" ]; then
    enter_own_view "$@"
    "$top/Scripts/setup" --servers || { not_ok "the servers could be unpacked"; finish; exit 1; }
fi
use_programs "$servers"
export LC_ALL=C
work=$(mktemp -d)
trap 'end_peers; stop_servers; rm -rf "$work"' EXIT
trap 'exit 1' TERM INT
chmod 755 "$work"
make_content
copy_for_others
if [ -z "${SLUICE_TEST_FILTER-}" ]; then
    gcc -O1 -Wall -o "$work/filter" "$here/Filter.c" || { not_ok "the filter could be built"; finish; exit 1; }
fi

read -r -a placements <<< "${SLUICE_TEST_PLACEMENTS:-both server client}"
for placement in "${placements[@]}"; do
    place "$placement"
    for name; do
        begun=$SECONDS
        "${name}_case" "$placement"
        stop_servers
        say "     ($name, $placement: $((SECONDS - begun)) s)"
    done
done
[ -n "${SLUICE_TEST_FILTER-}" ] || under_filters "$@"
finish
