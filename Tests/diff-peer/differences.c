// The accepted differences from the plain kernel. Each needs its reason; an entry that no longer differs is reported.
#include "suite.h"
#include <fnmatch.h>

#define SECOND_ARRIVAL                                                                                                 \
    "bytes that were reported from the ring, and then taken back, arrive once more through the kernel's queue: an edge "  \
    "may be reported twice when the lane changes in between, never too seldom"

static const dp_difference accepted[] = {
    // {"group/name", "both" or "*", mode, "what differs", "why it must"},
    {"readiness/epoll_edge*", "*", "chaos*", "an edge is reported twice", SECOND_ARRIVAL},
    {"readiness/one_socket_in_several_sets", "*", "chaos*", "an edge is reported twice", SECOND_ARRIVAL},
    {"readiness/epoll_one_shot_among_threads", "*", "chaos*", "a one-shot report without new bytes", SECOND_ARRIVAL},
    {"switch/poll_while_the_sender_takes_back", "both", "*", "poll says readable, and then for a moment not",
     "the bytes are in the hands of the sender, which can be stopped there; a receive waits for them"},
    {0},
};

const dp_difference *dp_accepted(const dp_case *c, const char *placement, const char *mode) {
    char name[128];
    snprintf(name, sizeof name, "%s/%s", c->group, c->name);
    for (const dp_difference *d = accepted; d->c; d++)
        if (!fnmatch(d->c, name, 0) && !fnmatch(d->placement, placement, 0) && !fnmatch(d->mode, mode, 0)) return d;
    return NULL;
}
