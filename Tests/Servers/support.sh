# Sourced by run.sh: an own view of the machine, what is served, starting and comparing, the run under a filter.
nobody=65534

# As root: a mount namespace in which sshd finds what it insists on. Nothing of the host is changed.
enter_own_view() {
    if [ "$(id -u)" -ne 0 ]; then return 0; fi
    # Where that is forbidden, sshd cannot be run by root.
    if ! unshare --mount -- true 2> /dev/null; then SLUICE_TEST_VIEW=none; return; fi
    if [ -z "${SLUICE_TEST_VIEW-}" ]; then SLUICE_TEST_VIEW=1 exec unshare --mount -- bash "$here/run.sh" "$@"; fi
    local passwd
    passwd=$(sed -E "s,^nobody:.*,nobody:x:$nobody:$nobody:nobody:/:/bin/bash," /etc/passwd)
    mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd || exit 1
    { say "$passwd" | grep -v '^sshd:'; say 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; } > /run/passwd
    # No password, but not locked, and readable to a sshd that is not root's.
    printf '%s:NP:19000:0:99999:7:::\n' root nobody sshd > /run/shadow
    chmod 644 /run/passwd /run/shadow
    mount --bind /run/passwd /etc/passwd && mount --bind /run/shadow /etc/shadow || exit 1
}

make_content() {
    local size
    content=$work/content
    mkdir "$content" "$work/small"
    for size in 1 1000 100000 8388608 67108864; do head -c "$size" /dev/urandom > "$content/$size"; done
    cp "$content/1" "$content/1000" "$content/100000" "$work/small"
    head -c 1500000 /dev/urandom > "$work/small/1500000"
}

