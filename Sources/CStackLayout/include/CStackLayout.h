/// The structures that live in shared memory: a process's stack (one memfd named "sluice") and the pair region of two
/// processes that talk over loopback. Plain integers at asserted offsets; readers load each word once and check it.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "Waits.h"

#define SL_STACK_MAGIC 0x6b63617473736c73ull  // the word by which a tool knows a stack
#define SL_REGION_MAGIC 0x6e6f69676572736cull // the word by which a region is known
#define SL_LAYOUT_VERSION 1u

// ───────────────────────────── a process's stack ─────────────────────────────

/// An address as the stat tool shows it: IPv4 is stored mapped (::ffff:a.b.c.d). Port in host order.
typedef struct sl_address {
    uint8_t ip[16];
    uint16_t port;
    uint16_t family;
    uint32_t scope;
} sl_address;
_Static_assert(sizeof(sl_address) == 24, "sl_address");

/// Lanes of an endpoint, as shown.
enum { SL_LANE_KERNEL = 0, SL_LANE_MEETING = 1, SL_LANE_LOOPBACK = 2 };
/// Life of an endpoint slot.
enum { SL_ENDPOINT_FREE = 0, SL_ENDPOINT_LIVE = 1, SL_ENDPOINT_LISTENING = 2, SL_ENDPOINT_CONNECTING = 3, SL_ENDPOINT_CONNECTED = 4 };

/// What an endpoint counts. A packet is one datagram or one publication of a stream; kernel-lane traffic is apart.
typedef struct sl_endpoint_counters {
    uint64_t rx_packets, rx_packets_spin, tx_packets, tx_packets_spin;
    uint64_t rx_ring_bytes, tx_ring_bytes, rx_kernel_bytes, tx_kernel_bytes;
    uint64_t drops;
    uint64_t lane_openings, lane_handbacks;
    uint64_t sleeps, wakes_sent;
    uint32_t send_spin_max, reserved;
    uint64_t reserved2[2];
} sl_endpoint_counters;
_Static_assert(sizeof(sl_endpoint_counters) == 128, "sl_endpoint_counters");

/// This side's half of one direction. Its lock, its counts, its place in the stream: shared with forked sharers.
typedef struct sl_half {
    uint32_t lock;          ///< robust word: 0, or thread id | FUTEX_WAITERS, FUTEX_OWNER_DIED
    uint32_t phase;         ///< even: kernel, odd: ring (see sl_direction)
    uint32_t plain_calls;   ///< plain kernel calls of this side in flight that may sleep without a bell
    uint32_t flags;         ///< SL_HALF_*
    uint64_t kernel_bytes;  ///< stream bytes that went through the kernel in this direction, once counted
    uint64_t offset;        ///< ring offset: of the producer for the sending half, of the consumer for the receiving
    uint64_t other_offset;  ///< last seen offset of the other side
    uint64_t base;          ///< offset that lies at the ring's first byte now
    uint64_t kernel_look;   ///< time stamp counter of the last look at the kernel socket
    uint64_t mark_offset;   ///< producer of the side ring of publication marks, 0 while there is none
} sl_half;
_Static_assert(sizeof(sl_half) == 64, "sl_half");
enum {
    SL_HALF_COUNTED = 1,    ///< kernel_bytes is known
    SL_HALF_SHUT = 2,       ///< shut down by this side
    SL_HALF_GONE = 4,       ///< receiving half: left for good, the kernel stream carries all
    SL_HALF_EOF_SEEN = 8,   ///< the kernel socket has reported the peer's FIN
    SL_HALF_TAKE_BACK = 16, ///< sending half: bytes from other_offset to offset go to the kernel first
    SL_HALF_AWAITED = 32,   ///< receiving half: its sender has been waited for, and took nothing back. Sending half of a flow:
                            ///< its receiver was, and did not end its gift; receiving: its sender was writing when it was given up
};

