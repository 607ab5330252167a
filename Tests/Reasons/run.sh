#!/bin/bash
# Each reason in the table: a socket that has it, and what `sluicestat why` says of it.
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
cases=reasons.py
declare -A shown=()
# For it two connections must look like one: Tests/StacksTests/TrustTests.swift.
shown[counts]=elsewhere

# reason NAME [VARIABLE=VALUE]... [-- ARGUMENT...]: `why` names it, with a sentence and what can be done.
reason() {
    local name=$1 pid fd said program from
    local -a variables=()
    local title="${cases%.py}: $*"
    shown[$name]=here
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do variables+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    mkfifo "$work/to" "$work/from"
    timeout 120 "${launch[@]}" env "${variables[@]}" "LD_PRELOAD=${SLUICE_LIBRARY:-$library}" python3 "$here/$cases" "$name" "$@" < "$work/to" > "$work/from" 2> "$work/error" &
    program=$!
    exec {to}> "$work/to" {from}< "$work/from"
    pid= fd=
    read -r -t 100 -u "$from" pid fd
    if [ -z "$pid" ]; then
        not_ok "$title" "the program said nothing" "$(tail -n 5 "$work/error")"
    else
        said=$("$stat" why "$pid:$fd" 2>&1)
        if [ "$name" = none ]; then
            grep -qE '^Lane +loopback$' <<< "$said" && ! grep -q Reason <<< "$said"
        elif [ "$name" = flows ]; then
            grep -qE '^State +Idle$' <<< "$said" && grep -qE '^127\.0\.0\.1\.[0-9]+ +127\.0\.0\.1\.[0-9]+ +loopback +- +' <<< "$said" &&
                grep -qE '^127[0-9. ]+ kernel +plain_peer +0 +0 +0 +[0-9]+ \(python' <<< "$said" && grep -qE '^plain_peer: .+\.$' <<< "$said"
        else
            grep -qE "^Reason +$name \([0-9]+\): .+\.$" <<< "$said" && grep -qE '^What to do +.+\.$' <<< "$said" && ! grep -qE '^Lane +loopback$' <<< "$said"
        fi && ok "$title" || not_ok "$title" "$said"
    fi
    exec {to}>&- {from}<&-
    to=
    wait "$program"
    rm -f "$work/to" "$work/from"
}

for name in none young meeting plain_peer consent proof namespace foreign_origin shared_by_fork resources exec passed foreign_call option urgent_data sealed_off peer_handed_back damaged ended listening; do
    reason "$name"
done
for variable in EF_TCP_CLIENT_LOOPBACK=0 EF_TCP_CONNECT_HANDOVER=1 SLUICE_PORTS=htpp EF_DONT_ACCELERATE=1 EF_TCP=0 EF_FDTABLE_SIZE=3; do
    reason setting "$variable"
done
# Each end has variables of its own: what keeps out what a program accepts says nothing of what it opens.
for variable in EF_TCP_SERVER_LOOPBACK=0 EF_TCP_LISTEN_HANDOVER=1; do
    reason setting "$variable" -- acceptor
    reason plain_peer -- connector "$variable"
    reason none "$variable" -- connector
done
for variable in EF_TCP_CLIENT_LOOPBACK=0 EF_TCP_CONNECT_HANDOVER=1; do
    reason setting "$variable" -- connector
    reason plain_peer -- acceptor "$variable"
    reason none "$variable" -- acceptor
done
# The server's port is 23456.
for ports in 23456 7,23000-24000 '!7' '!7,23456'; do reason none "SLUICE_PORTS=$ports" -- port; done
for ports in 7 '!23456' '23000-24000,!23456' 1-1023 '!1024-65535'; do reason setting "SLUICE_PORTS=$ports" -- port; done
reason sealed_off -- io_uring
reason sealed_off -- deepbind
reason sealed_off -- first
if [ "$(id -u)" -eq 0 ]; then
    reason consent -- privilege
    reason none EF_SHARE_WITH=-1 -- privilege
    reason none EF_SHARE_WITH=-1 -- user
    # The other user consents to everyone, and is not admitted here; then it is.
    for side in acceptor connector; do
        reason consent -- "$side" alone
        reason consent EF_SHARE_WITH=1 -- "$side" alone
        reason none EF_SHARE_WITH=65534 -- "$side" alone
    done
