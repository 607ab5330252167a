#!/bin/bash
# The interposed symbols: the same programs with and without the library say the same, with the real core and with a small
# one that tracks every socket and counts what the C side asks of it.
# usage: run.sh [LIBRARY]
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
tested=$(realpath -- "${1-$library}") || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-$(command -v clang || echo gcc)}
flags=(-D_GNU_SOURCE -O1 -g -Wall -Wextra -Wno-unused-result -Wno-missing-field-initializers -Wno-unused-value
    -Wno-deprecated-declarations -pthread)
map=$top/Sources/CInterpose/exports.map

# MARK: how a case runs

compile() { "$cc" "${flags[@]}" "$@" || { not_ok "compile ${*: -1}"; finish; exit 1; }; }
# to OUT COMMAND...: the transcript and the exit code.
to() { local out=$1 code=0; shift; timeout 60 "$@" > "$out" 2>&1 < /dev/null || code=$?; echo "exit $code" >> "$out"; }
compare() { if cmp -s "$work/plain" "$2"; then ok "$1"; else not_ok "$1" "$(diff "$work/plain" "$2" | head -n 20)"; fi; }
# same NAME COMMAND...: with the library, with lanes from the first byte, and with the stand-in core as without; the plain
# run must end well. A library in `before` or `after` stands in LD_PRELOAD too.
before='' after=''
same() {
    local name=$1
    shift
    to "$work/plain" env ${before:+LD_PRELOAD="$before"} "$@"
    [ "$(tail -n 1 "$work/plain")" = 'exit 0' ] || not_ok "$name: plain" "$(tail -n 5 "$work/plain")"
    to "$work/out" env LD_PRELOAD="${before:+$before:}$tested${after:+:$after}" "$@"
    compare "$name: library" "$work/out"
    to "$work/out" env LD_PRELOAD="${before:+$before:}$tested${after:+:$after}" SLUICE_LANE_AT=0 "$@"
    compare "$name: lanes" "$work/out"
    to "$work/out" env LD_PRELOAD="${before:+$before:}$work/standin.so${after:+:$after}" STANDIN_COUNTS="$work/counts" "$@"
    compare "$name: stand-in" "$work/out"
}
# alone NAME COMMAND...: a program that checks itself, with the stand-in core.
alone() {
    local name=$1
    shift
    to "$work/out" env LD_PRELOAD="$work/standin.so" STANDIN_COUNTS="$work/counts" "$@"
    if [ "$(cat "$work/out")" = 'exit 0' ]; then ok "$name"; else not_ok "$name" "$(head -n 20 "$work/out")"; fi
}

# MARK: programs

compile -fPIC -shared -fvisibility=hidden -ftls-model=initial-exec -I"$top/Sources/CLinux/include" \
    -I"$top/Sources/CInterpose/include" -Wl,--version-script="$map" -Wl,-z,nodelete \
    "$top"/Sources/CInterpose/*.c "$top/Sources/CLinux/CLinux.c" "$here/StandIn.c" -o "$work/standin.so"
compile "$here"/Exercise*.c "$here/Helpers.c" -o "$work/exercise"
for program in Signals Life Filter; do compile "$here/$program.c" "$here/Helpers.c" -o "$work/$program"; done
for program in Deferred Own Counts; do compile "$here/$program.c" -o "$work/$program"; done
compile -fPIC -shared "$here/Early.c" -o "$work/libearly.so"
compile "$here/EarlyUser.c" "$here/Helpers.c" -L"$work" -learly -Wl,-rpath,"$work" -o "$work/EarlyUser"
compile -fPIC -shared "$here/Late.c" -o "$work/liblate.so"
compile "$here/LateUser.c" "$here/Helpers.c" -L"$work" -llate -Wl,-rpath,"$work" -o "$work/LateUser"
compile -fPIC -shared -fno-builtin "$here/Allocator.c" -o "$work/allocator.so"
compile -fPIC -shared -DLIBRARY "$here/Rings.c" -Wl,-soname,liburing.so.2 -o "$work/liburing.so.2"
compile -fPIC -shared -DPLUGIN "$here/Rings.c" "$work/liburing.so.2" -Wl,-rpath,"$work" -o "$work/plugin.so"
compile "$here/Rings.c" "$work/liburing.so.2" -Wl,-rpath,"$work" -o "$work/rings"
truncate -s 4096 "$work/counts"

# MARK: cases

unused=''
for name in $(sed -e 's/#.*//' "$map" | tr -s ' \n' '\n\n' | sed -n 's/^\([A-Za-z0-9_]*\);$/\1/p'); do
    grep -qw -- "$name" "$here"/*.c || unused="$unused $name"
done
if [ -z "$unused" ]; then ok "every exported name is used here"; else not_ok "every exported name is used here" "not used:$unused"; fi

same "every function" "$work/exercise"
same "signals" "$work/Signals"
same "processes and threads" "$work/Life"
same "a filter by prctl" "$work/Filter"
same "a filter by syscall" "$work/Filter" by-syscall
same "another library's constructor" "$work/EarlyUser"
same "another library's destructor" "$work/LateUser"
same "ring libraries" "$work/rings"
same "ring libraries in a plugin" "$work/rings" "$work/plugin.so"
before=$work/allocator.so
same "an allocator that calls, before" "$work/EarlyUser"
before='' after=$work/allocator.so
same "an allocator that calls, after" "$work/EarlyUser"
after=''
jemalloc=${JEMALLOC:-$(compgen -G '/usr/lib/*/libjemalloc.so.2' | head -n 1)}
if [ -n "$jemalloc" ]; then
    before=$jemalloc
    same "jemalloc, before" "$work/EarlyUser"
    same "jemalloc, before, processes" "$work/Life"
    before='' after=$jemalloc
    same "jemalloc, after" "$work/EarlyUser"
    after=''
else
    skip "jemalloc" "not installed"
fi
alone "deferred handlers" "$work/Deferred"
alone "the core's own descriptors" env STANDIN_OWN=1 "$work/Own"
expect "every entry of the core was used" 0 '!.' "$work/Counts" "$work/counts"
finish