typedef struct sl_endpoint {
    // identity and state
    uint32_t generation;      ///< grows each time the slot is used anew
    uint32_t index;
    uint64_t cookie;          ///< SO_COOKIE
    uint64_t netns_cookie;    ///< SO_NETNS_COOKIE
    uint32_t state;           ///< SL_ENDPOINT_*
    uint32_t lane;            ///< SL_LANE_*
    uint32_t reason;          ///< why not accelerated: number in the reason table
    uint32_t descriptors;     ///< descriptors of all processes that refer to this description
    uint32_t status_flags;    ///< O_NONBLOCK and other F_SETFL flags that we act on
    uint32_t flags;           ///< SL_EP_*
    uint64_t local_address;   ///< this process's private record (address; the same in forked sharers)
    uint64_t owner;           ///< nonce of the process that made it
    // 64
    sl_address local, remote;
    uint16_t family, type, protocol, role; ///< role: 0 connected, 1 accepted
    uint32_t lane_generation; ///< grows with each lane of this endpoint
    uint32_t error;           ///< pending socket error to deliver once, as errno
    // 128
    uint64_t rx_timeout_ns, tx_timeout_ns; ///< SO_RCVTIMEO, SO_SNDTIMEO; 0: none
    uint32_t rx_lowat, linger;
    uint32_t messages_in, messages_out;    ///< until a lane is tried
    uint64_t bytes_in, bytes_out;
    uint64_t pair_address;    ///< private record of the pair (valid in forked sharers)
    uint32_t slot, side;      ///< slot in the region, our side (0 the connecting one)
    // 192: addresses of mapped memory while a lane exists, else 0
    uint64_t rx_direction, tx_direction;   ///< sl_direction
    uint64_t rx_ring, tx_ring;             ///< first byte of the byte rings
    uint64_t tx_limit;        ///< most bytes in flight on the ring
    uint64_t region_address;
    uint32_t sleep_average_ns, spin_budget_ns, spin_trial, next_attempt;
    // 256
    sl_half rx, tx;
    sl_endpoint_counters counters;
    uint64_t stack_address;   ///< sl_stack_header of its stack, as mapped
    uint64_t ring_bytes;      ///< of one ring of the lane, a power of two
    uint32_t descriptor;      ///< number +1 when it was made: by this tools know it while `cookie` is 0
    uint32_t watched;         ///< SL_WATCHED*: what of its ring traffic is captured; set by a tool
    uint64_t next_attempt_bytes; ///< no meeting before so many bytes have travelled, both directions together
    uint64_t full_since;      ///< time stamp counter when the ring was found too full and the reader had stopped; 0: it was not
    uint64_t full_consumer;   ///< where the reader stood then
    uint64_t full_kernel;     ///< and in the kernel's stream, while it has not come to the ring; of a flow: tx_packets since when its sender has not waited
    uint64_t reserved[9];    ///< arrival log, marks, named stacks
} sl_endpoint;
_Static_assert(offsetof(sl_endpoint, local) == 64, "sl_endpoint.local");
_Static_assert(offsetof(sl_endpoint, rx_timeout_ns) == 128, "sl_endpoint.rx_timeout_ns");
_Static_assert(offsetof(sl_endpoint, rx_direction) == 192, "sl_endpoint.rx_direction");
_Static_assert(offsetof(sl_endpoint, rx) == 256, "sl_endpoint.rx");
_Static_assert(offsetof(sl_endpoint, tx) == 320 && offsetof(sl_endpoint, counters) == 384, "sl_endpoint.tx");
_Static_assert(sizeof(sl_endpoint) == 640, "sl_endpoint");
static inline const uint8_t *sl_local_ip(const sl_endpoint *e) { return (const uint8_t *)&e->local.ip; }
enum {
    SL_EP_FOREIGN = 1,        ///< a plain program may hold it too: no lane
    SL_EP_GIVEN_UP = 2,       ///< no further attempts at a lane
    SL_EP_SHARED = 4,         ///< held by more than one process since a fork
    SL_EP_RESET = 8,          ///< the connection was reset (survivor's rule); the kernel socket does not know
    SL_EP_PEER_ENDED = 16,
    SL_EP_OOB = 32,
    SL_EP_LEFT = 64,          ///< its lane has ended and this side has left the slot
    SL_EP_OPTION = 128,       ///< of a UDP socket: an option is set that only the kernel serves: no flow gets a lane
    SL_EP_FLOW = 256,         ///< one peer of a UDP socket, which has an endpoint of its own with the same cookie
};

