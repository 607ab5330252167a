# Sourced by run.sh: questions and answers by datagrams. A name server with dig and dnsperf, a time server with its own client and a
# small one. What they say is compared with what they say without Sluice, and counts of theirs with Sluice's.

# start_names PORT LAUNCHER...: dnsmasq, with a record that does not fit a small datagram.
start_names() {
    local port=$1 i long=
    shift
    for i in {1..250}; do say "10.7.1.$i h$i.test"; printf 'fd07::%x h%d.test\n' "$i" "$i"; done > "$work/hosts"
    for i in a b c d; do long+=,$(printf "%200s" '' | tr ' ' "$i"); done
    start_server dnsmasq "bound $port" "$@" dnsmasq -k -p "$port" -C /dev/null --no-resolv --no-hosts --addn-hosts="$work/hosts" \
        --txt-record="long.test$long" -a 127.0.0.1 -a ::1 -z -u "$(id -un)" -g "$(id -gn)" --pid-file= --log-facility=- || return 1
    # The hosts are read after the port is bound.
    wait_until 20 python3 "$here/dns_load.py" "$port" 1 1
}

# dnsmasq shares its port.
dns_case() {
    local port i
    port=$(free_port)
    for i in {1..250}; do say "h$i.test A"; done > "$work/queries"
    start_names "$port" "${server[@]}" || { not_ok "dnsmasq, $1" "did not start"; return; }
    expect "dnsmasq, 5000 questions, $1" 0 'verified 5000' "${client[@]}" python3 "$here/dns_load.py" "$port" 10 500
    expect "dnsmasq, dnsperf, $1" 0 'NOERROR 5000 \(100.00%\)' "${client[@]}" dnsperf -s 127.0.0.1 -p "$port" -d "$work/queries" -n 20 -c 4 -T 2 -q 20
    no_lane "dnsmasq, $1" "$1" "$port" shared_port
    stop_servers
}

# What dig is asked, a line each, and what its answer must hold by the plain kernel.
dig_forms=(
    '@127.0.0.1 h7.test A +short|^10\.7\.1\.7$'
    '@::1 h7.test AAAA +short|^fd07::7$'
    '@127.0.0.1 h8.test A +tcp +noall +answer|10\.7\.1\.8$'
    '@::1 h9.test AAAA +tcp +noall +answer|fd07::9$'
    '@127.0.0.1 -x 10.7.1.9 +short|^h9\.test\.$'
    '@127.0.0.1 nobody.test A|status: (NXDOMAIN|REFUSED)'
    '@127.0.0.1 long.test TXT +bufsize=4096|dddd"$'
    '@127.0.0.1 long.test TXT +bufsize=512 +ignore|flags: qr aa tc '
    '@127.0.0.1 long.test TXT +bufsize=512|Truncated, retrying in TCP mode'
    '@::1 long.test TXT +bufsize=512|dddd"$'
    '@127.0.0.1 long.test TXT +noedns +ignore|flags: qr aa tc '
)

# dig_answers PORT LAUNCHER...: what dig says to all of it and to a file of 250 questions, but for numbers and times.
dig_answers() {
    local port=$1 form
    shift
    {
        for form in "${dig_forms[@]}"; do
            say "== ${form%%|*}"
            # shellcheck disable=SC2086 # words of the form
            "$@" dig -p "$port" +nostats +nocmd ${form%%|*} || say "exit code $?"
        done
        "$@" dig -p "$port" +nostats +nocmd @127.0.0.1 +tries=1 +timeout=30 -f "$work/questions" || say "exit code $?"
    } 2>&1 < /dev/null | sed -E 's/id: [0-9]+$/id: N/'
}

