// A socket of datagrams of one side: UDP, or of the unix domain. The server answers whoever wrote last, as servers do; the client is connected.
#ifndef POST_H
#define POST_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct post {
    int fd;
    /// The epoll set with `fd` as only member; -1 when the style needs none.
    int set;
    /// Who sent the last one; its length is 0 for a connected socket.
    struct sockaddr_storage from;
    socklen_t from_length;
    bool connected;
};

/// The server binds; the client waits for that and connects.
void post_open(struct post *post);
/// Sends one datagram: to the server, or to whoever wrote last.
void post_send(struct post *post, const void *bytes, size_t count);
/// Receives one datagram and gives its size. Blocks in the run's way of waiting.
size_t post_receive(struct post *post, void *bytes, size_t most);
void post_close(struct post *post);

#endif
