#include "Post.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "Link.h"
#include "Peer.h"

void post_open(struct post *post) {
    memset(post, 0, sizeof *post);
    post->set = -1;
    post->connected = options.role == ROLE_CLIENT;
    if (post->connected) {
        await(STEP_LISTENING);
        post->fd = link_connect();
    } else post->fd = link_listen(0);
    link_prepare(post->fd);
    if (options.wait == WAIT_EPOLL) {
        struct epoll_event event = {.events = EPOLLIN};
        post->set = epoll_create1(EPOLL_CLOEXEC);
        if (post->set < 0 || epoll_ctl(post->set, EPOLL_CTL_ADD, post->fd, &event) != 0) fail("epoll");
    }
}

void post_send(struct post *post, const void *bytes, size_t count) {
    for (;;) {
        ssize_t n = post->connected ? send(post->fd, bytes, count, MSG_NOSIGNAL)
                                    : sendto(post->fd, bytes, count, MSG_NOSIGNAL, (struct sockaddr *)&post->from, post->from_length);
        if (n == (ssize_t)count) return;
        if (n >= 0) wrong("%zd of %zu bytes of a datagram were sent", n, count);
        if (errno == EAGAIN && options.wait != WAIT_SPIN) {
            struct pollfd p = {.fd = post->fd, .events = POLLOUT};
            poll(&p, 1, -1);
        } else if (errno != EAGAIN && errno != EINTR) fail("sending a datagram");
    }
}

static void await_datagram(struct post *post) {
    if (options.wait == WAIT_POLL) {
        struct pollfd p = {.fd = post->fd, .events = POLLIN};
        poll(&p, 1, -1);
    } else if (options.wait == WAIT_EPOLL) {
        struct epoll_event event;
        epoll_wait(post->set, &event, 1, -1);
    }
}

size_t post_receive(struct post *post, void *bytes, size_t most) {
    for (;;) {
        // An event loop asks first and receives when told: that is the cost that its program pays.
        if (options.wait >= WAIT_POLL) await_datagram(post);
        ssize_t n;
        if (post->connected) n = recv(post->fd, bytes, most, 0);
        else {
            post->from_length = sizeof post->from;
            n = recvfrom(post->fd, bytes, most, 0, (struct sockaddr *)&post->from, &post->from_length);
        }
        if (n >= 0) return (size_t)n;
        if (errno != EAGAIN && errno != EINTR) fail("receiving a datagram");
    }
}

void post_close(struct post *post) {
    if (post->set >= 0) close(post->set);
    close(post->fd);
}
