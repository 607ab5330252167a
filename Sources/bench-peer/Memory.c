// Resident memory of many connections that each exchanged many small messages: groups of connections, one after the other, do all of theirs.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "Clock.h"
#include "Crowd.h"
#include "Peer.h"

enum { GROUP = 64 };

void memory_server(void) { crowd_serve(); }

/// Bytes behind a word of the process's smaps_rollup. Plain calls: a stream would take memory of its own.
static uint64_t resident(pid_t pid, const char *word) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) skip("%s cannot be read", path);
    close(fd);
    text[n] = 0;
    const char *at = strstr(text, word);
    if (!at) skip("%s has no '%s'", path, word);
    return strtoull(at + strlen(word), NULL, 10) * 1024;
}

static void look(bool after) {
    for (int i = 0; i < 2; i++) {
        struct side *side = &control->side[i];
        *(after ? &side->rss_after : &side->rss_before) = resident(side->pid, "\nRss:");
        *(after ? &side->pss_after : &side->pss_before) = resident(side->pid, "\nPss:");
    }
}

static void look_before(void) { look(false); }

struct group {
    unsigned first, size, outstanding;
    unsigned long left[GROUP];
};

static void answered(struct crowd *crowd, unsigned index, void *context) {
    struct group *group = context;
    record_add(&control->record, ticks() - crowd->sent_at[index]);
    control->messages++;
    if (--group->left[index - group->first] > 0) crowd_send(crowd, index);
    else group->outstanding--;
}

void memory_client(void) {
    struct crowd crowd;
    crowd_open(&crowd, look_before);
    measure_begin();
    for (unsigned first = 0; first < crowd.count; first += GROUP) {
        struct group group = {.first = first, .size = crowd.count - first < GROUP ? crowd.count - first : GROUP};
        group.outstanding = group.size;
        for (unsigned i = 0; i < group.size; i++) {
            group.left[i] = options.messages;
            crowd_send(&crowd, first + i);
        }
        while (group.outstanding > 0) crowd_wait(&crowd, answered, &group);
    }
    measure_end();
    look(true);
    control->bytes = control->messages * options.size;
    crowd_close(&crowd);
}
