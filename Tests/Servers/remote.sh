# Sourced by run.sh: ssh with its copies and forwarded ports, rsync, git.

prepare_ssh() {
    local shown=$servers/usr/sbin/sshd
    ssh=$work/ssh
    ssh_port=$(free_port)
    rm -rf "$ssh"
    mkdir -m 700 "$ssh"
    ssh-keygen -q -t ed25519 -N '' -f "$ssh/host" && ssh-keygen -q -t ed25519 -N '' -f "$ssh/user" && cp "$ssh/user.pub" "$ssh/keys" || return 1
    printf '%s\n' "Port $ssh_port" 'ListenAddress 127.0.0.1' "HostKey $ssh/host" "AuthorizedKeysFile $ssh/keys" 'StrictModes no' 'PidFile none' \
        'PasswordAuthentication no' 'PermitRootLogin yes' 'UsePAM no' 'PermitUserEnvironment no' 'Subsystem sftp internal-sftp' \
        "SetEnv LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}" 'PerSourceMaxStartups none' 'MaxStartups 100' > "$ssh/server"
    printf '%s\n' "Port $ssh_port" "IdentityFile $ssh/user" 'IdentitiesOnly yes' "UserKnownHostsFile $ssh/known" 'StrictHostKeyChecking no' \
        'LogLevel ERROR' 'BatchMode yes' > "$ssh/client"
    start_server sshd "listening $ssh_port" "${server[@]}" "$shown" -D -e -f "$ssh/server"
}

ssh_case() {
    local port to forward near far
    if [ "${SLUICE_TEST_VIEW-}" = none ]; then skip "ssh, $1" "no mount namespace allowed"; return; fi
    prepare_ssh || { not_ok "sshd, $1" "did not start"; return; }
    to=(-F "$ssh/client" 127.0.0.1)
    same "ssh, to here, $1" "$content/67108864" "${client[@]}" ssh "${to[@]}" cat "$content/67108864"
    same "ssh, to there and back, $1" "$content/8388608" "${client[@]}" ssh "${to[@]}" cat < "$content/8388608"
    # netcat connects and passes the descriptor on.
    same "ssh, by a connection that netcat passed, $1" "$content/100000" "${client[@]}" ssh -o ProxyUseFdpass=yes \
        -o "ProxyCommand=nc.openbsd -F 127.0.0.1 $ssh_port" "${to[@]}" cat "$content/100000"
    timeout 60 "${client[@]}" scp -q -F "$ssh/client" "$content/67108864" "127.0.0.1:$ssh/there" > "$work/error" 2>&1 < /dev/null
    compare "scp, to there, $1" "$content/67108864" "$ssh/there" $?
    timeout 60 "${client[@]}" scp -q -F "$ssh/client" "127.0.0.1:$content/8388608" "$ssh/here" > "$work/error" 2>&1 < /dev/null
    compare "scp, to here, $1" "$content/8388608" "$ssh/here" $?
    timeout 60 "${client[@]}" sftp -q -F "$ssh/client" -b - 127.0.0.1 > "$work/error" 2>&1 <<< "get $content/8388608 $ssh/got"
    compare "sftp, $1" "$content/8388608" "$ssh/got" $?
    # Forwarded both ways, to a server that is under Sluice as sshd is: there between the two clients and between the two servers,
    # back between client and server twice. Between ssh and sshd all goes by the kernel, see below.
    case $1 in server) near=server ;; *) near=both ;; esac
    case $1 in client) far=client ;; *) far=both ;; esac
    port=$(free_port) forward=$(free_port)
    write_nginx "$work/nginx-ssh" "$port" "$work/small"
    start_daemon "$work/nginx-ssh" "$port" "${server[@]}" || { not_ok "nginx behind ssh, $1" "did not start"; return; }
    start_server forward "listening $forward" "${client[@]}" ssh -N -L "127.0.0.1:$forward:127.0.0.1:$port" "${to[@]}"
    same "ssh, forwarded, $1" "$work/small/1500000" "${client[@]}" curl -s "http://127.0.0.1:$forward/1500000"
    loaded "ssh, forwarded, many requests, $1" "$forward" "$near" "$port" "$far"
    end_server
    start_server forward "listening $forward" "${client[@]}" ssh -N -R "127.0.0.1:$forward:127.0.0.1:$port" "${to[@]}"
    same "ssh, forwarded back, $1" "$work/small/1500000" "${client[@]}" curl -s "http://127.0.0.1:$forward/1500000"
    loaded "ssh, forwarded back, many requests, $1" "$forward" "$1" "$port" "$1"
    answer() { say "$1"; }
    # The server's end goes over an exec, and its process installs a filter.
    [ "$1" = server ] || look_for=plain_peer
    talk 'line $i' 60 "ssh, conversation, $1" none "$ssh_port" "${client[@]}" ssh "${to[@]}" cat
    look_for=
    stop_servers
}

