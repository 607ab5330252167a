# Sourced by run.sh: redis with a replica and a rewritten log, memcached.

# start_store PORT FOLDER LAUNCHER...: redis with a log of its writes; `store_options` are added.
start_store() {
    local port=$1 folder=$2
    shift 2
    mkdir -p "$folder"
    start_server "redis-$port" "redis-cli -p $port ping" "$@" redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --save '' \
        --appendonly yes --appendfsync no --enable-debug-command yes --repl-diskless-sync-delay 0 --ignore-warnings ARM64-COW-BUG \
        "${store_options[@]}"
}

digest() { redis-cli -p "$1" debug digest; }
same_digest() {
    local first
    first=$(digest "$1")
    [ -n "$first" ] && [ "$first" = "$(digest "$2")" ]
}
info_has() { redis-cli -p "$1" info "$2" | tr -d '\r' | grep -qx "$3"; }

# fill PORT LAUNCHER...: many small keys, lists, sets, and some large values.
fill() {
    local port=$1
    shift
    timeout 120 "$@" redis-benchmark -p "$port" -t set,lpush,sadd,hset -r 20000 -n 15000 -c 20 -P 4 -d 300 -q > "$work/fill" 2>&1 &&
        timeout 120 "$@" redis-cli -p "$port" -x set large < "$content/8388608" > "$work/fill" 2>&1 ||
        not_ok "redis: load, $placement" "$(tail -n 3 "$work/fill")"
}

replica_case() {
    local first second third wanted diskless=yes store_options i
    [ "$1" != client ] || diskless=no
    first=$(free_port) second=$(free_port) third=$(free_port)
    store_options=(--repl-diskless-sync "$diskless")
    start_store "$first" "$work/redis-$first" "${server[@]}" || { not_ok "redis, $1" "did not start"; return; }
    fill "$first" "${client[@]}"
    store_options+=(--replicaof 127.0.0.1 "$first" --repl-diskless-load on-empty-db)
    start_store "$second" "$work/redis-$second" "${client[@]}" || { not_ok "redis replica, $1" "did not start"; return; }
    wait_until 60 info_has "$second" replication master_link_status:up
    redis-cli -p "$first" bgrewriteaof > /dev/null
    fill "$first" "${client[@]}"
    wait_until 60 info_has "$first" persistence aof_rewrite_in_progress:0
    info_has "$first" persistence aof_last_bgrewrite_status:ok && ok "redis, log rewritten, $1" || not_ok "redis, log rewritten, $1" "$(redis-cli -p "$first" info persistence)"
    # While the rewriting child holds the connection it has no lane: the two ends meet when twice as much has travelled. One
    # that forks in the middle of the meeting gives up for good: the replica comes back with a new connection.
    for i in 1 2 3 4 5 6; do
        if [ "$1" != both ] || has_ring_bytes "$first"; then break; fi
        [ "$i" -lt 4 ] || redis-cli -p "$first" client kill type replica > /dev/null
        fill "$first" "${client[@]}"
    done
    wait_until 60 same_digest "$first" "$second" && ok "redis, replica has the same keys, $1" ||
        not_ok "redis, replica has the same keys, $1" "$(digest "$first") $(digest "$second")" "$(tail -n 5 "$work/redis-$second.log")"
    check_lane "redis, replica, $1" "$1" "$first"
    wanted=$(digest "$first")
    stop_servers
    store_options=()
    start_store "$third" "$work/redis-$first" && wait_until 60 info_has "$third" persistence loading:0 && [ "$(digest "$third")" = "$wanted" ] && ok "redis, log read again, $1" ||
        not_ok "redis, log read again, $1" "$(digest "$third"), wanted $wanted"
    stop_servers
    rm -rf "$work"/redis-*
}

memcached_case() {
    local port user=()
    port=$(free_port)
    [ "$(id -u)" -ne 0 ] || user=(-u root)
    start_server "memcached" "listening $port" "${server[@]}" memcached -p "$port" -U 0 -l 127.0.0.1 -t 4 -m 200 -I 2m "${user[@]}" ||
        { not_ok "memcached, $1" "did not start"; return; }
    held_client "memcached, 20,000 items, $1" "$1" "$port" "verified 20000" "${client[@]}" python3 "$here/memcached_keys.py" "$port" 20000
    stop_servers
}
