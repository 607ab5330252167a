# Sourced by run.sh: socat, netcat and haproxy with options that the other cases leave out.

# By default with both ends only.
options_case() {
    if [ "${SLUICE_TEST_ALL:-0}$1" = 0server ] || [ "${SLUICE_TEST_ALL:-0}$1" = 0client ]; then return 0; fi
    answer() { say "$1"; }
    socat_options "$1"
    netcat_options "$1"
    splicing "$1"
    kernel_tls "$1"
}

socat_options() {
    local port line
    port=$(free_port)
    serve "$port" "${server[@]}" socat "TCP6-LISTEN:$port,bind=[::1],fork,reuseaddr" EXEC:cat < /dev/null
    talk 'line $i' 60 "socat, TCP6, $1" "$1" "$port" "${client[@]}" socat -t 60 - "TCP6:[::1]:$port"
    port=$(free_port)
    serve "$port" "${server[@]}" socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" EXEC:cat,pty,rawer < /dev/null
    talk 'line $i' 60 "socat, terminal, $1" "$1" "$port" "${client[@]}" socat -t 0.1 - "TCP:127.0.0.1:$port"
    [ -e "$work/key" ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key" -out "$work/cert" -days 30 -subj /CN=localhost 2> /dev/null
    port=$(free_port)
    serve "$port" "${server[@]}" socat "OPENSSL-LISTEN:$port,bind=127.0.0.1,reuseaddr,cert=$work/cert,key=$work/key,verify=0" EXEC:cat < /dev/null
    talk 'line $i' 60 "socat, OPENSSL, $1" "$1" "$port" "${client[@]}" socat -t 60 - "OPENSSL:127.0.0.1:$port,verify=0"
    stop_servers
    # When nothing comes for a while the server ends, and its client with it.
    port=$(free_port)
    serve "$port" "${server[@]}" socat -T 3 "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" PIPE < /dev/null
    start_peer client "${client[@]}" socat -t 60 - "TCP:127.0.0.1:$port"
    for _ in {1..40}; do go_on client; hear client; done
    check_lane "socat -T, $1" "$1" "$port"
    end_of && ok "socat -T, the end of the server, $1" || not_ok "socat -T, the end of the server, $1" "exit code $?"
    collect client && ok "socat -T, the end of the client, $1" || not_ok "socat -T, the end of the client, $1" "exit code $?"
}

netcat_options() {
    local port
    port=$(free_port)
    rm -f "$work/loop"
    mkfifo "$work/loop"
    serve "$port" bash -c '"$@" < "$0" | cat > "$0"' "$work/loop" "${server[@]}" nc.openbsd -6 -nl ::1 "$port" < /dev/null
    talk 'line $i' 60 "nc.openbsd -6, $1" "$1" "$port" "${client[@]}" nc.openbsd -6 -nN ::1 "$port"
    stop_servers
    # A client that leaves a server that says no more.
    port=$(free_port)
    serve "$port" "${server[@]}" nc.openbsd -nl 127.0.0.1 "$port" < "$content/100000" > /dev/null
    same "nc.openbsd -w, $1" "$content/100000" "${client[@]}" nc.openbsd -n -w 1 127.0.0.1 "$port" < /dev/null
    end_of
    port=$(free_port)
    serve "$port" "${server[@]}" nc.traditional -n -l -p "$port" -s 127.0.0.1 -c 'exec cat' < /dev/null
    talk 'line $i' 60 "nc.traditional -c, $1" none "$port" "${client[@]}" nc.traditional -n -q 5 127.0.0.1 "$port"
    stop_servers
}

# By splice-auto haproxy leaves small answers to recv and send; by splice-response it moves all by splice(2), which hands lanes back.
splicing() {
    local a tcp http how
    a=$(free_port)
    rm -rf "$work/nginx-$a"
    write_nginx "$work/nginx-$a" "$a" "$content"
    cp "$work"/small/* "$content"
    start_daemon "$work/nginx-$a" "$a" "${server[@]}" || { not_ok "nginx behind haproxy, $1" "did not start"; return; }
    for how in splice-auto splice-response; do
        tcp=$(free_port) http=$(free_port)
        write_haproxy "$tcp" "$http" "$a" "$a"
        sed -i "s/^defaults/&\n    option $how/" "$work/haproxy.conf"
        start_server "$how" "listening $http" "${server[@]}" haproxy -db -f "$work/haproxy.conf" || { not_ok "haproxy, $how, $1" "did not start"; return; }
        same "haproxy, $how, tcp, $1" "$content/67108864" "${client[@]}" curl -s "http://127.0.0.1:$tcp/67108864"
        same "haproxy, $how, http, $1" "$content/67108864" "${client[@]}" curl -s "http://127.0.0.1:$http/67108864"
        start_peer load "${client[@]}" python3 "$here/http_load.py" "$tcp" 4 "$work/small"
        hear load
        more
        case $how$1 in
            splice-auto*) check_lane_soon "haproxy, $how, $1" "$1" "$tcp" ;;
            *client) ;;
            *) wait_until 20 has_reason "$tcp" foreign_call; reason_is "haproxy, $how, $1" "$tcp" foreign_call ;;
        esac
        end_load "haproxy, $how, no request failed, $1"
    done
    stop_servers
}

# TLS in the kernel: what it says of it stands, and Debian's openssl has no -ktls.
kernel_tls() {
    local ask='import socket, os
a = socket.create_server(("127.0.0.1", 0)); b = socket.create_connection(a.getsockname()); c = a.accept()[0]
for _ in range(50): b.sendall(b"x"); c.recv(1); c.sendall(b"y"); b.recv(1)
try: b.setsockopt(socket.IPPROTO_TCP, 31, b"tls"); print("taken")
except OSError as error: print(os.strerror(error.errno))
b.sendall(b"after"); print(c.recv(5))'
    python3 -c "$ask" > "$work/wanted" 2>&1
    same "TLS in the kernel: $(head -n 1 "$work/wanted"), $1" "$work/wanted" "${client[@]}" python3 -c "$ask"
    expect "openssl s_server -ktls, $1" 1 'Unknown (option|cipher).*ktls' "${server[@]}" openssl s_server -ktls -accept 127.0.0.1:1 -cert "$work/cert" -key "$work/key"
}