# loaded NAME PORT LANE PORT LANE: the load for a while, the lanes of both legs during it.
loaded() {
    start_peer load "${client[@]}" python3 "$here/http_load.py" "$2" 4 "$work/small"
    hear load
    more
    check_lane_soon "$1, to the forwarding end" "$3" "$2"
    check_lane_soon "$1, to the server" "$5" "$4"
    end_load "$1"
}

# Ends the server that was started last.
end_server() {
    local pid=${server_pids[-1]}
    kill "$pid"
    wait_until 20 gone "$pid"
    wait "$pid" 2> /dev/null
    unset 'server_pids[-1]'
}

make_tree() {
    local i
    [ ! -e "$work/tree" ] || return 0
    mkdir -p "$work/tree"/{a/d,b,c}
    for i in {1..200}; do head -c $((i * 97)) /dev/urandom > "$work/tree/a/d/$i"; done
    cp "$content/8388608" "$work/tree/b/large"
    head -c 30000000 /dev/zero > "$work/tree/c/zeros"
    ln -s ../b/large "$work/tree/c/link"
}

same_tree() { diff -r --no-dereference "$2" "$3" > "$work/error" 2>&1 && ok "$1" || not_ok "$1" "$(head -n 3 "$work/error")"; }

# Transfers that are slow enough to be looked at, broken off, and taken up again. Both processes of a receiver use the connection
# since a fork: a lane that began before goes on, and later none begins.
broken_off() {
    local way from to pid at slow name
    for at in 1 1000; do
        slow=$(free_port)
        sed "s/^port = .*/port = $slow/" "$folder/conf" > "$folder/conf-$at"
        SLUICE_LANE_AT=$at start_server "rsync-$at" "listening $slow" "${server[@]}" rsync --daemon --no-detach --config="$folder/conf-$at" ||
            { not_ok "rsync, lane at $at, $1" "did not start"; return; }
        for way in "$work/tree/ rsync://127.0.0.1:$slow/there/" "rsync://127.0.0.1:$slow/here/ $folder/again/"; do
            rm -rf "$folder/pushed/b" "$folder/pushed/c" "$folder/again"
            read -r from to <<< "$way"
            case $to in rsync:*) name=push$at ;; *) name=get$at ;; esac
            case ${SLUICE_TEST_ALL:-0}$name in 0push1|0get1000) ;; 0*) continue ;; esac
            name="rsync, slow ${name%%1*}, lane at $at, $1"
            SLUICE_LANE_AT=$at "${client[@]}" rsync -a --bwlimit=2m "$from" "$to" > "$work/error" 2>&1 < /dev/null &
            pid=$!
            if [ "$at$1" = 1000both ]; then
                wait_until 20 has_reason "$slow" shared_by_fork
                check_lane "$name" none "$slow"
                reason_is "$name" "$slow" shared_by_fork
            else
                carried "$name" "$1" "$slow" 1000000
            fi
            kill "$pid"
            wait "$pid" 2> /dev/null
            expect "$name: again" 0 '!rsync error' "${client[@]}" rsync -a "$from" "$to"
            case $to in rsync:*) to=$folder/pushed ;; esac
            same_tree "$name: complete" "$work/tree" "$to"
        done
        [ "$1" = both ] || break
    done
}

