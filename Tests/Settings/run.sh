#!/bin/bash
# What is said of settings: EF_LOG with EF_VALIDATE_ENV and EF_LOG_FILE, and `sluicestat env`.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD "${!EF_@}" "${!SLUICE_@}"
work=$(mktemp -d)
chmod 777 "$work"
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# `expect` starts programs: these are functions.
as=(bash -c '"$0" "$@"')
# The program itself: what stands in PATH may be a script around it.
python=$(python3 -c "import sys; print(sys.executable)")
export work here library python
told() {
    local -a variables=()
    rm -f log
    while [[ ${1-} == *=* ]]; do variables+=("$1"); shift; done
    env LD_PRELOAD="$library" "${variables[@]}" "$python" "$here/told.py" "$@"
}
logged() { told "$@" && sed 's/^/log: /' log; }
counted() { logged "$@" | grep -c '^log: sluice.*EF_NO_SUCH'; }
export -f told logged counted
config=EF_LOG=config_warnings more=EF_LOG=more_config_warnings to_file="EF_LOG_FILE=$work/log"

# MARK: names and values

expect "a name that is not known" 0 '^sluice\[[0-9]+\]: EF_NO_SUCH is not known$' "${as[@]}" told $config EF_NO_SUCH=1 socket
expect "no other name is told" 0 '!.' "${as[@]}" told $config EF_VI_X=1 SLUICE_X=1 EF_TCP=1 EF_RXQ_SIZE=64 EF_NAME=x socket
expect "EF_VALIDATE_ENV=0: none" 0 '!.' "${as[@]}" told $config EF_VALIDATE_ENV=0 EF_NO_SUCH=1 socket
expect "EF_LOAD_ENV=0: none" 0 '!.' "${as[@]}" told $config EF_LOAD_ENV=0 EF_NO_SUCH=1 socket
expect "none without EF_LOG" 0 '!.' "${as[@]}" told EF_NO_SUCH=1 EF_RXQ_SIZE=x socket
expect "EF_LOG=none is EF_LOG=0" 0 '!.' "${as[@]}" told EF_LOG=none EF_NO_SUCH=1 EF_TCP=x socket
expect "a word that is not known is said without being asked for" 0 '^sluice\[[0-9]+\]: EF_LOG: a word of it is not known, the others hold$' "${as[@]}" told EF_LOG=conn_drop,loud socket
expect "with it other warnings of the kind" 0 'EF_NO_SUCH is not known$' "${as[@]}" told EF_LOG=conn_drop,loud EF_NO_SUCH=1 socket
expect "not without one" 0 '!.' "${as[@]}" told EF_LOG=conn_drop EF_NO_SUCH=1 EF_TCP=x socket
expect "none before the first socket" 0 '!.' "${as[@]}" told $config EF_NO_SUCH=1
expect "the environment as it was at start" 0 'EF_NO_SUCH is not known$' "${as[@]}" told $config EF_NO_SUCH=1 environment socket
expect "not as it is later" 0 '!EF_TOO_LATE' "${as[@]}" told $config environment socket
expect "one line, whatever the name holds" 0 '^sluice\[[0-9]+\]: EF_A\?B is not known$' "${as[@]}" told $config $'EF_A\nB=1' socket
expect "more than there is room for" 0 'there are more variables' "${as[@]}" told $config "EF_A$(printf 'x%.0s' {1..9000})=1" "EF_B$(printf 'x%.0s' {1..9000})=1" socket
expect "a value that cannot be used" 0 'EF_RXQ_SIZE: the value cannot be used, and would have no effect$' "${as[@]}" told $config EF_RXQ_SIZE=x socket
expect "a word that cannot be used" 0 'EF_TCP_URG_MODE: the value cannot be used' "${as[@]}" told $config EF_TCP_URG_MODE=x socket
expect "without effect" 0 'EF_NO_FAIL is accepted and has no effect$' "${as[@]}" told $more EF_NO_FAIL=1 socket
expect "not applicable" 0 'EF_RXQ_SIZE does not apply to Sluice$' "${as[@]}" told $more EF_RXQ_SIZE=64 socket

