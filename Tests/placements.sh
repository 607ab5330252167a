# Sourced by the suites of real programs, after Scripts/lib.sh and Tests/lib.sh: who runs under Sluice, ring bytes, and peers
# that are talked with by pipes. The caller sets $work, an own temporary folder;
# peer_limit: seconds that a program may take, 300.
sluice=$top/Scripts/sluice
stat=$build/bin/sluicestat

# Sets `server` and `client` to what each end is started with. `refused`: both, where something keeps every lane away.
place() {
    server=() client=()
    case $1 in
        both|refused) server=("$sluice") client=("$sluice") ;;
        server) server=("$sluice") ;;
        client) client=("$sluice") ;;
    esac
}

# Ring bytes of all living connections one end of which has this port, as the stat tool says.
ring_bytes() {
    "$stat" netstat -a --json > "$work/netstat" && python3 "$top/Tests/Programs/ring_bytes.py" "$1" < "$work/netstat"
}

# check_lane NAME PLACEMENT PORT: while the connections of the case are alive. The placement `any` looks at nothing.
check_lane() {
    local bytes
    [ "$2" != any ] || return 0
    bytes=$(ring_bytes "$3" 2> "$work/stat-error") || { not_ok "$1: ring bytes" "sluicestat netstat: $(tail -n 1 "$work/stat-error")"; return; }
    if [ "$2" = both ]; then
        [ "$bytes" -gt 0 ] && ok "$1: $bytes bytes by ring" || not_ok "$1: bytes by ring" "none" "$("$stat" netstat --json | python3 "$top/Tests/Servers/reasons.py" "$3" 2>&1)"
    else
        [ "$bytes" -eq 0 ] && ok "$1: all bytes by the kernel" || not_ok "$1: all bytes by the kernel" "$bytes by ring"
    fi
}

# start_peer NAME COMMAND...: runs a command in the background with pipes: ${peer_in[NAME]}, ${peer_out[NAME]}, ${peer_pid[NAME]}.
declare -A peer_in=() peer_out=() peer_pid=()
start_peer() {
    local name=$1 in out
    shift
    rm -f "$work/$name.in" "$work/$name.out"
    mkfifo "$work/$name.in" "$work/$name.out"
    timeout "${peer_limit:-300}" "$@" < "$work/$name.in" > "$work/$name.out" 2> "$work/$name.error" &
    peer_pid[$name]=$!
    exec {in}> "$work/$name.in" {out}< "$work/$name.out"
    peer_in[$name]=$in peer_out[$name]=$out
}

# The next line that a peer says, into `line`.
hear() { line=; IFS= read -r -t "${peer_limit:-300}" -u "${peer_out[$1]}" line; }
# Lets a peer go on that waits for a line. It may have ended early: its exit code tells.
go_on() { (trap '' PIPE; echo >&"${peer_in[$1]}") 2> /dev/null; }
# The exit code of a peer, at whose input nothing more will come.
collect() {
    local in=${peer_in[$1]} out=${peer_out[$1]} status=0
    exec {in}>&-
    wait "${peer_pid[$1]}" || status=$?
    exec {out}<&-
    return "$status"
}
release() { go_on "$1"; collect "$1"; }

# held_client NAME PLACEMENT PORT WANTED COMMAND...: a client that prints a line when it is done and stays connected.
held_client() {
    local name=$1 placement=$2 port=$3 wanted=$4 line said status=0
    shift 4
    start_peer client "$@"
    hear client
    said=$line
    if [ "$said" = "$wanted" ]; then check_lane "$name" "$placement" "$port"; fi
    release client || status=$?
    if [ "$said" = "$wanted" ] && [ "$status" -eq 0 ]; then
        ok "$name"
    else
        not_ok "$name" "said '$said', wanted '$wanted'; exit code $status" "$(tail -n 5 "$work/client.error")"
    fi
}
