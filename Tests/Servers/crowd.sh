# Sourced by run.sh: many clients of one UDP socket, each a process of its own (Crowd.c). What comes back to each is exact, nothing is
# dropped, and with both ends under Sluice most of them have lanes, as far as a socket has room for these.

prepare_crowd() { [ -e "$work/crowd" ] || gcc -O1 -Wall -o "$work/crowd" "$here/Crowd.c" 2> "$work/error"; }

crowd_case() {
    local form
    prepare_crowd || { not_ok "crowd, $1" "cannot be built" "$(tail -n 5 "$work/error")"; return; }
    crowd "$1" epoll ask 50 200 8 connected
    crowd "$1" epoll restart 30
    if [ "$1" = both ]; then
        crowd "$1" recvmmsg ask 50 200 8 unconnected
        crowd "$1" recvfrom ask 100 150 4 connected
        crowd "$1" recvfrom replace 20 4
        crowd "$1" epoll succeed 40
    fi
    [ "${SLUICE_TEST_ALL:-0}" -ne 0 ] || return 0
    for form in recvfrom recvmmsg epoll; do
        crowd "$1" "$form" ask 200 1000 4 unconnected
        crowd "$1" "$form" ask 50 5000 8 connected
        crowd "$1" "$form" replace 50 10
        crowd "$1" "$form" restart 100
    done
}

# crowd PLACEMENT SERVER-FORM ask|replace|restart|succeed CLIENTS [ARGUMENT...]
crowd() {
    local placement=$1 form=$2 does=$3 count=$4 name="crowd, a server by $2, ${*:3}, $1" port status=0 line most=0 drops
    shift 4
    port=$(free_port)
    crowd_server "$form" "$port" || { not_ok "$name" "the server did not start"; return; }
    # The last of three generations finds room for its lanes.
    if [ "$does" = succeed ]; then
        does=ask
        set -- 200 4 connected
        expect "$name: the first" 0 "verified $((count * 200))" "${client[@]}" "$work/crowd" ask "$port" "$count" "$@"
        expect "$name: the second" 0 "verified $((count * 200))" "${client[@]}" "$work/crowd" ask "$port" "$count" "$@"
    fi
    start_peer client "${client[@]}" "$work/crowd" "${does/restart/steady}" "$port" "$count" "$@"
    if [ "$does" = restart ]; then restart_under_crowd "$form" "$port"; fi
    hear client
    if [[ $line == "verified "* ]]; then
        check_lane "$name" "$placement" "$port"
        [ "$placement" != both ] || most=$((count < 64 ? count : 64))
        crowd_flows "$port" $((most / 2)) "$most" && ok "$name: $(cat "$work/flows")" || not_ok "$name: up to $most lanes" "$(cat "$work/flows")"
    fi
    release client || status=$?
    drops=$(cat "$work/drops" 2> /dev/null)
    [[ $line == "verified "* ]] && [ "$status" -eq 0 ] && [ "$drops" = 0 ] && ok "$name" ||
        not_ok "$name" "said '$line', exit code $status; the kernel has dropped '$drops' at the server" "$(tail -n 5 "$work/client.error")"
    stop_servers
}
crowd_server() { start_server crowd "bound $2" "${server[@]}" "$work/crowd" serve "$1" "$2"; }
# Also what the kernel has dropped at the server's socket: the last column for its port.
crowd_flows() {
    awk -v port="$(printf ':%04X' "$1")" '$2 ~ port "$" { n += $NF } END { print n + 0 }' /proc/net/udp > "$work/drops"
    "$stat" netstat -a --json 2> "$work/stat-error" | python3 "$here/udp_flows.py" "$@" > "$work/flows" 2>> "$work/stat-error"
}

# The server is killed while all ask it; when the kernel has told each of them so, there is a new one.
restart_under_crowd() {
    local line
    if [ "$placement" = both ]; then wait_until 20 crowd_flows "$2" 1 64; fi
    kill -KILL "$server_pid" && wait "$server_pid"
    hear client
    if [ "$line" = refused ]; then crowd_server "$1" "$2"; fi
} 2> /dev/null