/// Process-wide counters of a stack; the table with names is Sources/Counters.
#define SL_STACK_COUNTERS 32
typedef struct sl_stack_header {
    uint64_t magic;
    uint32_t version, endpoint_bytes;
    uint64_t nonce;              ///< identity of the process; new after fork
    uint64_t start_ns;           ///< CLOCK_MONOTONIC
    uint32_t pid, uid;           ///< for tools only
    uint32_t first_endpoint;     ///< byte offset of endpoint 0
    uint32_t endpoint_capacity;
    uint32_t endpoints_used;     ///< high water mark
    uint32_t lock;               ///< of the free list
    uint32_t free_head;          ///< index + 1 of the first free endpoint, 0: none
    uint32_t reserved;
    char command[32];
    uint64_t settings[32];       ///< effective numeric settings, by their place in the settings table
    uint64_t counters[SL_STACK_COUNTERS];
    uint64_t settings_given;     ///< bit n: the variable of the setting with place n was set, and its value taken
    uint64_t settings_bad;       ///< bit n: its value could not be used
    uint64_t capture;            ///< what a tool wants to be captured (SL_CAPTURE_*); 0: nothing
    uint64_t waits_offset;       ///< byte offset of an sl_waits_area; 0: waits are not timed
} sl_stack_header;
_Static_assert(sizeof(sl_stack_header) == 640, "sl_stack_header");
_Static_assert(offsetof(sl_stack_header, settings) == 96, "sl_stack_header.settings");
_Static_assert(offsetof(sl_stack_header, counters) == 352, "sl_stack_header.counters");
_Static_assert(offsetof(sl_stack_header, capture) == 624, "sl_stack_header.capture");
#define SL_STACK_FIRST_ENDPOINT 4096u

// ───────────────────────────── capture: packets for a tool ─────────────────────────────
//
// At SL_CAPTURE_OFFSET of a stack's memfd: [sl_capture, one page][room for a ring, SL_CAPTURE_ROOM]. The process writes records of what its
// rings carry, one tool at a time reads them. The tool allocates the pages, so that they count for the tool and not for the
// process, and sets `sl_stack_header.capture`; the file is sparse, and the process maps this part when it finds the word set.

#define SL_CAPTURE_OFFSET (1ull << 27)
#define SL_CAPTURE_CONTROL 4096u
#define SL_CAPTURE_ROOM (64u << 20)
#define SL_CAPTURE_LEAST (1u << 20)
#define SL_CAPTURE_MAGIC 0x70616374u // in front of each record

/// `sl_stack_header.capture`: the state in bits 0 to 3; in 4 to 7 the size of the ring, as how often SL_CAPTURE_LEAST is doubled; a
/// protocol in 8 to 15 and a port in 16 to 31, 0: any; in 32 to 63 how
/// many bytes of each packet are kept. WATCH: another process that holds endpoints of this stack is captured, this one not.
enum { SL_CAPTURE_OFF = 0, SL_CAPTURE_ON = 1, SL_CAPTURE_WATCH = 2, SL_CAPTURE_REFUSED = 3 };
/// `sl_endpoint.watched`: what it receives too, or only what it sends (the sender at the other end is captured itself).
enum { SL_WATCHED = 1, SL_WATCHED_SENDING = 2 };

