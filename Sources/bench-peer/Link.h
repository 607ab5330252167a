// One connection between the two sides over any transport, with the waiting style of the run.
#ifndef LINK_H
#define LINK_H

#include <stddef.h>
#include <sys/types.h>

#include "Ring.h"

struct link {
    int in, out;
    /// The epoll set with `in` as only member; -1 when the style needs none.
    int set;
    struct ring_end ring_in, ring_out;
};

/// The two ends meet; blocks until the other one is there.
void link_open(struct link *link);
/// Sends all bytes.
void link_send(struct link *link, const void *bytes, size_t count);
/// Receives at least one byte; 0 at the end of the stream.
size_t link_receive(struct link *link, void *bytes, size_t most);
/// Receives exactly `count` bytes; false at the end of the stream.
int link_receive_all(struct link *link, void *bytes, size_t count);
/// Ends the outgoing direction.
void link_end_sending(struct link *link);
void link_close(struct link *link);

/// A listening socket of the run's transport, a bound one of datagrams; publishes its port.
int link_listen(int backlog);
/// A new connection to the published port.
int link_connect(void);
/// Sets what the run's transport asks of a connected socket.
void link_prepare(int fd);
void link_set_blocking(int fd, int blocking);

#endif
