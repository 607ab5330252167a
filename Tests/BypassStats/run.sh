#!/bin/bash
# What a program is told of its own sockets (sluice.h), against what it has done.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
include=$top/Sources/CLinux/include
bypass=$work/bypass
sluice=(env "LD_PRELOAD=$library")

expect "sluice.h alone, in C99" 0 '!.' "${CC:-gcc}" -std=c99 -pedantic -Wall -Wextra -fsyntax-only -x c "$include/sluice.h"
expect "sluice.h alone, in C++" 0 '!.' "${CXX:-g++}" -std=c++11 -pedantic -Wall -Wextra -fsyntax-only -x c++ "$include/sluice.h"
quietly "${CC:-gcc}" -O1 -Wall -Wextra -I "$include" -D_GNU_SOURCE -o "$bypass" "$here/Bypass.c" || not_ok "Bypass.c" "cannot be compiled"

expect "sends and receives are counted" 0 '!.' "${sluice[@]}" SLUICE_LANE_AT=0 EF_POLL_USEC=0 "$bypass" counts
expect "sends and receives are counted, while calls may spin" 0 '!.' "${sluice[@]}" SLUICE_LANE_AT=0 EF_POLL_USEC=100000 "$bypass" counts
if [ "$(nproc)" -ge 2 ]; then
    expect "spins are counted" 0 '!.' "${sluice[@]}" SLUICE_LANE_AT=0 EF_SPIN_USEC=-1 EF_TCP_RECV_SPIN=1 EF_TCP_SEND_SPIN=1 SLUICE_RING_BYTES=65536 "$bypass" spins
else
    skip "spins are counted" "needs two processors"
fi
expect "what travels by the kernel does not count" 0 '!.' "${sluice[@]}" SLUICE_LANE_AT=1000000 "$bypass" kernel
expect "lengths and errors" 0 '!.' "${sluice[@]}" SLUICE_LANE_AT=1000000 "$bypass" answers
expect "other sockets: the kernel's answer" 0 '!.' "${sluice[@]}" EF_TCP=0 EF_UDP=0 "$bypass" untracked
expect "without Sluice: the kernel's answer" 0 '!.' "$bypass" untracked
finish
