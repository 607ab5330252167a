# Sourced by run.sh: nginx that is changed under load, haproxy before two servers, TLS by OpenSSL.

# write_nginx FOLDER PORT CONTENT
write_nginx() {
    local user=
    [ "$(id -u)" -ne 0 ] || user="user root;"
    mkdir -p "$1"
    cat > "$1/conf" <<END
$user
worker_processes 2;
worker_shutdown_timeout 60s;
env LD_PRELOAD;
env LD_LIBRARY_PATH;
pid $1/pid;
error_log $1/error.log notice;
events { worker_connections 512; }
http {
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    keepalive_timeout 300s;
    keepalive_requests 100000;
    client_body_temp_path $1/body;
    proxy_temp_path $1/proxy;
    fastcgi_temp_path $1/fastcgi;
    uwsgi_temp_path $1/uwsgi;
    scgi_temp_path $1/scgi;
    server { listen 127.0.0.1:$2; root $3; }
}
END
}

# start_daemon FOLDER PORT [LAUNCHER...]: nginx that goes into the background, as a distribution starts it.
start_daemon() {
    local folder=$1 port=$2
    shift 2
    timeout 20 "$@" "$servers/usr/sbin/nginx" -p "$folder" -e "$folder/error.log" -c "$folder/conf" > "$folder/out" 2>&1 < /dev/null || { cat "$folder/out" >&2; return 1; }
    wait_until 20 test -s "$folder/pid"
    server_pids+=("$(cat "$folder/pid")")
    wait_until 20 listening "$port"
}

more() { go_on load; hear load; }
new_pid() { [ -s "$1/pid" ] && [ -s "$1/pid.oldbin" ] && [ "$(cat "$1/pid")" != "$2" ]; }
all_gone() { local pid; for pid; do gone "$pid" || return 1; done; }

nginx_changes_case() {
    local port folder=$work/nginx old young workers round status=0
    port=$(free_port)
    rm -rf "$folder"
    write_nginx "$folder" "$port" "$work/small"
    start_daemon "$folder" "$port" "${server[@]}" || { not_ok "nginx, $1" "did not start"; return; }
    start_peer load "${client[@]}" python3 "$here/http_load.py" "$port" 6 "$work/small"
    hear load
    old=$(cat "$folder/pid")
    for round in 1 2 3; do
        workers=$(pgrep -P "$old")
        kill -HUP "$old"
        more
        wait_until 60 all_gone $workers || not_ok "nginx: the old workers go, $1"
        more
    done
    [ "${line%% *}" = more ] && ok "nginx, 3 times new workers, $1" || not_ok "nginx, new workers, $1" "said '$line'"
    check_lane_soon "nginx, after new workers, $1" "$1" "$port"
    workers=$(pgrep -P "$old")
    kill -USR2 "$old"
    wait_until 30 new_pid "$folder" "$old" || { not_ok "nginx, a new program, $1" "$(tail -n 5 "$folder/error.log")"; return; }
    young=$(cat "$folder/pid")
    server_pids+=("$young")
    more
    kill -WINCH "$old"
    wait_until 60 all_gone $workers || not_ok "nginx: the workers of the old program go, $1"
    more
    kill -QUIT "$old"
    wait_until 60 gone "$old"
    more
    [ "${line%% *}" = more ] && ok "nginx, a new program, $1" || not_ok "nginx, a new program, $1" "said '$line'"
    check_lane_soon "nginx, after a new program, $1" "$1" "$port"
    end_load "nginx, no request failed, $1"
}

# The load says at its end that every answer was right.
end_load() {
    local in=${peer_in[load]} status=0
    exec {in}>&-
    hear load
    collect load 2> /dev/null || status=$?
    [ "$line" = verified ] && [ "$status" -eq 0 ] && ok "$1" || not_ok "$1" "said '$line', exit code $status" "$(tail -n 5 "$work/load.error")"
}