# MARK: the file

expect "EF_LOG_FILE" 0 '^log: sluice\[[0-9]+\]: EF_NO_SUCH is not known$' "${as[@]}" logged $config $to_file EF_NO_SUCH=1 socket
expect "nothing on standard error" 0 '!.' "${as[@]}" told $config $to_file EF_NO_SUCH=1 socket
expect "its end is written to" 0 '^2$' bash -c "
    for round in 1 2; do LD_PRELOAD='$library' $config EF_LOG_FILE=$work/end EF_NO_SUCH=1 '$python' '$here/told.py' socket; done
    grep -c NO_SUCH end"
expect "only its owner changes it" 0 '^644$' bash -c "umask 0; LD_PRELOAD='$library' $config EF_LOG_FILE=$work/new EF_NO_SUCH=1 '$python' '$here/told.py' socket; stat -c %a new"
expect "no file before the first socket" 0 '!.' bash -c "LD_PRELOAD='$library' $config EF_LOG_FILE=$work/none EF_NO_SUCH=1 '$python' '$here/told.py'; ls | grep none; :"
expect "none without EF_LOG" 0 '!.' bash -c "LD_PRELOAD='$library' EF_LOG_FILE=$work/none EF_NO_SUCH=1 '$python' '$here/told.py' socket; ls | grep none; :"
ln -s "$work/target" link
expect "no symbolic link" 0 '^sluice.*EF_LOG_FILE: it cannot be opened, lines go to standard error$' "${as[@]}" told $config EF_LOG_FILE="$work/link" EF_NO_SUCH=1 socket
expect "the lines then" 0 '^sluice.*EF_NO_SUCH is not known' "${as[@]}" told $config EF_LOG_FILE="$work/link" EF_NO_SUCH=1 socket
[ ! -e target ] && ok "nothing is made at the link's end" || not_ok "nothing is made at the link's end"
mkfifo pipe
expect "a pipe that nobody reads does not hold the program" 0 'cannot be opened' "${as[@]}" told $config EF_LOG_FILE="$work/pipe" socket
expect "each fork child writes into it" 0 '^3$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket fork fork
expect "closing loops pass it by" 0 '^2$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket close fork
expect "dup2 on its number moves it" 0 '^moved$' "${as[@]}" told $config $to_file EF_NO_SUCH=1 socket dup2
expect "which goes on" 0 '^2$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket dup2 fork
expect "RLIMIT_FSIZE kills nobody" 0 '!ended with' "${as[@]}" told $config $to_file EF_NO_SUCH=1 socket limit 60 fork
expect "RLIMIT_FSIZE is not run into" 0 '^1$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket limit 60 fork
if [ "$(id -u)" -eq 0 ]; then
    expect "chroot" 0 '^2$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket chroot / fork
    mkdir root
    expect "chroot elsewhere" 0 '^2$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket chroot "$work/root" fork
    [ -z "$(ls root)" ] && ok "nothing is made there" || not_ok "nothing is made there" "$(find root)"
    expect "the program's numbers come first" 0 '^crowded True -1$' "${as[@]}" told EF_LOG=resource_warnings $to_file poor socket crowd
    expect "which is its last line" 0 '^log: .*descriptors ran out' "${as[@]}" logged EF_LOG=resource_warnings $to_file poor socket crowd
    expect "another user" 0 '^2$' "${as[@]}" counted $config $to_file EF_NO_SUCH=1 socket user fork
else
    skip "chroot, few numbers, another user" "needs root"
fi

gcc -o filter "$here/Filter.c"
# Under a filter that kills at the opening of the file: no file, and the process lives.
filtered() { ./filter env LD_PRELOAD="$library" EF_LOG=1 "$1" "$python" "$here/told.py" socket; }
export -f filtered
expect "a filter that kills at it: lines on standard error" 0 'EF_LOG_FILE: it cannot be opened' "${as[@]}" filtered "EF_LOG_FILE=$work/kills"
expect "and sockets are tracked all the same" 0 '!no endpoint' "${as[@]}" filtered "EF_LOG_FILE=$work/kills"
expect "which kills who makes a file" 159 '' ./filter touch kills

