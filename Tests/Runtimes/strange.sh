# Sourced by run.sh: strange processes, each the same on the plain kernel and under Sluice; allocators as neighbours.
build_strange() {
    local flags=(-std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -pthread) uring
    uring=$(compgen -G "$runtimes/usr/lib/*-linux-gnu/liburing.so.2" | head -n 1)
    "${CC:-gcc}" "${flags[@]}" -fPIC -shared "$here/strange/Plugin.c" -o "$work/strange-plugin.so" &&
        "${CC:-gcc}" "${flags[@]}" -I"$runtimes/usr/include" "$here"/strange/{Strange,Closers,Places,Filters,Limits,Jumps,JumpsMore,Loads,Rings,Raw,RawRings}.c \
            "$uring" -Wl,-rpath,"${uring%/*}:$work" -o "$work/strange" &&
        "${CC:-gcc}" "${flags[@]}" "$here/strange/Threads.c" -o "$work/threads"
}

# said FILE COMMAND...: by a pipe, since some cases allow no file to grow.
said() {
    local file=$1
    shift
    timeout 60 "$@" 2>&1 < /dev/null | cat > "$file"
    printf 'exit %s\n' "${PIPESTATUS[0]}" >> "$file"
}

# same NAME PRELOADED COMMAND...: PRELOADED stands for LD_PRELOAD, where SLUICE is the library; empty in the plain run.
# STRANGE_PLACE says whether the bytes are to be where the case says; else in the kernel.
same() {
    local name=$1 preloaded=$2 mode modes=(SLUICE_LANE_AT=16) where
    shift 2
    case $all$name in
        1*) modes+=(SLUICE_LANE_AT=0 SLUICE_CHAOS=1 SLUICE_CHAOS=2) ;;
        0live|0close_all_*|0other_*|0deep_*|0plugin_*|0jumps_*|0killing_*|0no_more_memory|0thread_*|0raw_*|0uring_*) modes+=(SLUICE_LANE_AT=0) ;;
    esac
    said "$work/plain" env LD_PRELOAD="${preloaded//SLUICE/}" "$@"
    case $(tail -n 1 "$work/plain") in
        'exit 0') ;;
        'exit 77') skip "$name" "$(sed -n 's/^skip: //p' "$work/plain")"; return ;;
        *) not_ok "$name, on the kernel" "$(tail -n 9 "$work/plain")" ;;
    esac
    for mode in "${modes[@]}"; do
        # Chaos hands connections back at any moment.
        case $mode in SLUICE_CHAOS*) where=anywhere ;; *) where='as said' ;; esac
        said "$work/said" env "$mode" STRANGE_PLACE="$where" LD_PRELOAD="${preloaded//SLUICE/$library}" "$@"
        if cmp -s "$work/plain" "$work/said"; then ok "$name, $mode"; else not_ok "$name, $mode" "$(diff "$work/plain" "$work/said" | head -n 20)"; fi
    done
}

# redis_beside NAME PRELOADED [LAUNCHER...]: redis and its benchmark beside an allocator, or under a filter.
redis_beside() {
    local port name=$1 preloaded=${2//SLUICE/$library} line
    shift 2
    port=$(free_port)
    start_redis "$port" env LD_PRELOAD="$preloaded" "$@" || { not_ok "$name, redis" "did not start"; return; }
    expect "$name, redis" 0 '"GET","[0-9]' env LD_PRELOAD="$preloaded" redis-benchmark -p "$port" -t set,get -n 20000 -c 20 --csv
    start_peer client env LD_PRELOAD="$preloaded" python3 "$top/Tests/Programs/redis_keys.py" "$port" 5000
    hear client
    [ "$line" = "verified 5000" ] && ok "$name, redis, contents" || not_ok "$name, redis, contents" "$line"
    check_lane "$name, redis" both "$port"
    release client || not_ok "$name, redis, client" "exit code $?"
    stop_servers
}

allocators() {
    local allocator order
    for allocator in libjemalloc.so.2 libmimalloc.so.2.0; do
        local path
        path=$(compgen -G "$runtimes/usr/lib/*-linux-gnu/$allocator" | head -n 1)
        [ -n "$path" ] || { not_ok "$allocator" "not found"; continue; }
        for order in "$path:SLUICE" "SLUICE:$path"; do
            same "threads, ${order/"$path"/$allocator}" "$order" "$work/threads"
            if [ "$all" -eq 1 ] || [ "${order#SLUICE}" = "$order" ]; then redis_beside "${order/"$path"/$allocator}" "$order"; fi
        done
    done
}

strange_cases() {
    local name
    build_strange || { not_ok "strange programs" "cannot be compiled"; return; }
    for name in $("$work/strange"); do
        if [ "$only" = strange ] || wanted "strange-$name"; then same "$name" SLUICE "$work/strange" "$name"; fi
    done
    if [ "$only" = strange ] || wanted strange-redis; then redis_beside "filter that kills debuggers" SLUICE "$work/strange" under_filter; fi
    if [ "$only" = strange ] || wanted strange-allocators; then allocators; fi
}