write_haproxy() {
    local name
    cat > "$work/haproxy.conf" <<END
global
    stats socket $work/haproxy.sock mode 600 level admin expose-fd listeners
    hard-stop-after 60s
    nbthread 2
defaults
    timeout connect 20s
    timeout client 120s
    timeout server 120s
frontend by_tcp
    mode tcp
    bind 127.0.0.1:$1
    default_backend tcp_servers
frontend by_http
    mode http
    bind 127.0.0.1:$2
    default_backend http_servers
backend tcp_servers
    mode tcp
    ${5-}
    server a 127.0.0.1:$3
    server b 127.0.0.1:$4
backend http_servers
    mode http
    http-reuse always
    server a 127.0.0.1:$3
    server b 127.0.0.1:$4
END
}

haproxy_case() {
    local a b tcp http port old size round
    a=$(free_port) b=$(free_port) tcp=$(free_port) http=$(free_port)
    for port in "$a" "$b"; do
        rm -rf "$work/nginx-$port"
        write_nginx "$work/nginx-$port" "$port" "$content"
        start_daemon "$work/nginx-$port" "$port" "${server[@]}" || { not_ok "nginx behind haproxy, $1" "did not start"; return; }
    done
    cp "$work"/small/* "$content"
    write_haproxy "$tcp" "$http" "$a" "$b"
    start_server haproxy "listening $http" "${server[@]}" haproxy -W -db -f "$work/haproxy.conf" -p "$work/haproxy.pid" || { not_ok "haproxy, $1" "did not start"; return; }
    for size in 1000 8388608 67108864; do
        same "haproxy, tcp, $size bytes, $1" "$content/$size" "${client[@]}" curl -s "http://127.0.0.1:$tcp/$size"
        same "haproxy, http, $size bytes, $1" "$content/$size" "${client[@]}" curl -s "http://127.0.0.1:$http/$size"
    done
    for port in "$tcp" "$http"; do
        start_peer load "${client[@]}" python3 "$here/http_load.py" "$port" 4 "$work/small"
        hear load
        for round in 1 2; do
            # The new process takes the listening sockets from the old one, which serves its connections to their end.
            kill -USR2 "$(head -n 1 "$work/haproxy.pid")"
            more
            more
        done
        check_lane_soon "haproxy, after new workers, $1" "$1" "$port"
        end_load "haproxy, no request failed, $1"
    done
}

tls_case() {
    local port size i
    port=$(free_port)
    export OPENSSL_CONF=$work/openssl.cnf
    printf '[req]\ndistinguished_name=n\n[n]\n' > "$OPENSSL_CONF"
    [ -e "$work/key" ] || openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/key" -out "$work/cert" -days 30 -subj /CN=localhost 2> /dev/null
    # Files by HTTP over TLS.
    (cd "$content" && exec "${server[@]}" openssl s_server -accept "127.0.0.1:$port" -key "$work/key" -cert "$work/cert" -WWW -quiet) > "$work/tls.log" 2>&1 < /dev/null &
    server_pids+=($!)
    wait_until 20 listening "$port"
    for size in 1 100000 67108864; do
        same "TLS, curl, $size bytes, $1" "$content/$size" "${client[@]}" curl -sk --http1.0 "https://127.0.0.1:$port/$size"
    done
    for i in '' -tls1_2; do
        same "TLS, s_client $i, $1" <(printf 'HTTP/1.0 200 ok\r\nContent-type: text/plain\r\n\r\n'; cat "$content/8388608") \
            "${client[@]}" openssl s_client -quiet -ign_eof $i -connect "127.0.0.1:$port" < <(printf 'GET /8388608 HTTP/1.0\r\n\r\n')
    done
    expect "TLS, s_time, $1" 0 'connections in' "${client[@]}" openssl s_time -connect "127.0.0.1:$port" -www /1000 -time 1
    stop_servers
    # A conversation: each line comes back reversed.
    port=$(free_port)
    start_server tls "listening $port" "${server[@]}" openssl s_server -accept "127.0.0.1:$port" -key "$work/key" -cert "$work/cert" -rev -quiet
    answer() { rev <<< "$1"; }
    talk 'line $i of it' 60 "TLS, conversation, $1" "$1" "$port" "${client[@]}" openssl s_client -quiet -no_ign_eof -connect "127.0.0.1:$port"
    stop_servers
}