rsync_case() {
    local port folder=$work/rsync launch
    port=$(free_port)
    make_tree
    rm -rf "$folder"
    mkdir -p "$folder"/{pushed,got,again,by-ssh,from-ssh}
    printf '%s\n' "port = $port" 'address = 127.0.0.1' 'use chroot = no' 'munge symlinks = no' "log file = $folder/log" "lock file = $folder/lock" \
        "$([ "$(id -u)" -ne 0 ] || printf 'uid = 0\ngid = 0')" \
        '[there]' "path = $folder/pushed" 'read only = no' '[here]' "path = $work/tree" > "$folder/conf"
    start_server rsync "listening $port" "${server[@]}" rsync --daemon --no-detach --config="$folder/conf" || { not_ok "rsync, $1" "did not start"; return; }
    expect "rsync, push, $1" 0 '!rsync error' "${client[@]}" rsync -a "$work/tree/" "rsync://127.0.0.1:$port/there/"
    same_tree "rsync, pushed, $1" "$work/tree" "$folder/pushed"
    expect "rsync, get, $1" 0 '!rsync error' "${client[@]}" rsync -az "rsync://127.0.0.1:$port/here/" "$folder/got/"
    same_tree "rsync, got, $1" "$work/tree" "$folder/got"
    # A difference in the middle of a large file, by checksums of its blocks.
    printf changed | dd of="$folder/pushed/b/large" bs=1 seek=5000000 conv=notrunc 2> /dev/null
    expect "rsync, difference, $1" 0 '!rsync error' "${client[@]}" rsync -ac --no-whole-file "$work/tree/" "rsync://127.0.0.1:$port/there/"
    same_tree "rsync, difference made good, $1" "$work/tree" "$folder/pushed"
    broken_off "$1"
    if [ "${SLUICE_TEST_VIEW-}" = none ]; then skip "rsync by ssh, $1" "no mount namespace allowed"; return; fi
    prepare_ssh || { not_ok "sshd, $1" "did not start"; return; }
    launch="ssh -F $ssh/client"
    expect "rsync by ssh, push, $1" 0 '!rsync error' "${client[@]}" rsync -a -e "$launch" --rsync-path="$servers/usr/bin/rsync" "$work/tree/" "127.0.0.1:$folder/by-ssh/"
    same_tree "rsync by ssh, pushed, $1" "$work/tree" "$folder/by-ssh"
    expect "rsync by ssh, get, $1" 0 '!rsync error' "${client[@]}" rsync -a -e "$launch" --rsync-path="$servers/usr/bin/rsync" "127.0.0.1:$work/tree/" "$folder/from-ssh/"
    same_tree "rsync by ssh, got, $1" "$work/tree" "$folder/from-ssh"
    stop_servers
}

# A push that the server holds up in a hook. Both ends start programs that inherit the connection, so that it is the kernel's.
looked_at_push() {
    local pid hook=$folder/served/one.git/hooks/pre-receive
    mkfifo "$folder/held"
    printf '%s\n' '#!/bin/sh' 'touch "$HOLD.now"' 'read -r line < "$HOLD"' > "$hook"
    chmod 755 "$hook"
    "${client[@]}" git -C "$folder/first" push -q "git://127.0.0.1:$port/one.git" main:held 2> "$work/error" < /dev/null &
    pid=$!
    if wait_until 20 test -e "$folder/held.now"; then
        check_lane "git push, held up, $1" none "$port"
        [ "$1" = server ] || reason_is "git push, held up, $1" "$port" exec
        echo on > "$folder/held"
    fi
    wait "$pid" && ok "git push, held up, $1" || not_ok "git push, held up, $1" "$(tail -n 3 "$work/error")"
    rm "$hook"
}

git_case() {
    local port folder=$work/git head
    port=$(free_port)
    rm -rf "$folder"
    mkdir -p "$folder/served"
    export HOME=$folder GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    make_tree
    git init -q --bare -b main "$folder/served/one.git"
    git init -q -b main "$folder/first"
    cp -r "$work/tree/." "$folder/first/"
    git -C "$folder/first" add . && git -C "$folder/first" commit -qm one
    HOLD=$folder/held start_server git "listening $port" "${server[@]}" git daemon --base-path="$folder/served" --export-all --enable=receive-pack --reuseaddr \
        --listen=127.0.0.1 --port="$port" || { not_ok "git daemon, $1" "did not start"; return; }
    expect "git push, $1" 0 '!fatal' "${client[@]}" git -C "$folder/first" push -q "git://127.0.0.1:$port/one.git" main
    looked_at_push "$1"
    expect "git clone, $1" 0 '!fatal' "${client[@]}" git clone -q "git://127.0.0.1:$port/one.git" "$folder/second"
    head -c 3000000 /dev/urandom > "$folder/second/more"
    git -C "$folder/second" add . && git -C "$folder/second" commit -qm two
    expect "git push, more, $1" 0 '!fatal' "${client[@]}" git -C "$folder/second" push -q origin main
    expect "git fetch, $1" 0 '!fatal' "${client[@]}" git -C "$folder/first" pull -q "git://127.0.0.1:$port/one.git" main
    head=$(git -C "$folder/second" rev-parse HEAD)
    [ "$(git -C "$folder/first" rev-parse HEAD)" = "$head" ] && [ "$(git -C "$folder/served/one.git" rev-parse main)" = "$head" ] &&
        ok "git, the same history everywhere, $1" || not_ok "git, the same history everywhere, $1"
    expect "git fsck, $1" 0 '!error' git -C "$folder/first" fsck --full --strict
    rm -rf "$folder/first/.git" "$folder/second/.git"
    same_tree "git, the same files, $1" "$folder/first" "$folder/second"
    stop_servers
}