typedef struct sl_capture {
    // written by the tool
    uint64_t tail;      ///< ring offset up to which it has read
    uint64_t beat;      ///< grows while it runs
    uint64_t tool;      ///< its process id, for another tool to tell
    uint64_t reserved[5];
    // written by the process
    uint64_t head;      ///< ring offset up to which records are whole
    uint64_t dropped;   ///< packets that found no room
    uint64_t writing;   ///< CLOCK_REALTIME (ns) when it began to write, 0: it does not; records that come are not older
    uint64_t reserved2[5];
} sl_capture;
_Static_assert(sizeof(sl_capture) == 128 && offsetof(sl_capture, head) == 64, "sl_capture");

/// In front of each packet, at a multiple of 8 bytes; header and bytes may go on at the ring's begin.
typedef struct sl_capture_record {
    uint32_t magic;          ///< SL_CAPTURE_MAGIC
    uint32_t bytes;          ///< kept of the packet, behind this header
    uint32_t length;         ///< of the packet, without headers
    uint16_t protocol;       ///< 6 or 17
    uint16_t is_received;    ///< 1: the endpoint has received it, 0: it has sent it
    uint64_t time_ns;        ///< CLOCK_REALTIME
    uint64_t netns_cookie;
    uint64_t owner;          ///< with the next three: which endpoint, in which of its lives
    uint32_t index, generation, lane_generation;
    uint32_t reserved;
    uint64_t position;       ///< of a stream: of the first byte, counted from its begin; of a datagram: the ring's offset behind it
    uint64_t acknowledged;   ///< of a stream: what the packet's sender has read of the other direction
    sl_address local, remote;
} sl_capture_record;
_Static_assert(sizeof(sl_capture_record) == 120, "sl_capture_record");

// ───────────────────────────── an epoll set over fork ─────────────────────────────

/// What the processes that have an epoll set together since a fork share of it, beside the kernel's set itself.
typedef struct sl_set_share {
    uint32_t holders;  ///< processes that have a descriptor of the set
    uint32_t used;     ///< 1: one that has it by a fork waits in it or changes it
    uint32_t yielded;  ///< 1: the others may take what the kernel's set says for the truth: it keeps no member for itself
    uint32_t reserved;
} sl_set_share;
_Static_assert(sizeof(sl_set_share) == 16, "sl_set_share");
static inline uint32_t *sl_holders(sl_set_share *s) { return &s->holders; }
static inline uint32_t *sl_used(sl_set_share *s) { return &s->used; }
static inline uint32_t *sl_yielded(sl_set_share *s) { return &s->yielded; }

// ───────────────────────────── a pair region ─────────────────────────────
//
//   [header][side 0 waiters][side 1 waiters][64 slots] ... [64 x (ring 0->1, ring 1->0)]

#define SL_SLOTS 64
#define SL_WAITERS 64

/// The word of a sleeper: number << 2 | state.
enum { SL_ASLEEP = 0, SL_AWAKE = 1, SL_RUNG = 2 };
typedef struct sl_waiter {
    uint64_t word;        ///< written by the waiter, marked rung by the waker
    uint32_t cpu;         ///< where the waiter last waited, +1; 0: unknown
    uint32_t kind;        ///< 0 unused, 1 thread, 2 epoll set
    uint64_t log_offset;  ///< room for an arrival log; 0 while there is none
    uint64_t bell;        ///< in the pair's first region: serial of the bell that this number rings
    uint64_t reserved[4];
    // line of its own
    uint64_t ready;       ///< bitmap of slots with news; waker sets, waiter takes
    uint64_t reserved2[7];
} sl_waiter;
_Static_assert(sizeof(sl_waiter) == 128, "sl_waiter");

