#!/bin/bash
# What a user may notice: each known difference from the kernel that README names, shown; and that nothing else differs there.
set -uo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
. "$here/../../Scripts/lib.sh"
. "$here/../lib.sh"
unset LD_PRELOAD

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# differs CASE KERNEL SLUICE [COMMAND...]: what is seen on the kernel, and under Sluice.
differs() {
    local on_kernel under_sluice command=("${@:4}")
    [ $# -gt 3 ] || command=(python3 "$here/notice.py" "$1")
    on_kernel=$(timeout 100 "${command[@]}" 2>&1)
    under_sluice=$(LD_PRELOAD=${SLUICE_LIBRARY:-$library} timeout 100 "${command[@]}" 2>&1)
    [ "$on_kernel" = "$2" ] && [ "$under_sluice" = "$3" ] && ok "$1: $2 on the kernel, $3 under Sluice" ||
        not_ok "$1" "on the kernel $on_kernel, expected $2" "under Sluice $under_sluice, expected $3"
}

differs bad_buffer "Bad address" SIGSEGV
differs counters_of_ss all "not all"
differs counters_of_getsockopt all all
differs descriptors none some
differs one_answer both "one, then the other"
if [ "$(id -u)" -eq 0 ]; then differs filter_sees all none; else skip filter_sees "looking at packets needs root"; fi
differs stopped_program "last words" "last words"
differs stopped_program_by_stdio "last words" nothing

past() { differs "$@" python3 "$here/past.py" "$1"; }
past io_counters all few
past times_of_getsockopt "that message" "an earlier one"
past queue_of_siocoutq exact "an estimate"
past memory "not counted, not used" "counted, used"
past room_of_a_sender all less
past counts_of_a_left_ring "no counts" all
past raw_receive "the bytes" "Resource temporarily unavailable"
past libc_by_handle "the bytes" "Resource temporarily unavailable"
past closed_past_libc "Bad file descriptor, then the new file" "sent 1, then the new file"
past killed_at_clone talks SIGSYS
past tried_by_a_child none one
datagrams() { differs "$@" python3 "$here/datagrams.py" "$1"; }
datagrams dropped_datagrams "some lost, all counted" "some lost, not all counted"
if [ "$(id -u)" -eq 0 ]; then datagrams datagrams_on_lo all few; else skip datagrams_on_lo "looking at packets needs root"; fi
quietly "${CC:-gcc}" -O1 -Wall -Wextra -o "$work/handlers" "$here/handlers.c" || not_ok "handlers.c" "cannot be compiled"
differs stack_of_handlers always "not always" "$work/handlers"

chmod 755 "$work"
"${CC:-gcc}" -O1 -o "$work/filter" "$here/../Servers/Filter.c"
on_kernel=$(timeout 100 python3 "$here/give_away.py" "$work/filter" 2>&1)
under_sluice=$(timeout 100 python3 "$here/give_away.py" "$work/filter" "${SLUICE_LIBRARY:-$library}" 2>&1)
[ "$on_kernel" = "last words, then more; 0 waits" ] && [ "$under_sluice" = "nothing, then last words more; 1 waits" ] &&
    ok "give_away: unread bytes come with the peer's next call, waited for once" ||
    not_ok give_away "on the kernel: $on_kernel" "under Sluice: $under_sluice"
finish