# A program that gains privilege has no settings at all (secure_getenv(3)): a user could have root write files.
if [ "$(id -u)" -eq 0 ] && unshare -m true 2> /dev/null; then
    mkdir secure etc
    cp "$library" secure/libsluice.so
    cp /etc/ld.so.cache /etc/passwd etc/ && echo "$work/secure/libsluice.so" > etc/ld.so.preload
    gcc -o secure/plain -x c - <<'END'
#include <dlfcn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
int main(void) {
    printf("runs as %d %d\n", geteuid(), !!dlsym(RTLD_DEFAULT, "sluice_version"));
    socket(AF_INET, SOCK_STREAM, 0);
    return 0;
}
END
    cp secure/plain secure/privileged && chmod 4755 secure/privileged
    # preloaded PROGRAM: every program has the library, for another user.
    preloaded() {
        unshare -m bash -c 'mount --bind "$work/etc" /etc && exec "$@"' - setpriv --reuid 65534 --regid 65534 --clear-groups \
            env EF_LOG=1 "EF_LOG_FILE=$work/log-of-$1" EF_NO_SUCH=1 "$work/secure/$1"
    }
    export -f preloaded
    expect "a set-uid program has the library" 0 '^runs as 0 1$' "${as[@]}" preloaded privileged
    [ ! -e log-of-privileged ] && ok "and writes no file for its user" || not_ok "and writes no file for its user"
    expect "another one has it too" 0 '^runs as 65534 1$' "${as[@]}" preloaded plain
    grep -q EF_NO_SUCH log-of-plain && ok "and writes its file" || not_ok "and writes its file"
else
    skip "set-uid programs" "needs root and a mount namespace"
fi

# MARK: sluicestat env

