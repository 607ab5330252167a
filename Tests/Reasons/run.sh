#!/bin/bash
# Each reason in the table: a socket that has it, and what `sluicestat why` says of it. (`counts`, for which two connections must look
# like one, is in StacksTests.)
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
stat=$build/bin/sluicestat
[ -x "$stat" ] || missing "$stat; run Scripts/build"
work=$(mktemp -d)
space=sluice-reasons-$$
trap '[ -z "$to" ] || exec {to}>&-; ip netns pids "$space" 2> /dev/null | xargs -r kill 2> /dev/null; ip netns del "$space" 2> /dev/null; rm -rf "$work"' EXIT
to=
launch=(env)

# reason NAME [VARIABLE=VALUE]... [-- ARGUMENT...]: `why` names it, with a sentence and what can be done.
reason() {
    local name=$1 pid fd said program from
    local -a variables=() command=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    mkfifo "$work/to" "$work/from"
    timeout 120 "${launch[@]}" env "${variables[@]}" "LD_PRELOAD=${SLUICE_LIBRARY:-$library}" python3 "$here/reasons.py" "$name" "$@" < "$work/to" > "$work/from" 2> "$work/error" &
    program=$!
    exec {to}> "$work/to" {from}< "$work/from"
    pid= fd=
    read -r -t 100 -u "$from" pid fd
    if [ -z "$pid" ]; then
        not_ok "$name" "the program said nothing" "$(tail -n 5 "$work/error")"
    else
        said=$("$stat" why "$pid:$fd" 2>&1)
        if [ "$name" = none ]; then
            grep -qE '^Lane +loopback$' <<< "$said" && ! grep -q Reason <<< "$said" && ok "$name" || not_ok "$name" "$(head -n 8 <<< "$said")"
        else
            grep -qE "^Reason +$name \([0-9]+\): .+\.$" <<< "$said" && grep -qE '^What to do +.+\.$' <<< "$said" && ok "$name" || not_ok "$name" "$(head -n 8 <<< "$said")"
        fi
    fi
    exec {to}>&- {from}<&-
    to=
    wait "$program"
    rm -f "$work/to" "$work/from"
}

for name in none young meeting plain_peer consent proof namespace foreign_origin shared_by_fork resources exec passed foreign_call option urgent_data sealed_off peer_handed_back damaged ended kind listening; do
    reason "$name"
done
for variable in EF_TCP_CLIENT_LOOPBACK=0 EF_TCP_CONNECT_HANDOVER=1 SLUICE_PORTS=1-1023 'SLUICE_PORTS=!1024-65535' SLUICE_PORTS=htpp EF_DONT_ACCELERATE=1 EF_TCP=0; do
    reason setting "$variable"
done
if [ "$(id -u)" -eq 0 ]; then
    reason consent -- privilege
    reason none EF_SHARE_WITH=-1 -- privilege
    reason none EF_SHARE_WITH=-1 -- user
else
    skip "consent between privileges" "dropping capabilities needs some"
fi
reason packet_filter SLUICE_WITH_FILTERS=refuse
reason limit EF_SHARE_WITH=-1
reason chaos SLUICE_CHAOS=3
# What EF_LOG says of it, on standard error; nothing where it is not asked for.
logged() { grep -qE "^sluice\[[0-9]+\]: $2\$" "$work/error" && ok "EF_LOG: $1" || not_ok "EF_LOG: $1" "$(head -n 5 "$work/error")"; }
[ ! -s "$work/error" ] && ok "EF_LOG: quiet by default" || not_ok "EF_LOG: quiet by default" "$(head -n 5 "$work/error")"
reason urgent_data EF_LOG=1 EF_SHARE_WITH=nobody EF_UDP=1
logged banner 'TCP connections of this host travel in shared memory after 16 messages'
logged config_warnings 'EF_SHARE_WITH: the value cannot be used, the default holds'
logged more_config_warnings 'EF_UDP is accepted and has no effect'
logged usage_warnings 'descriptor [0-9]+ goes back to the kernel: urgent_data'
reason damaged EF_LOG=conn_drop
logged conn_drop 'descriptor [0-9]+ is reset: its peer wrote what cannot be'
reason resources EF_LOG=resource_warnings
logged resource_warnings 'no lane for descriptor [0-9]+: memory, descriptors or regions are used up'

launch=(python3 "$here/without_netlink.py")
reason no_proof
launch=(env)

# The other end in a network namespace of its own.
if [ "$(id -u)" -ne 0 ]; then
    skip remote_peer "making a network namespace needs root"
else
    ip netns add "$space" && ip link add "sl$$" type veth peer name eth0 netns "$space" && ip addr add 198.18.77.1/30 dev "sl$$" &&
        ip link set "sl$$" up && ip -n "$space" addr add 198.18.77.2/30 dev eth0 && ip -n "$space" link set eth0 up || exit 1
    ip netns exec "$space" python3 -c 'import socket
l = socket.create_server(("198.18.77.2", 7777))
c, _ = l.accept()
while c.send(c.recv(1)): pass' &
    until ip netns exec "$space" ss -ltn 2> /dev/null | grep -q 7777; do sleep 0.1; done
    reason remote_peer -- 198.18.77.2 7777
fi
finish
