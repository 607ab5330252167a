#!/bin/bash
# Checks the interposed symbols: the same programs with and without the library must say the same.
# run.sh LIBSLUICE: the library; everything else is built in a directory that goes away at the end.
set -euo pipefail
library=$(realpath "${1:?usage: run.sh path/to/libsluice.so}")
here=$(dirname "$(realpath "$0")")
root=$(realpath "$here/../..")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc=${CC:-clang}
command -v "$cc" >/dev/null || cc=gcc
flags=(-D_GNU_SOURCE -O1 -g -Wall -Wextra -Wno-unused-result -Wno-missing-field-initializers -Wno-unused-value -Wno-deprecated-declarations -pthread)
failures=0

pass() { echo "ok    $1"; }
fail() { echo "FAIL  $1"; failures=$((failures + 1)); }
check() { local name=$1; shift; if "$@"; then pass "$name"; else fail "$name"; fi; }
compile() { "$cc" "${flags[@]}" "$@"; }
# run OUT COMMAND...: the transcript and the exit code.
run() { local out=$1 code=0; shift; timeout 60 "$@" >"$out" 2>&1 </dev/null || code=$?; echo "exit $code" >>"$out"; }
compare() {
    if cmp -s "$work/plain" "$2"; then pass "$1"; else fail "$1"; diff "$work/plain" "$2" | head -20 || [ $? -le 1 ]; fi
}
# same NAME COMMAND...: with the library and with the stand-in core as without; the plain run must end well.
preload_before='' preload_after=''
same() {
    local name=$1; shift
    run "$work/plain" env ${preload_before:+LD_PRELOAD="$preload_before"} "$@"
    if ! tail -1 "$work/plain" | grep -qx 'exit 0'; then fail "$name: plain"; tail -5 "$work/plain"; fi
    run "$work/out" env LD_PRELOAD="${preload_before:+$preload_before:}$library${preload_after:+:$preload_after}" "$@"
    compare "$name: library" "$work/out"
    run "$work/out" env LD_PRELOAD="${preload_before:+$preload_before:}$work/standin.so${preload_after:+:$preload_after}" \
        STANDIN_COUNTS="$work/counts" "$@"
    compare "$name: stand-in" "$work/out"
}
# alone NAME COMMAND...: a program that checks itself, with the stand-in core.
alone() {
    local name=$1; shift
    run "$work/out" env LD_PRELOAD="$work/standin.so" STANDIN_COUNTS="$work/counts" "$@"
    if [ "$(cat "$work/out")" = 'exit 0' ]; then pass "$name"; else fail "$name"; head -20 "$work/out"; fi
}

compile -fPIC -shared -fvisibility=hidden -ftls-model=initial-exec -I"$root/Sources/CLinux/include" \
    -I"$root/Sources/CInterpose/include" -Wl,--version-script="$root/Sources/CInterpose/exports.map" -Wl,-z,nodelete \
    "$root"/Sources/CInterpose/*.c "$root/Sources/CLinux/CLinux.c" "$here/StandIn.c" -o "$work/standin.so"
compile "$here"/Exercise*.c "$here/Helpers.c" -o "$work/exercise"
for program in Signals Life; do compile "$here/$program.c" "$here/Helpers.c" -o "$work/$program"; done
for program in Deferred Own Counts; do compile "$here/$program.c" -o "$work/$program"; done
compile -fPIC -shared "$here/Early.c" -o "$work/libearly.so"
compile "$here/EarlyUser.c" "$here/Helpers.c" -L"$work" -learly -Wl,-rpath,"$work" -o "$work/EarlyUser"
compile -fPIC -shared -fno-builtin "$here/Allocator.c" -o "$work/allocator.so"
compile -fPIC -shared -DLIBRARY "$here/Rings.c" -Wl,-soname,liburing.so.2 -o "$work/liburing.so.2"
compile -fPIC -shared -DPLUGIN "$here/Rings.c" "$work/liburing.so.2" -Wl,-rpath,"$work" -o "$work/plugin.so"
compile "$here/Rings.c" "$work/liburing.so.2" -Wl,-rpath,"$work" -o "$work/rings"

exported() { nm -D --defined-only "$1" | awk '$2 ~ /[A-Z]/ {print $3}' | sort; }
listed() { sed -e 's/#.*//' "$root/Sources/CInterpose/exports.map" | tr -s ' \n' '\n\n' | sed -n 's/^\([A-Za-z0-9_]*\);$/\1/p' | sort; }
all_used() {
    local bad=0 name
    for name in $(listed); do grep -qw -- "$name" "$here"/*.c || { echo "no test uses $name"; bad=1; }; done
    return $bad
}
too_new() { objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | awk -F'[_.]' '$3 > 34' | grep . ; }
check "exports are the map's" diff <(listed) <(exported "$library")
check "every exported name is used by a test" all_used
if too_new "$library"; then fail "no symbol newer than GLIBC_2.34"; else pass "no symbol newer than GLIBC_2.34"; fi

truncate -s 4096 "$work/counts"
same "every function" "$work/exercise"
same "signals" "$work/Signals"
same "processes and threads" "$work/Life"
same "another library's constructor" "$work/EarlyUser"
same "ring libraries" "$work/rings"
same "ring libraries in a plugin" "$work/rings" "$work/plugin.so"
preload_before=$work/allocator.so
same "an allocator that calls, before" "$work/EarlyUser"
preload_before='' preload_after=$work/allocator.so
same "an allocator that calls, after" "$work/EarlyUser"
preload_after=''
jemalloc=${JEMALLOC:-$(ls /usr/lib/*/libjemalloc.so.2 2>/dev/null || true)}
if [ -n "$jemalloc" ]; then
    preload_before=$jemalloc
    same "jemalloc, before" "$work/EarlyUser"
    same "jemalloc, before, processes" "$work/Life"
    preload_before='' preload_after=$jemalloc
    same "jemalloc, after" "$work/EarlyUser"
    preload_after=''
else
    echo "skip  jemalloc: not installed"
fi
alone "deferred handlers" "$work/Deferred"
alone "the core's own descriptors" env STANDIN_OWN=1 "$work/Own"
check "every entry of the core was used" "$work/Counts" "$work/counts"

if [ "$failures" = 0 ]; then echo "all passed"; else echo "$failures failed"; exit 1; fi
