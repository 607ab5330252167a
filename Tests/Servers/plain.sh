# Sourced by run.sh: programs that move bytes and nothing else: socat, netcat, the servers that start a program for a connection,
# iperf3.

# end_of NAME: waits for the server that was started last to end by itself; its exit code.
end_of() {
    local pid=${server_pids[-1]} status=0
    wait_until 30 gone "$pid" || { kill "$pid"; status=99; }
    wait "$pid" || status=$?
    unset 'server_pids[-1]'
    return "$status"
}

# serve PORT COMMAND...: a command under the placement's server that listens; its input and output are the caller's.
serve() {
    local port=$1
    shift
    timeout 100 "$@" <&0 2> "$work/serve.error" &
    server_pids+=($!)
    wait_until 20 listening "$port" || { not_ok "${*##*/}" "does not listen" "$(tail -n 3 "$work/serve.error")"; return 1; }
}

socat_case() {
    local port file=$content/8388608 inner lane limit forms
    # By 4096, a pipe's page: with larger pieces socat can block itself, writing into a pipe that only it would empty.
    # For each connection a child: itself, a program by pipes, by a socket pair, by a terminal.
    forms=(EXEC:cat EXEC:cat,nofork)
    if [ "$1" = both ] || [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then forms+=(PIPE EXEC:cat,pipes SYSTEM); fi
    for inner in "${forms[@]}"; do
        port=$(free_port)
        # Pipes carry no end to the program: socat leaves it when nothing has come for so many seconds.
        [ "$inner" = EXEC:cat,pipes ] && limit=2 || limit=60
        [ "$inner" != SYSTEM ] || inner="SYSTEM:cat <&3 >&4,fdin=3,fdout=4"
        serve "$port" "${server[@]}" socat -b 4096 -t "$limit" "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr" "$inner" < /dev/null || continue
        same "socat, $inner, there and back, $1" "$file" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port" < "$file"
        answer() { say "$1"; }
        # A program that holds the connection itself got it over an exec; system() hands it back before.
        case $inner in *nofork|SYSTEM*) lane=none ;; *) lane=$1 ;; esac
        talk 'line $i' 60 "socat, $inner, conversation, $1" "$lane" "$port" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port"
        stop_servers
    done
    # One connection, without a child.
    port=$(free_port)
    serve "$port" "${server[@]}" socat -t 60 "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" PIPE < /dev/null
    talk 'line $i' 60 "socat, one connection, conversation, $1" "$1" "$port" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port"
    stop_servers
    # One way each.
    port=$(free_port)
    serve "$port" "${server[@]}" socat -u "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" - < /dev/null > "$work/taken"
    timeout 60 "${client[@]}" socat -u "FILE:$content/67108864" "TCP:127.0.0.1:$port" 2> "$work/error"
    end_of; compare "socat, one way, there, $1" "$content/67108864" "$work/taken" $?
    port=$(free_port)
    serve "$port" "${server[@]}" socat -U "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" "FILE:$content/67108864" < /dev/null
    same "socat, one way, here, $1" "$content/67108864" "${client[@]}" socat -u "TCP:127.0.0.1:$port" -
    end_of
    # Behind a unix socket: a chain of three processes.
    port=$(free_port)
    serve "$port" "${server[@]}" socat -t 60 "TCP-LISTEN:$port,bind=127.0.0.1,fork,reuseaddr" EXEC:cat < /dev/null
    start_server relay "test -S $work/relay" "${client[@]}" socat -t 60 "UNIX-LISTEN:$work/relay,fork" "TCP:127.0.0.1:$port"
    same "socat, from a unix socket, $1" "$file" socat -t 60 - "UNIX-CONNECT:$work/relay" < "$file"
    stop_servers
    rm -f "$work/relay"
    # Shut down in half, and by the end of a timeout of its own.
    port=$(free_port)
    serve "$port" "${server[@]}" socat -t 60 "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr,nodelay,keepalive" SYSTEM:sha256sum < /dev/null
    sha256sum < "$file" > "$work/sum"
    same "socat, half closed, $1" "$work/sum" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port,shut-down" < "$file"
    end_of
}

netcat_case() {
    local port file=$content/8388608 nc listen
    for nc in nc.openbsd nc.traditional; do
        listen=(-l -p) # both understand it
        port=$(free_port)
        serve "$port" "${server[@]}" "$nc" -n "${listen[@]}" "$port" -s 127.0.0.1 < /dev/null > "$work/taken"
        case $nc in
            nc.openbsd) timeout 60 "${client[@]}" "$nc" -nN 127.0.0.1 "$port" < "$file" > /dev/null 2> "$work/error" ;;
            *) timeout 60 "${client[@]}" "$nc" -n -q 0 127.0.0.1 "$port" < "$file" > /dev/null 2> "$work/error" ;;
        esac
        end_of; compare "$nc, to the listener, $1" "$file" "$work/taken" $?
        port=$(free_port)
        case $nc in
            nc.openbsd) serve "$port" "${server[@]}" "$nc" -nN "${listen[@]}" "$port" -s 127.0.0.1 < "$file" > /dev/null ;;
            *) serve "$port" "${server[@]}" "$nc" -n -q 0 "${listen[@]}" "$port" -s 127.0.0.1 < "$file" > /dev/null ;;
        esac
        same "$nc, from the listener, $1" "$file" "${client[@]}" "$nc" -n 127.0.0.1 "$port" < /dev/null
        end_of
    done
    # A listener that stays, a program for the connection, ports that are only looked at, both ways by a pipe.
    port=$(free_port)
    serve "$port" "${server[@]}" nc.openbsd -nlk 127.0.0.1 "$port" < /dev/null > "$work/taken"
    for _ in 1 2 3; do timeout 60 "${client[@]}" nc.openbsd -nN 127.0.0.1 "$port" < "$content/100000"; done
    cat "$content/100000" "$content/100000" "$content/100000" > "$work/wanted"
    wait_until 20 cmp -s "$work/wanted" "$work/taken"
    compare "nc.openbsd -k, three in a row, $1" "$work/wanted" "$work/taken"
    expect "nc.openbsd -z, $1" 0 succeeded "${client[@]}" nc.openbsd -zvn 127.0.0.1 "$port"
    stop_servers
    answer() { say "$1"; }
    port=$(free_port)
    serve "$port" "${server[@]}" nc.traditional -n -l -p "$port" -s 127.0.0.1 -e /bin/cat < /dev/null
    talk 'line $i' 60 "nc.traditional -e, $1" none "$port" "${client[@]}" nc.traditional -n -q 5 127.0.0.1 "$port"
    port=$(free_port)
    rm -f "$work/loop"
    mkfifo "$work/loop"
    serve "$port" bash -c '"$@" < "$0" | cat > "$0"' "$work/loop" "${server[@]}" nc.openbsd -nl 127.0.0.1 "$port" < /dev/null
    talk 'line $i' 60 "nc.openbsd, conversation, $1" "$1" "$port" "${client[@]}" nc.openbsd -nN 127.0.0.1 "$port"
    stop_servers
}