# What another user than root is to run stands where that user can read it.
copy_for_others() {
    others=$top
    if [ "$(id -u)" -ne 0 ]; then return 0; fi
    others=$work/top
    mkdir -p "$others/.build/bin" "$others/Tests"
    cp -r "$build/lib" "$servers" "$others/.build/"
    cp "$build/bin/sluicestat" "$others/.build/bin/"
    cp -r "$top/Scripts" "$top/Package.swift" "$others/"
    cp -r "$top/Tests/Servers" "$top/Tests/Programs" "$top"/Tests/*.sh "$others/Tests/"
    chmod -R a+rX "$others"
}

# start_server NAME CHECK COMMAND...: in the background, until the check (a command with its arguments) succeeds.
start_server() {
    local name=$1 check
    read -r -a check <<< "$2"
    shift 2
    "$@" > "$work/$name.log" 2>&1 < /dev/null &
    server_pid=$!
    server_pids+=("$server_pid")
    wait_until 20 "${check[@]}" || { tail -n 10 "$work/$name.log" >&2; return 1; }
}

listening() { ss -Hltn "sport = :$1" | grep -q .; }
gone() { ! kill -0 "$1" 2> /dev/null; }

# same NAME FILE COMMAND...: the command succeeds and writes what the file holds. Its input is the caller's.
same() {
    local name=$1 file=$2 status=0
    shift 2
    timeout 120 "$@" > "$work/got" 2> "$work/error" || status=$?
    compare "$name" "$file" "$work/got" "$status"
}

# compare NAME WANTED GOT [EXIT-CODE]
compare() {
    if [ "${4:-0}" -eq 0 ] && cmp -s "$2" "$3"; then ok "$1"; return; fi
    not_ok "$1" "exit code ${4:-0}, $(stat -c %s "$3" 2>&1) bytes, wanted $(stat -c %s "$2"); $(cmp "$2" "$3" 2>&1)" "$(tail -n 5 "$work/error" 2> /dev/null)"
}

# Why the connections of a port have no lane, for messages.
why_port() { "$stat" netstat --json | python3 "$here/reasons.py" "$1" 2>&1; }

# talk LINE COUNT NAME PLACEMENT PORT COMMAND...: lines, in which $i counts, to a client that writes an answer to each (the
# function `answer` says which); while it is connected, its lane is looked at, and with `look_for` the reason that it has none, for
# which it talks longer: an end looks for the other one for a while.
look_for=
talk() {
    local form=$1 count=$2 name=$3 placement=$4 port=$5 line i said wrong= status=0 most=$2
    shift 5
    start_peer client "$@"
    [ -z "$look_for" ] || most=$((count * 5))
    for ((i = 0; i < most && ${#wrong} == 0; i++)); do
        [ "$i" -lt "$count" ] || ! has_reason "$port" "$look_for" || break
        said=${form//\$i/$i}
        (trap '' PIPE; printf '%s\n' "$said" >&"${peer_in[client]}") 2> /dev/null
        hear client
        [ "${line%$'\r'}" = "$(answer "$said")" ] || wrong="answer $i: '$line'"
    done
    [ -n "$wrong" ] || check_lane "$name" "$placement" "$port"
    [ -n "$wrong" ] || [ -z "$look_for" ] || reason_is "$name" "$port" "$look_for"
    collect client || status=$?
    [ -z "$wrong" ] && [ "$status" -eq 0 ] && ok "$name" || not_ok "$name" "$wrong; exit code $status" "$(tail -n 5 "$work/client.error")"
}

# check_lane_soon NAME PLACEMENT PORT: while a load goes on, whose connections may all be young at the moment.
has_ring_bytes() { [ "$(ring_bytes "$1")" -gt 0 ]; }
check_lane_soon() {
    [ "$2" != both ] || wait_until 20 has_ring_bytes "$3"
    check_lane "$@"
}

# carried NAME PLACEMENT PORT BYTES [ENDS]: while a transfer goes on, so many ends (2 when both are under Sluice) come to have
# carried so many bytes, by ring with both, else by the kernel.
flows() { "$stat" netstat --json 2> "$work/stat-error" | python3 "$here/flows.py" "$@" > "$work/flows" 2>> "$work/stat-error"; }
carried() {
    local way=kernel ends=${5:-1}
    if [ "$2" = both ]; then way=ring ends=${5:-2}; fi
    wait_until 20 flows "$3" "$4" "$way" "$ends" && ok "$1: $(cat "$work/flows") by $way" ||
        not_ok "$1: by $way" "$(cat "$work/flows")" "$(tail -n 1 "$work/stat-error")"
}

# reason_is NAME PORT REASON: of at least one end of the connections with that port.
# Without -q, which ends early and so breaks the pipe.
has_reason() { why_port "$1" | grep ": $2\$" > /dev/null; }
reason_is() { has_reason "$2" "$3" && ok "$1: reason $3" || not_ok "$1: reason $3" "$(why_port "$2")"; }

end_peers() {
    local pid
    for pid in "${peer_pid[@]}"; do kill "$pid" 2> /dev/null; done
}

# under_filters CASE...: the cases as an unprivileged user under filters, each kind a run of this suite of its own. Where the
# families of sockets are restricted nothing can be proven, so that no connection has a lane.
killed_cases=(replica nginx_changes) restricted_cases=(late)
long_killed_cases=(late replica memcached postgres nginx_changes haproxy tls ssh socat) long_restricted_cases=(late replica memcached nginx_changes)
under_filters() {
    local chosen=both contained=() name pattern=quic
    if [ "${SLUICE_TEST_ALL:-0}" -ne 0 ]; then
        chosen="both server client"
        killed_cases=("${long_killed_cases[@]}") restricted_cases=("${long_restricted_cases[@]}")
    elif [ "$*" = "${all[*]}" ]; then
        # These programs are in other cases too.
        pattern='quic|nginx_changes|options|sockperf|iperf_udp|dns|dig|ntp|memcached_udp|lines|crowd'
    fi
    # The library for QUIC is not where another user reads.
    for name; do [[ $name =~ ^($pattern)$ ]] || contained+=("$name"); done
    [ "${SLUICE_TEST_ALL:-0}" -eq 0 ] || under_filter service "$chosen" "${contained[@]}"
    under_filter container "$chosen" "${contained[@]}"
    chosen_of "${killed_cases[*]}" "$@"
    under_filter service-kill "$chosen" "${those[@]}"
    chosen_of "${restricted_cases[*]}" "$@"
    under_filter families refused "${those[@]}"
}

# chosen_of LIST CASE...: those cases that are in the list, into `those`.
chosen_of() {
    local list=" $1 " name
    shift
    those=()
    for name; do [[ $list != *" $name "* ]] || those+=("$name"); done
}

# under_filter KIND PLACEMENTS CASE...
under_filter() {
    local kind=$1 chosen=$2 user=() status=0 line
    shift 2
    [ $# -gt 0 ] || return 0
    [ "$(id -u)" -ne 0 ] || user=(setpriv --reuid "$nobody" --regid "$nobody" --clear-groups --no-new-privs --)
    SLUICE_TEST_FILTER=$kind SLUICE_TEST_PLACEMENTS=$chosen LD_LIBRARY_PATH='' "${user[@]}" "$work/filter" "$kind" \
        bash "$others/Tests/Servers/run.sh" "$@" > "$work/inner" 2>&1 < /dev/null || status=$?
    sed -E "\$d; s/^(ok  |FAIL|skip) /\1 $kind: /" "$work/inner"
    line=$(tail -n 1 "$work/inner")
    if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
    else
        not_ok "$kind: cases under a filter" "exit code $status" "$line"
    fi
}