/// Control word of the receiving side, changed by compare-exchange from both.
enum { SL_RX_CLOSED = 0, SL_RX_OPEN = 1, SL_RX_WANT = 2, SL_RX_GONE = 3, SL_RX_SETTLED = 4, SL_RX_TAKING = 5 };
/// Of datagrams: OPEN while the receiver looks at the ring by itself, WRITING while a sender is about to publish (OPEN to WRITING
/// and back by the sender). ASLEEP: one thread of the receiver waits in the kernel; RINGING: a datagram by the kernel is on its
/// way to it, behind which the sender opens the ring again. SHUT: several may wait, and each datagram goes by the kernel.
enum { SL_RX_WRITING = 6, SL_RX_ASLEEP = 7, SL_RX_RINGING = 8, SL_RX_SHUT = 9 };

/// How a sender ended: all that it took back is in the kernel, or the rest of it lies in the ring.
enum { SL_ENDED = 1, SL_ENDED_WITH_REST = 2 };

/// In place of an offer's ticket, by compare-exchange: the acceptor uses the slot and will leave it. (An offer that is taken
/// back unclaimed leaves 0: the slot is free at once, and whoever reads the offer later finds another ticket.)
enum { SL_OFFER_CLAIMED = 1 };

/// One direction of a slot. Phases: 0 kernel, 1 ring, 2 kernel, ... A sender enters an odd phase only when the receiver
/// has reached the even one before it; an even one at any time. So K and E each stand still until they are used.
typedef struct sl_direction {
    // written by the sender
    uint64_t producer;       ///< ring offset
    uint64_t base;           ///< offset that lies at the ring's first byte
    uint32_t phase;          ///< of datagrams: 1, the counts below are of all that the sender has sent to this address
    uint32_t ended;          ///< SL_ENDED*: the sender ended in order (shutdown or close after E)
    uint64_t kernel_count;   ///< K of the newest odd phase; of datagrams: how many went by the kernel
    uint64_t ring_end;       ///< E of the newest even phase; of datagrams: kernel_begun when the sender changed options last
    uint32_t sender_cpu;     ///< where the sender waits, +1
    uint32_t sender_shared;  ///< the sending side is shared by a fork
    uint64_t kernel_begun;   ///< of datagrams: how many were about to go by the kernel
    uint64_t left;           ///< 1: the sending side has left the slot and unmapped its rings
    // written by the receiver
    uint64_t consumer;
    uint32_t phase_reached;
    uint32_t closed;         ///< 1: the receiver closed in order and reads no more
    uint64_t mark_consumer;
    uint64_t taking_from;    ///< consumer when the receiver began to send by the sender's socket (SL_RX_TAKING)
    uint32_t waiting_cpu;    ///< of datagrams: where the receiver waited last, +1
    uint32_t reserved1;
    uint64_t reserved4[3];
    // rarely written
    uint64_t data_waiters; ///< bit per waiter of the receiving side that wants to know of data
    uint32_t rx_control;     ///< SL_RX_*
    uint32_t receiver_cpu;   ///< where the receiver waits, +1
    uint64_t reserved2[6];
    uint64_t space_waiters; ///< bit per waiter of the sending side that wants to know of space
    uint64_t rung_at;        ///< time stamp counter of the sender's last ring: how long a spin would have lasted
    uint32_t sender_descriptor; ///< the sender's number of the socket, +1: for taking back in its place
    uint32_t reserved3;
    uint64_t offer;          ///< of the slot, in side 0's direction: ticket of an offer; the acceptor claims it by SL_OFFER_CLAIMED
    uint64_t sent_since;     ///< of datagrams: time stamp counter before the first one that is counted
    uint64_t reserved5[3];
} sl_direction;
_Static_assert(offsetof(sl_direction, consumer) == 64, "sl_direction.consumer");
_Static_assert(offsetof(sl_direction, data_waiters) == 128, "sl_direction.data_waiters");
_Static_assert(offsetof(sl_direction, space_waiters) == 192, "sl_direction.space_waiters");
_Static_assert(sizeof(sl_direction) == 256, "sl_direction");

