#!/bin/bash
# Real programs, unmodified, in three placements (Sluice in both ends, in the server only, in the client only): every byte
# is compared, and with both ends `sluicestat` must show that bytes went through rings. Some also under a filter.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
. "$here/../placements.sh"
. "$here/../../Scripts/servers.sh"
use_programs
work=$(mktemp -d)
trap 'stop_servers; rm -rf "$work"' EXIT
. "$here/../filtered.sh"
unset LD_PRELOAD

redis_case() {
    local port line
    port=$(free_port)
    start_redis "$port" "${server[@]}" || { not_ok "redis, $1" "did not start"; return; }
    held_client "redis, 100,000 keys, $1" "$1" "$port" "verified 100000" "${client[@]}" python3 "$here/redis_keys.py" "$port" 100000
    # redis's own client: writes in bulk, reads one by one.
    seq 1 20000 | awk '{ print "SET cli:" $1 " value-" $1 * 7 }' > "$work/set"
    seq 1 20000 | awk '{ print "GET cli:" $1 }' > "$work/get"
    seq 1 20000 | awk '{ print "value-" $1 * 7 }' > "$work/wanted"
    line=$(timeout 120 "${client[@]}" redis-cli -p "$port" --pipe < "$work/set" 2>&1 | tail -n 1)
    [ "$line" = "errors: 0, replies: 20000" ] && ok "redis-cli --pipe, $1" || not_ok "redis-cli --pipe, $1" "$line"
    timeout 120 "${client[@]}" redis-cli -p "$port" < "$work/get" > "$work/got" 2>&1
    cmp -s "$work/got" "$work/wanted" && ok "redis-cli, one by one, $1" || not_ok "redis-cli, one by one, $1" "$(diff "$work/got" "$work/wanted" | head -n 3)"
    expect "redis-benchmark, $1" 0 '"GET","[0-9]' "${client[@]}" redis-benchmark -p "$port" -t set,get -n 20000 -c 50 --csv
    stop_servers
}

nginx_case() {
    local port size files got
    port=$(free_port)
    files=("$content/1" "$content/1024" "$content/1048576" "$content/209715200")
    start_nginx "$port" "$content" "${server[@]}" || { not_ok "nginx, $1" "did not start"; return; }
    for size in 1 1024 1048576 209715200; do
        got=$(timeout 120 "${client[@]}" curl -s "http://127.0.0.1:$port/$size" | sha256sum)
        [ "$got" = "$(sha256sum < "$content/$size")" ] && ok "curl, $size bytes, $1" || not_ok "curl, $size bytes, $1" "other contents"
    done
    got=$(timeout 120 "${client[@]}" curl -sg "http://[::1]:$port/1048576" | sha256sum)
    [ "$got" = "$(sha256sum < "$content/1048576")" ] && ok "curl, IPv6, $1" || not_ok "curl, IPv6, $1" "other contents"
    got=$(timeout 120 "${client[@]}" curl -s "http://127.0.0.1:$port/1048576?[1-100]" | sha256sum)
    [ "$got" = "$reused" ] && ok "curl, 100 on one connection, $1" || not_ok "curl, 100 on one connection, $1" "other contents"
    held_client "nginx, keep-alive, $1" "$1" "$port" "verified 600" "${client[@]}" python3 "$here/http_keep.py" "$port" 200 "${files[@]:0:3}"
    expect "ab, keep-alive, $1" 0 'Failed requests: +0' "${client[@]}" ab -q -k -c 20 -n 10000 "http://127.0.0.1:$port/1024"
    stop_servers
}

transfer_case() {
    local port sent got line status=0 bytes=524288000 here=${scripts:-$here} python=${python:-python3}
    start_peer server "${server[@]}" "$python" "$here/transfer.py" serve "$bytes"
    hear server
    port=$line
    start_peer client "${client[@]}" "$python" "$here/transfer.py" fetch "$port"
    hear server
    sent=$line
    hear client
    got=$line
    check_lane "transfer, 500 MB, $1${2-}" "$1" "$port"
    # Each waits for the other's end.
    go_on server
    release client || status=$?
    collect server || status=$?
    if [ "$status" -eq 0 ] && [ -n "$got" ] && [ "$got" = "$sent" ] && [ "${got#* }" = "$bytes" ]; then
        ok "transfer, 500 MB, $1${2-}"
    else
        not_ok "transfer, 500 MB, $1${2-}" "sent $sent, got $got, exit code $status" "$(tail -n 5 "$work/server.error" "$work/client.error")"
    fi
}

asyncio_case() {
    local port line here=${scripts:-$here} python=${python:-python3}
    start_peer server "${server[@]}" "$python" "$here/asyncio_echo.py" serve
    hear server
    port=$line
    held_client "asyncio echo, $1${2-}" "$1" "$port" "verified 10000" "${client[@]}" "$python" "$here/asyncio_echo.py" load "$port" 50 200
    release server || not_ok "asyncio server, $1${2-}" "$(tail -n 5 "$work/server.error")"
}

# As an unprivileged user under a filter of system calls.
filtered_cases() {
    local kind placement scripts=$others python
    prepare_filtered && open_to_others "$here"/*.py || { not_ok "filtered" "cannot be prepared"; return; }
    for python in python3 python3.11 /usr/bin/python3 ''; do others_can_run "$python" && break; done
    [ -n "$python" ] || { skip "filtered" "another user cannot run Python"; return; }
    for kind in "${filter_kinds[@]}"; do
        for placement in "${filter_placements[@]}"; do
            place_filtered "$kind" "$placement"
            transfer_case "$placement" ", $kind"
            asyncio_case "$placement" ", $kind"
        done
    done
}

content=$work/content
mkdir "$content"
for size in 1 1024 1048576 209715200; do head -c "$size" /dev/urandom > "$content/$size"; done
reused=$(for _ in {1..100}; do cat "$content/1048576"; done | sha256sum)

for placement in both server client; do
    place "$placement"
    redis_case "$placement"
    nginx_case "$placement"
    transfer_case "$placement"
    asyncio_case "$placement"
done
filtered_cases
finish
