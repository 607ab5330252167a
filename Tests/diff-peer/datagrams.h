/// What the cases about datagrams are written with, beside harness.h. Rules that come on top of those there:
/// a flow is what one address sends to another. Datagrams of one flow arrive in order; of several flows a case may only
/// say what the kernel promises, so it waits for each before it sends the next, or compares flow by flow. A case that is
/// about a flow in full run warms it up first. Whatever the buffers may drop is not in a transcript.
#pragma once
#include "harness.h"

/// DP_CASE for datagrams: `.kernel` says why a flow of this case may stay in the kernel; null: a ring must carry some.
#define DP_DATAGRAM(g, n, ...) DP_CASE(g, n, .datagrams = true, ##__VA_ARGS__)

enum { DP_LARGEST = 65507, DP_LARGEST_V6 = 65527 };   ///< bytes that a datagram can have

/// An address of a socket.
typedef struct dp_place { struct sockaddr_storage address; socklen_t length; } dp_place;
dp_place dp_place_at(const char *address, uint16_t port);
dp_place dp_place_of(int fd);                           ///< its getsockname
uint16_t dp_place_port(const dp_place *place);
struct sockaddr *dp_sockaddr(dp_place *place);

/// A transcript shows this name where an address has this port.
void dp_name(uint16_t port, const char *name);
/// "NAME at ADDRESS". Valid until the next call in this thread.
const char *dp_who(const struct sockaddr_storage *address, socklen_t length);

// ───────────────────────────── sockets ─────────────────────────────

int dp_udp(const char *address, int flags);             ///< bound there, any port; DP_NONBLOCK
int dp_udp_loose(int family);                           ///< neither bound nor connected
int dp_udp_bind(const char *address, uint16_t port);    ///< bound to this port
int dp_udp_fixed(const char *address);                  ///< bound to a port that the kernel gives to nobody who asks for any
uint16_t dp_udp_free_port(const char *address);         ///< such a port, which is nobody's
void dp_udp_connect(int fd, const dp_place *to);        ///< must succeed; not logged
/// Both roles: tells where the socket can be reached (`as`: by this address instead of its own), hears the same of the other
/// and names it "peer".
dp_place dp_udp_swap(int fd, const char *as);

/// One socket in each role on 127.0.0.1 (DP_V6: ::1), connected to each other, and warm unless DP_COLD.
int dp_udp_pair(int flags);
/// The same without connect.
int dp_udp_open(int flags, dp_place *peer);
/// Two sockets of one process, connected to each other ("first" and "second"), warm unless DP_COLD.
void dp_udp_pair_solo(int fds[2], int flags);

// So that a ring has reason to take over. `peer` null: the socket is connected. Not logged.
void dp_udp_warm(int fd, const dp_place *peer);         ///< both roles: datagrams to and fro
void dp_udp_warm_as(int fd, const dp_place *peer, bool answers);      ///< the same without the sync at its end
void dp_udp_warm_alone(int fd, const dp_place *peer, bool answers);   ///< a fixed number of rounds
void dp_udp_warm_one_way(int fd, const dp_place *peer); ///< both roles: the client sends, the server only receives
void dp_udp_warm_solo(int a, int b);                    ///< two sockets of one process, connected to each other

// ───────────────────────────── logged calls ─────────────────────────────

ssize_t dp_send_to(int fd, const void *data, size_t length, int flags, const dp_place *to);
ssize_t dp_say_to(int fd, const char *text, const dp_place *to);
/// recvfrom: logs result, bytes and who sent them.
ssize_t dp_recv_from(int fd, size_t size, int flags);
/// recvmsg: also the flags that came, and the control messages.
ssize_t dp_recv_message(int fd, size_t size, int flags);
void dp_log_control(struct msghdr *message);
void dp_log_names(int fd);                              ///< getsockname and getpeername
void dp_set(int fd, int level, int name, int value, const char *text);   ///< setsockopt of a number

// ───────────────────────────── numbered datagrams ─────────────────────────────

/// `length` bytes of a pattern that begin, where there is room, with number and stream.
void dp_number(void *data, size_t length, uint32_t stream, uint32_t number);
bool dp_is_number(const void *data, size_t length, uint32_t stream, uint32_t number);
/// What a numbered datagram of at least 8 bytes says that it is; false when its bytes are damaged.
bool dp_which_number(const void *data, size_t length, uint32_t *stream, uint32_t *number);
/// Sends or receives that datagram; a failure ends the case. `peer` null: connected.
void dp_send_number(int fd, const dp_place *peer, size_t length, uint32_t stream, uint32_t number);
/// The same on a connected socket, by a flag for which the kernel carries it.
void dp_send_number_by_kernel(int fd, size_t length, uint32_t stream, uint32_t number);
void dp_recv_number(int fd, size_t length, uint32_t stream, uint32_t number);
