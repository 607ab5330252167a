# Sourced by run.sh: programs that send datagrams. Their own checks or the answers tell whether one was lost, came twice or came out
# of order; and with both ends under Sluice datagrams went by a ring, or the server's socket says why not.

bound() { ss -Hunl "sport = :$1" | grep -q .; }

# Ring bytes of a server's socket while a client runs: with both ends some, else none.
datagrams_carried() {
    [ "$2" != both ] || wait_until 20 has_ring_bytes "$3"
    check_lane "$@"
}

# no_lane NAME PLACEMENT PORT REASON: of a server that asks for more than a ring can tell, or shares its port.
no_lane() {
    check_lane "$1" none "$3"
    [ "$2" = client ] || [ "$2" = plain ] || { has_no_lane "$3" "$4" && ok "$1: reason $4" || not_ok "$1: reason $4" "$(why_port "$3")"; }
}
has_no_lane() {
    "$stat" netstat -a --json > "$work/netstat" && python3 "$here/udp_reason.py" "$1" "$2" < "$work/netstat" > /dev/null
}

sockperf_case() {
    local port form forms name pid status
    port=$(free_port)
    start_server sockperf "bound $port" "${server[@]}" sockperf sr -i 127.0.0.1 -p "$port" || { not_ok "sockperf, $1" "did not start"; return; }
    # It has room for so many messages as it expects of the kernel in the time: --mps says that there may be more.
    forms=('ping-pong -m 64 --data-integrity --mps 5000000')
    [ "$1" != both ] || forms+=('under-load -m 200 --mps 2000 --reply-every 5')
    [ "${SLUICE_TEST_ALL:-0}" -eq 0 ] || forms+=('ping-pong -m 1400 --mps 5000000' 'ping-pong -m 60000 --mps 5000000 --nonblocked')
    for form in "${forms[@]}"; do
        name="sockperf $form, $1" status=0
        # shellcheck disable=SC2086 # words of the form
        timeout 60 "${client[@]}" sockperf $form -t 1 -i 127.0.0.1 -p "$port" > "$work/sockperf.out" 2>&1 < /dev/null &
        pid=$!
        datagrams_carried "$name" "$1" "$port"
        wait "$pid" || status=$?
        [ "$status" -eq 0 ] && grep -qa 'dropped messages = 0; # duplicated messages = 0; # out-of-order messages = 0' "$work/sockperf.out" &&
            ok "$name" || not_ok "$name" "exit code $status" "$(tail -n 5 "$work/sockperf.out")"
    done
    # One way as fast as it goes: who is too slow loses some.
    if [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then
        timeout 60 "${client[@]}" sockperf throughput -m 64 -t 1 -i 127.0.0.1 -p "$port" > "$work/sockperf.out" 2>&1 < /dev/null &&
            grep -qa 'messages sent' "$work/sockperf.out" && ok "sockperf throughput, $1" || not_ok "sockperf throughput, $1" "$(tail -n 5 "$work/sockperf.out")"
    fi
    stop_servers
}

# iperf3 sets SO_REUSEADDR on the server's sockets. A receiver that is too slow loses some: as many as the kernel has dropped. In a
# network namespace of their own the kernel counts only their datagrams; where none can be made, those of others too.
own_space() {
    local kind=(--net) holder
    [ "$(id -u)" -eq 0 ] || kind+=(--user --map-root-user)
    space=() exactness=least
    unshare "${kind[@]}" -- true 2> /dev/null || return 0
    unshare "${kind[@]}" -- bash -c 'ip link set lo up && : > "$0" && exec sleep 1000' "$work/space-$1" 2> "$work/error" < /dev/null &
    holder=$!
    server_pids+=("$holder")
    wait_until 20 test -e "$work/space-$1" || return 1
    [ "$(id -u)" -eq 0 ] || kind=(--net --user --preserve-credentials)
    space=(nsenter --target "$holder" "${kind[@]}" --) exactness=exact
}
listening_there() { "${space[@]}" ss -Hltn "sport = :$1" | grep -q .; }

iperf_udp_case() {
    local port form forms name space exactness problem pid
    own_space "$1" || { not_ok "iperf3 -u, $1" "no network namespace" "$(tail -n 5 "$work/error")"; return; }
    port=$(free_port)
    start_server iperf "listening_there $port" "${space[@]}" "${server[@]}" iperf3 -s -B 127.0.0.1 -p "$port" --forceflush || { not_ok "iperf3 -u, $1" "did not start"; return; }
    if [ "$1" != client ]; then
        "${space[@]}" "${client[@]}" iperf3 -u -c 127.0.0.1 -p "$port" -t 60 -b 1M > "$work/iperf.out" 2>&1 < /dev/null &
        pid=$!
        name="iperf3 -u, $1: reason shared_port"
        wait_until 20 has_no_lane "$port" shared_port && ok "$name" || not_ok "$name" "$(why_port "$port")"
        kill "$pid" && wait "$pid"
    fi
    forms=('-l 1400 -b 5M --bidir')
    [ "$1" != both ] || forms+=('-l 65000 -b 20M -R' '-l 64 -b 0')
    [ "${SLUICE_TEST_ALL:-0}" -eq 0 ] || forms+=('-l 64 -b 500K' '-l 1400 -b 0 --bidir' '-l 65000 -b 0 --bidir' '-l 1400 -b 0 -R -P 4')
    for form in "${forms[@]}"; do
        name="iperf3 -u $form, $1" problem=
        iperf_datagrams "$form" "$port"
        if [ -z "$problem" ]; then ok "$name: $(cat "$work/sums")"; else not_ok "$name" "$problem"; fi
    done
    stop_servers
}

# iperf_datagrams FORM PORT: one run; what was wrong is in `problem`.
iperf_datagrams() {
    "${space[@]}" cat /proc/net/snmp > "$work/before"
    # shellcheck disable=SC2086 # words of the form
    timeout 60 "${space[@]}" "${client[@]}" iperf3 -u -c 127.0.0.1 -p "$2" -t 1 $1 -J > "$work/iperf.json" 2> "$work/error" < /dev/null
    "${space[@]}" cat /proc/net/snmp > "$work/after"
    python3 "$here/iperf_datagrams.py" $exactness "$work/before" "$work/after" < "$work/iperf.json" > "$work/sums" 2>&1 || problem=$(tail -n 3 "$work/sums")
}

# memcached sets SO_REUSEADDR, and several threads read its socket.
memcached_udp_case() {
    local port
    port=$(free_port)
    start_server memcached "bound $port" "${server[@]}" memcached -U "$port" -p "$port" -l 127.0.0.1 -u "$(id -un)" || { not_ok "memcached -U, $1" "did not start"; return; }
    expect "memcached -U, $1" 0 'verified 2000' "${client[@]}" python3 "$here/memcached_datagrams.py" "$port" 4 500
    no_lane "memcached -U, $1" "$1" "$port" shared_port
    stop_servers
}

# Each line is a datagram, and is answered before the next one goes. Who sleeps gets it by the kernel, which wakes him, so that the
# ring may stay empty: that both ends have a lane is what is looked at.
lines_case() {
    local port expected
    answer() { say "$1"; }
    port=$(free_port)
    start_server socat "bound $port" "${server[@]}" socat "UDP4-LISTEN:$port,bind=127.0.0.1" PIPE
    look_for= expected=$1
    [ "$1" != both ] || look_for=loopback expected=any
    talk 'line $i' 100 "socat, UDP4-LISTEN, $1" "$expected" "$port" "${client[@]}" socat -t 1 - "UDP4:127.0.0.1:$port"
    look_for=
    stop_servers
    port=$(free_port)
    rm -f "$work/loop"
    mkfifo "$work/loop"
    start_server netcat "bound $port" bash -c '"$@" < "$0" | cat > "$0"' "$work/loop" "${server[@]}" nc.openbsd -nlu 127.0.0.1 "$port"
    talk 'line $i' 60 "nc.openbsd -u, $1" none "$port" "${client[@]}" nc.openbsd -nu -q 0 127.0.0.1 "$port"
    stop_servers
}