else
    skip "consent between privileges" "dropping capabilities needs some"
fi
reason none EF_FDTABLE_SIZE=4096
reason packet_filter SLUICE_WITH_FILTERS=refuse
reason limit EF_SHARE_WITH=-1
reason chaos SLUICE_CHAOS=3
# What EF_LOG says of it, on standard error; nothing where it is not asked for.
logged() { grep -qE "^sluice\[[0-9]+\]: $2\$" "$work/error" && ok "EF_LOG: $1" || not_ok "EF_LOG: $1" "$(head -n 5 "$work/error")"; }
[ ! -s "$work/error" ] && ok "EF_LOG: quiet by default" || not_ok "EF_LOG: quiet by default" "$(head -n 5 "$work/error")"
reason urgent_data EF_LOG=1 EF_SHARE_WITH=nobody EF_TCP_ACCEPT_SPIN=1
logged banner 'TCP connections and UDP datagrams of this host travel in shared memory after 16 messages'
logged config_warnings 'EF_SHARE_WITH: the value cannot be used, the default holds'
logged more_config_warnings 'EF_TCP_ACCEPT_SPIN is accepted and has no effect'
logged usage_warnings 'descriptor [0-9]+ goes back to the kernel: urgent_data'
reason damaged EF_LOG=conn_drop,loud
logged "a word that is not known" 'EF_LOG: a word of it is not known, the others hold'
logged conn_drop 'descriptor [0-9]+ is reset: its peer wrote what cannot be'
reason resources EF_LOG=resource_warnings
logged resource_warnings 'no lane for descriptor [0-9]+: memory, descriptors or regions are used up'

launch=(python3 "$here/without_netlink.py")
reason no_proof
launch=(env)

# UDP: a flow to one peer, of a socket that is connected to it.
cases=datagrams.py
for name in none young plain_peer shared_port option multicast shared_by_fork ended kind; do reason "$name"; done
reason flows
unset 'shown[flows]'
reason shared_port -- late
reason shared_by_fork -- late
for variable in EF_UDP=0 EF_DONT_ACCELERATE=1 EF_TCP_CLIENT_LOOPBACK=0 EF_TCP_SERVER_LOOPBACK=0 EF_FDTABLE_SIZE=3 SLUICE_PORTS=7 '!1-65535'; do
    reason setting "${variable/#!/SLUICE_PORTS=!}"
done
reason none EF_TCP=0
reason none SLUICE_PORTS=1-65535
reason packet_filter SLUICE_WITH_FILTERS=refuse
if [ "$(id -u)" -eq 0 ]; then
    # Not even with consent: datagrams have no lanes between users.
    reason consent
    reason consent EF_SHARE_WITH=-1
else
    skip "consent of datagrams" "being another user needs root"
fi
cases=reasons.py

# The other end in a network namespace of its own.
if [ "$(id -u)" -ne 0 ]; then
    shown[remote_peer]=skipped
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
    ip netns exec "$space" python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("198.18.77.2", 7777))
while True: s.sendto(*s.recvfrom(9))' &
    until ip netns exec "$space" ss -lun 2> /dev/null | grep -q 7777; do sleep 0.1; done
    cases=datagrams.py
    reason remote_peer -- 198.18.77.2 7777
fi

# The list of this test is the one of the tool.
mapfile -t listed < <("$stat" tables reasons | sed -nE 's/^([a-z_]+) \([0-9]+\)$/\1/p')
for name in "${listed[@]}"; do [ -n "${shown[$name]-}" ] || not_ok "$name has a case"; unset "shown[$name]"; done
[ "${#listed[@]}" -gt 20 ] && [ "${#shown[@]}" -eq 0 ] && ok "${#listed[@]} reasons, as the tool lists them" ||
    not_ok "the reasons that the tool lists" "not in its list: ${!shown[*]}" "in its list: ${#listed[@]}"
finish
