// Connection churn: connect, one request, one answer, close.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "Clock.h"
#include "Link.h"
#include "Peer.h"

static bool receive_all(int fd, char *bytes, size_t count) {
    while (count > 0) {
        ssize_t n = recv(fd, bytes, count, 0);
        if (n == 0) return false;
        if (n < 0 && errno != EINTR) fail("recv");
        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
        }
    }
    return true;
}

static void send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) fail("send");
        if (n > 0) {
            bytes += n;
            count -= (size_t)n;
        }
    }
}

/// Serves one connection after the other; one that ends without a request is the last.
void churn_server(void) {
    char *bytes = calloc(1, options.size);
    int listener = link_listen(128);
    for (bool more = true; more;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        link_prepare(fd);
        more = receive_all(fd, bytes, options.size);
        if (more) {
            send_all(fd, bytes, options.size);
            if (receive_all(fd, bytes, 1)) wrong("a second request");
        }
        close(fd);
    }
    close(listener);
}

static void one_connection(char *bytes) {
    int fd = link_connect();
    link_prepare(fd);
    send_all(fd, bytes, options.size);
    if (!receive_all(fd, bytes, options.size)) wrong("the server ended the connection");
    close(fd);
}

void churn_client(void) {
    if (options.wait != WAIT_BLOCK) wrong("churn has blocking calls only");
    char *bytes = calloc(1, options.size);
    await(STEP_LISTENING);
    uint64_t ms = ticks_per_ms(), stop = ticks() + ms * options.warmup_ms, now, before;
    while (ticks() < stop) one_connection(bytes);
    measure_begin();
    before = ticks();
    stop = before + ms * options.run_ms;
    do {
        one_connection(bytes);
        now = ticks();
        record_add(&control->record, now - before);
        before = now;
        control->messages++;
    } while (now < stop);
    measure_end();
    control->bytes = control->messages * options.size;
    close(link_connect());
}
