# Sourced by run.sh: servers and clients in several languages.
languages=(perl ruby php node node-uring node-http node-cluster node-handle java java-nio java-ends go cgo)
[ "$all" -eq 0 ] || languages+=(swift)
# As an unprivileged user under a filter of system calls too.
filtered=(node java java-nio cgo swift)
# The programs, and what is compiled of them.
source=$work/languages
cp -r "$here/languages" "$source"

# Where the unpacked Ruby looks for its own.
RUBYLIB=$runtimes/usr/lib/ruby/3.1.0:$(compgen -G "$runtimes/usr/lib/*-linux-gnu/ruby/3.1.0" | head -n 1)
export RUBYLIB

# Ends what a failed case has left.
kill_peers() {
    local pid
    for pid in "${peer_pid[@]}"; do kill -TERM "$pid" 2> /dev/null; done
    return 0
}

# Sets `serve` and `load`, the commands of both ends, and `wanted_line`, what the client says in the end.
commands_of() {
    local connections=8 rounds=150
    [ "$1" != node-handle ] || connections=2
    wanted_line="verified $((connections * rounds))"
    case $1 in
        perl) serve=(perl "$source/echo.pl") ;;
        ruby) serve=(ruby3.1 --disable=gems "$source/echo.rb") ;;
        php) serve=(php8.2 -n "$source/echo.php") ;;
        java) serve=(java -XX:TieredStopAtLevel=1 -cp "$source/classes" Echo) ;;
        node*) serve=(node "$source/echo.js") ;;
        go) serve=("$source/echo-go") ;;
        cgo) serve=("$source/echo-cgo") ;;
        swift) serve=("$source/nioecho") ;;
    esac
    load=("${serve[@]}" load PORT "$connections" "$rounds")
    serve+=(serve)
    case $1 in
        node-uring) serve=(env UV_USE_IO_URING=1 "${serve[@]}") load=(env UV_USE_IO_URING=1 "${load[@]}") ;;
        node-http) serve=(node "$source/keep.js" serve) load=(node "$source/keep.js" load PORT 300) wanted_line="verified 300 on 4" ;;
        node-cluster) serve=(node "$source/cluster.js" rr) ;;
        node-cluster-shared) serve=(node "$source/cluster.js" shared) ;;
        node-handle) serve=(node "$source/handle.js") ;;
        java-nio) serve=(java -XX:TieredStopAtLevel=1 -cp "$source/classes" Echo serve-nio) load=("${serve[@]:0:5}" load-nio PORT "$connections" "$rounds") ;;
    esac
}

# Compiles what a language needs; its cases are left out if that fails.
prepare_language() {
    case $1 in
        java) quietly javac -d "$source/classes" "$source/Echo.java" ;;
        java-nio) [ -e "$source/classes/Echo.class" ] || prepare_language java ;;
        java-ends) quietly javac -d "$source/classes" "$source/Ends.java" ;;
        go) build_go 0 echo.go "$source/echo-go" ;;
        cgo) build_go 1 echocgo.go "$source/echo-cgo" ;;
        swift) quietly swift build -c release --package-path "$here/nio" --scratch-path "$build/nio" < /dev/null && cp "$build/nio/release/nioecho" "$source/" ;;
    esac
}
build_go() {
    GOROOT=$runtimes/usr/lib/go-1.19 GOCACHE=$build/go-cache GOPATH=$work/go GO111MODULE=off GOTOOLCHAIN=local CGO_ENABLED=$1 \
        quietly go build -o "$3" "$source/$2"
}

# check_rings LANGUAGE PLACEMENT PORT NAME: the bytes of a static program, and those of a connection that another process has
# accepted and passed on, stay in the kernel.
check_rings() {
    local placement=$2
    case $1 in
        go|node-cluster) placement=kernel ;;
        node-uring) return ;; # an older Node has no io_uring
    esac
    check_lane "$4" "$placement" "$3"
}

# echo_case LANGUAGE PLACEMENT [FILTER]: the language at both ends.
echo_case() {
    local name="$1, $2${3:+, $3}" port said status=0 line
    if [ -n "${3-}" ]; then place_filtered "$3" "$2"; else place "$2"; fi
    commands_of "$1"
    start_peer server "${server[@]}" "${serve[@]}"
    hear server
    port=$line
    if [ -z "$port" ]; then collect server; not_ok "$name" "the server says no port" "$(tail -n 5 "$work/server.error")"; return; fi
    start_peer client "${client[@]}" "${load[@]/#PORT/$port}"
    hear client
    said=$line
    if [ "$said" = "$wanted_line" ]; then check_rings "$1" "$2" "$port" "$name"; fi
    release client || status=$?
    if [ "$said" = "$wanted_line" ] && [ "$status" -eq 0 ]; then
        ok "$name"
    else
        not_ok "$name" "said '$said', wanted '$wanted_line'; exit code $status" "$(tail -n 9 "$work/client.error")" "$(tail -n 9 "$work/server.error")"
    fi
    release server || not_ok "$name: server" "exit code $?" "$(tail -n 9 "$work/server.error")"
}

# same_lines NAME COMMAND...: says the same on the plain kernel and under Sluice, in several modes.
same_lines() {
    local name=$1 mode status=0
    shift
    timeout 120 "$@" > "$work/plain" 2>&1 < /dev/null || status=$?
    [ "$status" -eq 0 ] || { not_ok "$name, on the kernel" "exit code $status" "$(tail -n 9 "$work/plain")"; return; }
    for mode in SLUICE_LANE_AT=16 SLUICE_LANE_AT=0 SLUICE_CHAOS=5; do
        status=0
        env "$mode" timeout 120 "$sluice" "$@" > "$work/said" 2>&1 < /dev/null || status=$?
        if [ "$status" -eq 0 ] && cmp -s "$work/plain" "$work/said"; then
            ok "$name, $mode"
        else
            not_ok "$name, $mode" "exit code $status" "$(diff "$work/plain" "$work/said" | head -n 20)"
        fi
    done
}

filtered_cases() {
    local source=$others/languages kind placement
    prepare_filtered && open_to_others "$work/languages" || { not_ok "$1, filtered" "cannot be prepared"; return; }
    commands_of "$1"
    others_can_run "${serve[0]}" || { skip "$1, filtered" "another user cannot run ${serve[0]}"; return; }
    for kind in "${filter_kinds[@]}"; do
        for placement in "${filter_placements[@]}"; do echo_case "$1" "$placement" "$kind"; done
    done
}

language_case() {
    local placement
    prepare_language "$1" || { not_ok "$1" "cannot be compiled"; return; }
    if [ "$1" = java-ends ]; then same_lines java-ends java -cp "$source/classes" Ends; return; fi
    for placement in both server client; do echo_case "$1" "$placement"; done
    if [ "$1" = node-cluster ]; then echo_case node-cluster-shared both; fi
    if [[ " ${filtered[*]} " == *" $1 "* ]]; then filtered_cases "$1"; fi
}
