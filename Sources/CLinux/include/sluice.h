/* What Sluice offers to programs that know of it. There is nothing to link: in a program that does not run under Sluice, and
 * for a socket that Sluice does not follow, the calls below answer what the kernel answers to an option that it does not know.
 */
#ifndef SLUICE_H
#define SLUICE_H

#include <stdint.h>

/* getsockopt(fd, SOL_SOCKET, SO_NET_KERNEL_BYPASS_STATS, &stats, &length): what of a socket's traffic has bypassed the kernel.
 *
 * `length` goes in as the size of the caller's structure and comes out as the count of bytes that were filled in. A later
 * version of the structure is longer and begins with this one; so a program that was built with a shorter one gets all the
 * fields that it knows, and one that was built with a longer one sees by `length` which fields it has got.
 *
 * Errors: EINVAL, `length` is less than this structure's 40 bytes; EFAULT, a null pointer; ENOPROTOOPT, not a socket that
 * Sluice follows, or Sluice is not there. The option cannot be set: setsockopt answers ENOPROTOOPT.
 *
 * The call never blocks. All counts begin with 0 when the socket is made or accepted, never go down, and are those of the open
 * socket: descriptors that dup made, and processes that hold it since a fork, see and advance the same ones. What travels by
 * the kernel counts nowhere. Fields are read one by one while other threads may go on counting.
 */
#define SO_NET_KERNEL_BYPASS_STATS 0x534C01

typedef struct so_nkp_stats_s {
    /* Receives that took bytes out of shared memory. A stream has no packets: a receive that takes what several sends put there
     * counts once, and what one send put there counts as often as it takes receives; a datagram counts once. Looking (MSG_PEEK)
     * does not count. */
    uint64_t nkps_ipkts;
    /* How often a receive that found nothing spun, and the peer's next bytes, or its end, came before it had to sleep. What
     * poll, select and epoll spin is not in it. */
    uint64_t nkps_ipkts_spin;
    /* How often a send put bytes into shared memory: once for one that finds room for all of its bytes, else once for each
     * part. A datagram counts once. */
    uint64_t nkps_opks;
    /* How often a send that found no room spun, and room came before it had to sleep. */
    uint64_t nkps_opkts_spin;
    /* The most turns of its loop that a send spun in one wait for room, successful or not. */
    uint32_t nkps_send_spin_max;
    /* Always 0. */
    uint32_t nkps_reserved;
} so_nkp_stats_t;

/* The name that nkps_opks was meant to have. */
#define nkps_opkts nkps_opks

#endif