# A server that accepts, forks and starts a program on the connection.
inetd_case() {
    local port file=$content/8388608 kind wait user lane
    user=$(id -un)
    for kind in tcpserver xinetd xinetd-wait; do
        port=$(free_port)
        wait=no
        [ "$kind" != xinetd-wait ] || wait=yes
        printf '%s\n' 'service echoing' '{' 'type = UNLISTED' "port = $port" 'bind = 127.0.0.1' 'socket_type = stream' 'protocol = tcp' \
            "wait = $wait" "user = $user" "server = $([ "$wait" = no ] && echo /bin/cat || echo /usr/bin/python3)" 'instances = 50' 'cps = 1000 1' \
            "$([ "$wait" = no ] || echo "server_args = $here/accept_all.py")" 'passenv = PATH LD_LIBRARY_PATH LD_PRELOAD' '}' > "$work/xinetd.conf"
        case $kind in
            tcpserver) start_server "$kind" "listening $port" "${server[@]}" tcpserver -H -R -l 0 -c 50 127.0.0.1 "$port" cat ;;
            *) start_server "$kind" "listening $port" "${server[@]}" xinetd -dontfork -f "$work/xinetd.conf" -pidfile "$work/xinetd.pid" -filelog "$work/xinetd.log" ;;
        esac || { not_ok "$kind, $1" "did not start"; continue; }
        same "$kind, there and back, $1" "$file" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port" < "$file"
        answer() { say "$1"; }
        # A program that is given the connection is a plain end, also with Sluice in it; what accepts itself is not.
        if [ "$wait" = yes ]; then lane=$1; else lane=none; fi
        [ "$wait$1" != noboth ] || look_for=plain_peer
        talk 'line $i' 60 "$kind, conversation, $1" "$lane" "$port" "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port"
        look_for=
        for _ in {1..20}; do timeout 60 "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port" < "$content/1000"; done > "$work/got"
        for _ in {1..20}; do cat "$content/1000"; done > "$work/wanted"
        compare "$kind, 20 in a row, $1" "$work/wanted" "$work/got"
        stop_servers
    done
}

iperf_case() {
    local port form name pid
    port=$(free_port)
    start_server iperf "listening $port" "${server[@]}" iperf3 -s -B 127.0.0.1 -p "$port" --forceflush || { not_ok "iperf3, $1" "did not start"; return; }
    for form in '' '-P 4' '-R' '--bidir' '-Z' '-l 1000 -N'; do
        name="iperf3 $form, $1"
        # -Z sends by sendfile.
        timeout 100 "${client[@]}" iperf3 -c 127.0.0.1 -p "$port" -n 200M $form -J > "$work/iperf.json" 2> "$work/error" < /dev/null
        python3 "$here/iperf_sums.py" 200 < "$work/iperf.json" > "$work/sums" 2>&1 && ok "$name: $(cat "$work/sums")" || not_ok "$name" "$(tail -n 3 "$work/sums")"
    done
    # The bytes of each stream go where they should: looked at while it runs, and then it is broken off.
    for form in '-P 2' '--bidir'; do
        name="iperf3 $form, broken off, $1"
        "${client[@]}" iperf3 -c 127.0.0.1 -p "$port" -t 60 $form -J > "$work/iperf.json" 2> "$work/error" < /dev/null &
        pid=$!
        carried "$name" "$1" "$port" 30000000 "$([ "$1" = both ] && echo 4 || echo 2)"
        kill -INT "$pid"
        wait "$pid"
        grep -q '"error":.*interrupt - the client has terminated' "$work/iperf.json" && ok "$name" || not_ok "$name" "$(tail -n 3 "$work/iperf.json")"
    done
    stop_servers
}

# Two ends that miss each other at first meet later.
late_case() {
    local port line
    start_peer late "${server[@]}" python3 "$here/late_pair.py" serve
    hear late
    port=$line
    start_peer client "${client[@]}" python3 "$here/late_pair.py" "$port"
    hear late
    go_on client
    hear client
    [ "$line" = verified ] && check_lane "late ends, $1" "$1" "$port"
    [ "$1" != refused ] || reason_is "late ends, $1" "$port" no_proof
    go_on late
    release client && ok "late ends, $1" || not_ok "late ends, $1" "said '$line'" "$(tail -n 3 "$work/client.error" "$work/late.error")"
    collect late
}
