#!/bin/bash
# Builds all fuzzers into one program: the core and the parsers of sluicestat from their own sources, with the compiler's
# counts of edges and with AddressSanitizer.
# usage: build.sh OUT
set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
out=$1
# The compiler keeps an object whose sources have not changed, whatever its flags.
rm -rf "$out"
mkdir -p "$out/CStackLayout" "$out/CFuzz" "$out/CTestSupport"
toolchain=$(dirname -- "$(readlink -f -- "$(command -v swiftc)")")
PATH=$toolchain:$PATH

module() { printf 'module %s {\n    header "%s"\n    export *\n}\n' "$1" "$2" > "$out/$1/module.modulemap"; }
module CStackLayout "$top/Sources/CStackLayout/include/CStackLayout.h"
module CFuzz "$here/Fuzz.h"
module CTestSupport "$top/Tests/CTestSupport/include/CTestSupport.h"

objects=()
c_flags=(-D_GNU_SOURCE -O1 -g -fsanitize=fuzzer-no-link,address -fvisibility=hidden -Wall -Wextra -I"$top/Sources/CLinux/include" -I"$top/Tests/CTestSupport/include")
compile() {
    clang "${c_flags[@]}" -c -o "$out/$1.o" "$2"
    objects+=("$out/$1.o")
}
compile CLinux "$top/Sources/CLinux/CLinux.c"
compile Quota "$top/Sources/CLinux/Quota.c"
compile Log "$top/Sources/CLinux/Log.c"
compile Trial "$top/Sources/CLinux/Trial.c"
compile Sockets_c "$top/Sources/CLinux/Sockets.c"
compile CTestSupport "$top/Tests/CTestSupport/CTestSupport.c"
compile Real "$here/Real.c"
compile Linux "$here/Linux.c"

flags=(-O -g -wmo -parse-as-library -swift-version 6 -enable-testing -sanitize=fuzzer,address -Xllvm -sanitizer-coverage-inline-8bit-counters -Xllvm -sanitizer-coverage-pc-table -use-ld=lld
    -Xcc -D_GNU_SOURCE -Xcc -ftls-model=initial-exec -enforce-exclusivity=unchecked -enable-upcoming-feature MemberImportVisibility
    -I "$out" -I "$out/CStackLayout" -I "$out/CFuzz" -I "$out/CTestSupport" -I "$top/Sources/CLinux/include")
room() {
    local name=$1
    shift
    swiftc "${flags[@]}" -module-name "$name" -emit-module -emit-module-path "$out/$name.swiftmodule" -emit-object -o "$out/$name.o" "$@"
    objects+=("$out/$name.o")
}
# In the order of Package.swift, from below.
for name in Counters Settings SharedMemory Stacks Sockets; do
    mapfile -t sources < <(find "$top/Sources/$name" -name '*.swift' | sort)
    room "$name" "${sources[@]}"
done
room StatSources "$top"/Sources/sluicestat/{StackReader,Waits,Layout+Unsafe,Bytes,SockDiag,SocketAddress,KernelSockets,ProcFiles+Unsafe,ProcessScan,StackFile+Unsafe}.swift "$here/StatSupport/Fail.swift"
cd "$out"
swiftc "${flags[@]}" -module-name Fuzz -o "$out/fuzz" "$here"/*.swift "${objects[@]}"