# dig has a socket for each question, and shares its ports; many of its questions by one TCP connection have a lane.
dig_case() {
    local port i form said
    port=$(free_port)
    for i in {1..250}; do say "h$i.test A"; done > "$work/questions"
    if [ ! -e "$work/plain-answers" ]; then
        start_names "$port" && dig_answers "$port" > "$work/plain-answers" || { not_ok "dig" "no answers without Sluice"; return; }
        stop_servers
        for form in "${dig_forms[@]}"; do
            said=$(awk -v line="== ${form%%|*}" '/^==/ { shown = $0 == line } shown' "$work/plain-answers")
            grep -qE "${form#*|}" <<< "$said" || not_ok "dig ${form%%|*}, without Sluice" "$said"
        done
    fi
    start_names "$port" "${server[@]}" || { not_ok "dig, $1" "dnsmasq did not start"; return; }
    dig_answers "$port" "${client[@]}" > "$work/got"
    compare "dig, ${#dig_forms[@]} forms and 250 questions, $1" "$work/plain-answers" "$work/got"
    no_lane "dig, $1" "$1" "$port" shared_port
    [ "$1" = server ] || waiting_dig "$1" "$port"
    answer() { local n=${1#h}; say "10.7.1.${n%%.*}"; }
    talk 'h1$i.test A' 100 "dig +tcp +keepopen, $1" "$1" "$port" "${client[@]}" dig -p "$port" @127.0.0.1 +tcp +keepopen +short -f -
    stop_servers
}

# While the server is stopped dig waits, so that its socket can be looked at.
waiting_dig() {
    local pid status=0
    kill -STOP "$server_pid"
    "${client[@]}" dig -p "$2" @127.0.0.1 h3.test +short +timeout=60 > "$work/got" 2> "$work/error" < /dev/null &
    pid=$!
    wait_until 20 has_dig_reason && ok "dig, $1: reason shared_port" || not_ok "dig, $1: reason shared_port" "$(tail -n 5 "$work/error")"
    kill -CONT "$server_pid"
    wait "$pid" || status=$?
    say 10.7.1.3 > "$work/wanted"
    compare "dig, $1: answered by a server that was stopped" "$work/wanted" "$work/got" "$status"
}
has_dig_reason() { "$stat" netstat -a --json > "$work/netstat" && python3 "$here/udp_reason.py" dig shared_port < "$work/netstat"; }

# A time server, which shares its port, and a client that wants to know when its datagrams were sent and came (SO_TIMESTAMPING), so that
# the kernel carries them. Neither may touch the clock: they are told so, and root's lack the right to.
start_time() {
    local name=$1 folder=$work/$1 user=() launcher=("${@:4}")
    rm -rf "$folder"
    mkdir -m 700 "$folder"
    { say "$2"; say "pidfile $folder/pid"; say "cmdport $3"; say "bindcmdaddress 127.0.0.1"; say "bindcmdaddress $folder/socket"; } > "$folder/conf"
    [ "$(id -u)" -ne 0 ] || user=(setpriv --bounding-set -sys_time --inh-caps -sys_time)
    start_server "$name" "bound $3" "${user[@]}" "${launcher[@]}" chronyd -x -U -d -u "$(id -un)" -f "$folder/conf" || return 1
    grep -q 'Disabled control of system clock' "$work/$name.log"
}

# asked_often FOLDER COUNT: so many answers of both addresses of the server have come to the client.
asked_often() { [ "$(chronyc -h "$1/socket" ntpdata | awk '/^Total valid RX/ && $5 >= '"$2"' { n++ } END { print n }')" -eq 2 ]; }

ntp_case() {
    local port server_port client_port user=() received counted
    port=$(free_port) server_port=$(free_port) client_port=$(free_port)
    start_time clock "port $port
bindaddress 127.0.0.1
bindaddress ::1
local stratum 8
allow 127.0.0.1
allow ::1" "$server_port" "${server[@]}" || { not_ok "chronyd, $1" "did not start"; return; }
    [ "$(id -u)" -ne 0 ] || user=(setpriv --bounding-set -sys_time --inh-caps -sys_time)
    expect "chronyd -Q, $1" 0 'System clock wrong by -?0\.[0-9]+ seconds \(ignored\)' "${user[@]}" "${client[@]}" chronyd -Q -x -U -t 20 \
        -u "$(id -un)" -f /dev/null "server 127.0.0.1 port $port iburst maxsamples 1" "pidfile $work/once.pid"
    expect "a small NTP client, $1" 0 'verified 400' "${client[@]}" python3 "$here/ntp_ask.py" "$port" 100
    start_time follower "port 0
server 127.0.0.1 port $port minpoll -6 maxpoll -6
server ::1 port $port minpoll -6 maxpoll -6" "$client_port" "${client[@]}" || { not_ok "chronyd as a client, $1" "did not start"; return; }
    wait_until 60 asked_often "$work/follower" 50
    expect "chronyd as a client: synchronised, $1" 0 '^\^,\*,(127\.0\.0\.1|::1),8,-6,' "${client[@]}" chronyc -c -h 127.0.0.1 -p "$client_port" sources
    chronyc -h "$work/follower/socket" ntpdata > "$work/ntpdata"
    expect "chronyd as a client: offsets, $1" 0 verified python3 "$here/ntp_offsets.py" "$work/ntpdata"
    [ "$1" = server ] || { has_no_lane "$client_port" shared_port && ok "chronyd as a client, $1: reason shared_port" || not_ok "chronyd as a client, $1: reason shared_port" "$(why_port "$client_port")"; }
    kill "$server_pid" && wait "$server_pid"
    no_lane "chronyd, $1" "$1" "$port" shared_port
    # Requests of 48 bytes: the server counts them, and Sluice their bytes.
    received=$(chronyc -h "$work/clock/socket" serverstats | awk '/^NTP packets received/ { print $5 }')
    if [ "$1" != client ]; then
        counted=$("$stat" netstat -a --json | python3 "$here/udp_bytes.py" "$port")
        [ "$counted" = "$((received * 48)) $((received * 48))" ] && ok "chronyd, $1: $received requests, counted by both" ||
            not_ok "chronyd, $1: requests" "$received of 48 bytes; by Sluice received and sent: $counted"
    fi
    stop_servers
}