/// In front of each datagram in a ring; header and datagram lie in one piece, at a multiple of SL_RECORD_ALIGNMENT from the
/// ring's first byte. The bytes that are left before the ring's end are a record of kind SL_RECORD_PAD.
#define SL_RECORD_ALIGNMENT 64u
enum { SL_RECORD_DATAGRAM = 1, SL_RECORD_PAD = 2 };
typedef struct sl_record {
    uint32_t bytes;          ///< of the datagram, or of what is left before the ring's end behind this header
    uint16_t kind;           ///< SL_RECORD_*
    uint16_t reserved;
    uint64_t kernel_count;   ///< datagrams that the sender had sent by the kernel before this one
    uint64_t options_at;     ///< of the direction, `ring_end` when it was written
    uint64_t reserved2;
} sl_record;
_Static_assert(sizeof(sl_record) == 32 && SL_RECORD_ALIGNMENT % sizeof(sl_record) == 0, "sl_record");

/// direction[s] is sent by side s.
typedef struct sl_slot { sl_direction direction[2]; } sl_slot;

typedef struct sl_region {
    uint64_t magic;
    uint32_t version, slots;
    uint64_t bytes;               ///< of the whole memfd
    uint64_t ring_bytes;          ///< of one ring, a power of two
    uint64_t rings_offset;        ///< of slot 0's first ring
    uint64_t token[2];            ///< known to the two processes alone
    uint64_t numbers[2];          ///< in the pair's first region: numbers of waiters in use, per side (with forked sharers)
    uint64_t reserved[7];
    sl_waiter waiters[2][SL_WAITERS];
    sl_slot slot[SL_SLOTS];
} sl_region;
_Static_assert(offsetof(sl_region, waiters) == 128, "sl_region.waiters");
_Static_assert(sizeof(sl_region) == 128 + 2 * 64 * 128 + 64 * 512, "sl_region");

/// Waiter `index` of `side`; both are reduced to their range.
static inline sl_waiter *sl_region_waiter(sl_region *region, long side, long index) {
    return &region->waiters[side & 1][index & (SL_WAITERS - 1)];
}
/// The direction of `slot` that side `sender` sends; both are reduced to their range.
static inline sl_direction *sl_region_direction(sl_region *region, long slot, long sender) {
    return &region->slot[slot & (SL_SLOTS - 1)].direction[sender & 1];
}
static inline uint64_t *sl_offer(sl_region *r, long slot) { return &sl_region_direction(r, slot, 0)->offer; }
static inline uint64_t *sl_data_waiters(sl_direction *d) { return &d->data_waiters; }
static inline uint64_t *sl_numbers(sl_region *r, long side) { return &r->numbers[side & 1]; }
static inline uint32_t *sl_flags(sl_half *h) { return &h->flags; }
static inline uint64_t *sl_space_waiters(sl_direction *d) { return &d->space_waiters; }

// ───────────────────────────── the control channel ─────────────────────────────

#define SL_MESSAGE_MAGIC 0x534c4d31u
enum {
    SL_MESSAGE_HELLO = 1,   ///< who I am, and counts; an epoll set that holds my end comes with it
    SL_MESSAGE_REGION = 2,  ///< connector: this region and slot by this ticket, and counts; a memfd comes with it until the region is in use
    SL_MESSAGE_READY = 3,   ///< acceptor: mapped; and counts
    SL_MESSAGE_REFUSE = 4,  ///< no lane, for `reason`
    SL_MESSAGE_BELL = 5,    ///< my waiter `index` is woken by the eventfd that comes with it
    SL_MESSAGE_RING = 6,    ///< the fallback bell
};
/// One message, all of it always. Counts are the sender's kernel byte counts, taken after it had read the peer's last
/// message; without meaning unless `counted`.
typedef struct sl_message {
    uint32_t magic, kind;
    uint64_t nonce;
    uint64_t token[2];
    uint32_t region, slot;
    uint64_t region_bytes, ring_bytes;
    uint64_t sent, received, unacknowledged;
    uint32_t index, reason;
    uint32_t uid, counted;
    uint64_t ticket;
} sl_message;
_Static_assert(sizeof(sl_message) == 104, "sl_message");