stat=$build/bin/sluicestat
# seen [VARIABLE=VALUE]... ACT... -- ARGUMENT...: what `env`, or the command in `look`, says of a program that waits after its acts,
# or of its descriptor `at`.
seen() {
    local -a variables=() acts=()
    local pid status
    while [[ $1 == *=* ]]; do variables+=("$1"); shift; done
    while [ "$1" != -- ]; do acts+=("$1"); shift; done
    shift
    rm -f to from
    mkfifo to from
    env LD_PRELOAD="$library" "${variables[@]}" "$python" "$here/told.py" "${acts[@]}" wait < to > from 2> /dev/null &
    exec {to}> to {from}< from
    read -r -t 60 -u "$from" pid
    "$stat" "${look-env}" "$pid${at-}" "$@"
    status=$?
    exec {to}>&- {from}<&-
    wait
    return "$status"
}
export stat
export -f seen
expect "all at their default" 0 '^All settings are at their default\.$' "${as[@]}" seen socket --
expect "--all shows them" 0 '^EF_SHARE_WITH +0 uid +default$' "${as[@]}" seen socket -- --all
expect "from the environment" 0 '^SLUICE_RING_BYTES +8192 bytes +environment$' "${as[@]}" seen SLUICE_RING_BYTES=8192 socket --
expect "a list in words" 0 '^EF_LOG +banner,conn_drop +environment$' "${as[@]}" seen EF_LOG=banner,conn_drop socket --
expect "an empty list in words" 0 '^EF_LOG +none +environment$' "${as[@]}" seen EF_LOG=none socket --
expect "ports as they were given" 0 '^SLUICE_PORTS +1-3,!2 +environment$' "${as[@]}" seen 'SLUICE_PORTS=1-3,!2' socket --
expect "not usable, so the default holds" 0 '^EF_TCP +1 +environment, cannot be used: yes$' "${as[@]}" seen EF_TCP=yes socket --
expect "what another setting decides" 0 '^EF_POLL_SPIN +1 +other settings$' "${as[@]}" seen EF_POLL_USEC=5 socket --
expect "without effect" 0 '^  EF_NO_FAIL=1: .+\.$' "${as[@]}" seen EF_NO_FAIL=1 socket --
expect "not applicable, and why" 0 '^  EF_RXQ_SIZE=x \(its value cannot be used\): Sluice drives no network card\.$' "${as[@]}" seen EF_RXQ_SIZE=x socket --
expect "names that nobody knows" 0 '^Not known: EF_NO_SUCH, EF_NO_OTHER$' "${as[@]}" seen EF_NO_SUCH=1 EF_TCP=1 EF_NO_OTHER= socket --
expect "EF_LOAD_ENV=0: none of them" 0 '!NO_SUCH|EF_RXQ|EF_TCP' "${as[@]}" seen EF_LOAD_ENV=0 EF_NO_SUCH=1 EF_RXQ_SIZE=1 EF_TCP=0 socket --
expect "what is in force, not what the environment says now" 0 '!TOO_LATE' "${as[@]}" seen environment socket --
expect "before the first socket" 0 'no stack yet: by its environment$' "${as[@]}" seen EF_TCP=0 --
expect "what will be" 0 '^EF_TCP +0 +environment$' "${as[@]}" seen EF_TCP=0 --
expect "a program without Sluice" 1 'does not run under Sluice' "$stat" env $$
expect "no process" 1 'there is no process' "$stat" env 4194305
expect "no number" 64 'Usage' "$stat" env x
expect "no process id" 64 'Usage' "$stat" env -- -1
expect "--json" 0 '^as it should$' bash -c "$(declare -f seen); "'seen EF_POLL_USEC=5 EF_TCP=yes EF_RXQ_SIZE=x EF_NO_SUCH=1 EF_LOG_FILE=/a socket -- --json | "$python" -c "
import json, sys
seen = json.load(sys.stdin)
by_name = {s[\"name\"]: s for s in seen[\"settings\"]}
def is_so(name, value, origin, text=None): return (by_name[name][\"value\"], by_name[name][\"origin\"], by_name[name].get(\"text\")) == (value, origin, text)
assert seen[\"version\"] == 1 and seen[\"source\"] == \"stack\" and seen[\"unknown\"] == [\"EF_NO_SUCH\"], seen
assert is_so(\"EF_POLL_USEC\", 5, \"environment\", \"5\") and is_so(\"EF_TCP\", 1, \"bad\", \"yes\") and is_so(\"EF_SHARE_WITH\", 0, \"default\"), seen
assert is_so(\"EF_POLL_SPIN\", 1, \"other\") and is_so(\"EF_LOG_FILE\", 2, \"environment\", \"/a\"), seen
assert seen[\"in_vain\"] == [{\"name\": \"EF_RXQ_SIZE\", \"text\": \"x\", \"status\": \"not_applicable\", \"is_usable\": False}], seen
print(\"as it should\")"'


# MARK: EF_FDTABLE_SIZE

expect "EF_FDTABLE_SIZE: a lower number" 0 '^Reason +young' env look=why at=:3 "${as[@]}" seen EF_FDTABLE_SIZE=4 bound bound --
expect "EF_FDTABLE_SIZE: the number itself" 0 '^Reason +setting' env look=why at=:4 "${as[@]}" seen EF_FDTABLE_SIZE=4 bound bound --
expect "EF_FDTABLE_SIZE: a higher one by dup" 0 '^Reason +young' env look=why at=:100 "${as[@]}" seen EF_FDTABLE_SIZE=50 number 100 --

# MARK: EF_UDP_RECV_SPIN

# spins COUNT VARIABLE=VALUE...: of a program that waits for datagrams, as `stats` counts them.
spins() { expect "spins of a UDP receive: ${*:2}" 0 "^spins +process +$1 " env look=stats "${as[@]}" seen "${@:2}" ask --; }
spins '[1-9][0-9]*' EF_SPIN_USEC=20 EF_UDP_RECV_SPIN=1
spins '[1-9][0-9]*' EF_POLL_USEC=20
spins 0 EF_SPIN_USEC=20 EF_TCP_RECV_SPIN=1
spins 0 EF_POLL_USEC=20 EF_UDP_RECV_SPIN=0

finish
