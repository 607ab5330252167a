/// The step driver for UDP: what its two parts share. Each datagram says who sent it and its number; `round.sent`, `got`,
/// `most` and `read_by_victim` count datagrams.
#pragma once
#include "Steps.h"

/// The sizes: the largest does not fit into the rings that the suite uses, and goes by the kernel.
enum { SMALL = 40, MIDDLE = 900, LARGE = 1500 };

/// Sends the next datagram of `who` to the other one. False with errno.
bool send_one(struct round *, enum who, int fd, size_t bytes);
/// The victim receives the peer's next datagram; `flags` of recv. False: EAGAIN.
bool victim_takes(struct round *, int fd, int flags);
/// Waits, outside of the library, until that many datagrams of `who` are on their way.
void await_sent(struct round *, enum who me, enum who who, long n);
