// Many connections between the two sides: a server with an event loop that sends back what comes, and a client with one of its own.
#ifndef CROWD_H
#define CROWD_H

#include <stdint.h>

struct crowd {
    /// Descriptor of each connection, and when its message was sent.
    int *fd;
    uint64_t *sent_at;
    /// Messages sent on each: the number goes with the message and must come back.
    uint32_t *number;
    unsigned count;
    int set;
    char *bytes;
};

/// Accepts the run's number of connections and serves them until all are closed.
void crowd_serve(void);
/// Opens the run's number of connections. `before` is called when all memory of the client's own is there.
void crowd_open(struct crowd *crowd, void (*before)(void));
/// One message on a connection.
void crowd_send(struct crowd *crowd, unsigned index);
/// Waits for answers and calls `answered` for each; blocks.
void crowd_wait(struct crowd *crowd, void (*answered)(struct crowd *, unsigned, void *), void *context);
void crowd_close(struct crowd *crowd);

#endif
