# Sourced after lib.sh by the demo and the tests of real programs: servers as the invoking user, with own folders, on free
# ports, and gone when the script ends. The caller sets $work, an own temporary folder, and calls stop_servers by a trap.
server_pids=()

# A port that nothing uses, outside the range from which the kernel takes ports of clients.
free_port() {
    python3 -c '
import random, socket
for _ in range(1000):
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            print(port)
            break
        except OSError:
            pass
'
}

# wait_until SECONDS COMMAND...: repeats the command, which takes its milliseconds, until it succeeds.
wait_until() {
    local end=$((SECONDS + $1))
    shift
    until "$@" > /dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { printf 'waited in vain for: %s\n' "$*" >&2; return 1; }
    done
}

# start_redis PORT [LAUNCHER...]: in memory only; also on the unix socket $work/redis-PORT.socket.
start_redis() {
    local port=$1 folder=$work/redis-$1
    shift
    mkdir -p "$folder"
    "$@" redis-server --port "$port" --bind 127.0.0.1 ::1 --unixsocket "$folder.socket" --dir "$folder" --save '' \
        --appendonly no --daemonize no --maxclients 2000 --logfile "$folder/log" --ignore-warnings ARM64-COW-BUG > "$folder/out" 2>&1 < /dev/null &
    server_pid=$!
    server_pids+=("$server_pid")
    wait_until 20 redis-cli -p "$port" ping || { cat "$folder/log" "$folder/out" >&2; return 1; }
}

# start_nginx PORT FOLDER [LAUNCHER...]: two workers, sendfile, keep-alive, serves the files of the folder.
start_nginx() {
    local port=$1 content=$2 folder=$work/nginx-$1 user=
    shift 2
    mkdir -p "$folder"
    # Workers of a root master would become another user, who cannot read these folders.
    [ "$(id -u)" -ne 0 ] || user="user root;"
    cat > "$folder/conf" <<END
$user
daemon off;
worker_processes 2;
pid $folder/pid;
error_log $folder/error.log;
events { worker_connections 512; }
http {
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server { listen 127.0.0.1:$port; listen [::1]:$port; root $content; }
}
END
    "$@" nginx -p "$folder" -e "$folder/error.log" -c "$folder/conf" > "$folder/out" 2>&1 < /dev/null &
    server_pid=$!
    server_pids+=("$server_pid")
    wait_until 20 curl -s -o /dev/null "http://127.0.0.1:$port/" || { cat "$folder/out" "$folder/error.log" >&2; return 1; }
}

# Ends the servers in order; one that does not end within ten seconds is killed.
stop_servers() {
    local pid
    for pid in ${server_pids[@]+"${server_pids[@]}"}; do kill -TERM "$pid" 2> /dev/null; done
    for pid in ${server_pids[@]+"${server_pids[@]}"}; do
        timeout 10 tail --pid="$pid" -f /dev/null || kill -KILL "$pid" 2> /dev/null
        wait "$pid" 2> /dev/null
    done
    server_pids=()
}
