// IPv4, IPv6, mapped addresses, the host's own addresses, and what the sockets say about them.
#include "harness.h"
#include <ifaddrs.h>
#include <net/if.h>

static void log_address(const char *what, const struct sockaddr_storage *address, socklen_t length) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, text, sizeof text);
    if (address->ss_family == AF_INET6) inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, text, sizeof text);
    dp_log("%s: family %d, %s, %u bytes", what, address->ss_family, text, length);
}

static void log_names(int fd) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    DP_MUST(getsockname(fd, (struct sockaddr *)&address, &length));
    log_address("own", &address, length);
    length = sizeof address;
    DP_MUST(getpeername(fd, (struct sockaddr *)&address, &length));
    log_address("peer", &address, length);
}

/// A connection to `to`, on which the server listens at `at`; ends that exchange, say who they are, and close.
static void converse(const char *at, const char *to, const char *from) {
    int fd;
    if (dp_server) {
        int listener = dp_listen(at, 0);
        struct sockaddr_storage address;
        socklen_t length = sizeof address;
        fd = (int)DP_MUST(accept(listener, (struct sockaddr *)&address, &length));
        log_address("accepted", &address, length);
        DP(close(listener));
    } else if (from) {
        uint16_t port = dp_hear_port();
        struct sockaddr_storage address;
        fd = dp_socket_for(from, 0);
        socklen_t length = dp_address(from, 0, &address);
        DP(bind(fd, (struct sockaddr *)&address, length));
        length = dp_address(to, port, &address);
        DP(connect(fd, (struct sockaddr *)&address, length));
    } else {
        fd = dp_dial(to, 0);
    }
    dp_warm(fd);
    log_names(fd);
    if (dp_server) dp_get(fd, 1, 50000, 4000);
    else dp_put(fd, 1, 50000, 3000);
    if (dp_server) dp_say(fd, "seen");
    else dp_recv(fd, 10, 0);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(addresses, v4) { converse("127.0.0.1", "127.0.0.1", NULL); }
DP_CASE(addresses, v6) { converse("::1", "::1", NULL); }
DP_CASE(addresses, v4_any) { converse("0.0.0.0", "127.0.0.1", NULL); }
DP_CASE(addresses, v6_any) { converse("::", "::1", NULL); }
DP_CASE(addresses, v4_client_of_dual_stack_server) { converse("::", "127.0.0.1", NULL); }
DP_CASE(addresses, mapped_client_of_v4_server) { converse("127.0.0.1", "::ffff:127.0.0.1", NULL); }
DP_CASE(addresses, mapped_client_of_dual_stack_server) { converse("::", "::ffff:127.0.0.1", NULL); }
DP_CASE(addresses, mapped_listener) { converse("::ffff:127.0.0.1", "127.0.0.1", NULL); }
DP_CASE(addresses, another_loopback_address) { converse("127.1.2.3", "127.1.2.3", NULL); }
DP_CASE(addresses, two_loopback_addresses) { converse("127.0.0.2", "127.0.0.2", "127.0.0.3"); }
DP_CASE(addresses, v6_bound_client) { converse("::1", "::1", "::1"); }
DP_CASE(addresses, connect_to_v4_any) { converse("127.0.0.1", "0.0.0.0", NULL); }
DP_CASE(addresses, connect_to_v6_any) { converse("::1", "::", NULL); }

/// The first address of the family that is not on the loopback interface; the loopback one where there is none.
static const char *host_address(int family) {
    static char text[INET6_ADDRSTRLEN];
    struct ifaddrs *all = NULL;
    strcpy(text, family == AF_INET ? "127.0.0.1" : "::1");
    if (getifaddrs(&all) != 0) return text;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != family || i->ifa_flags & IFF_LOOPBACK || !(i->ifa_flags & IFF_UP)) continue;
        struct sockaddr_in6 *v6 = (void *)i->ifa_addr;
        if (family == AF_INET6 && v6->sin6_scope_id) continue;
        inet_ntop(family, family == AF_INET ? (void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr : (void *)&v6->sin6_addr, text, sizeof text);
        break;
    }
    freeifaddrs(all);
    return text;
}

DP_CASE(addresses, own_address_of_the_host_v4) {
    const char *own = host_address(AF_INET);
    converse(own, own, NULL);
}

DP_CASE(addresses, own_address_of_the_host_v6) {
    const char *own = host_address(AF_INET6);
    converse(own, own, NULL);
}

DP_CASE(addresses, own_address_to_any) { converse("0.0.0.0", host_address(AF_INET), NULL); }

DP_CASE(addresses, same_port_two_addresses) {
    static const char *const at[2] = {"127.0.0.1", "127.0.0.2"};
    int fds[2];
    if (dp_server) {
        int listeners[2];
        listeners[0] = dp_listen(at[0], 0);
        struct sockaddr_storage address;
        socklen_t length = dp_address(at[1], dp_port_of(listeners[0]), &address);
        listeners[1] = dp_socket_for(at[1], 0);
        DP_MUST(bind(listeners[1], (struct sockaddr *)&address, length));
        DP_MUST(listen(listeners[1], 5));
        dp_sync("both listen");
        for (int i = 0; i < 2; i++) fds[i] = dp_accept(listeners[i], 0);
    } else {
        dp_hear_port();
        dp_sync("both listen");
        for (int i = 0; i < 2; i++) fds[i] = dp_dial(at[i], 0);
    }
    for (int i = 0; i < 2; i++) dp_warm(fds[i]);
    for (int i = 0; i < 2; i++) {
        if (dp_server) dp_recv(fds[i], 100, 0);
        else dp_say(fds[i], i ? "to the second address" : "to the first address");
    }
    dp_sync("end");
    for (int i = 0; i < 2; i++) dp_close(fds[i]);
}

DP_CASE(addresses, connected_to_itself, .solo = true, .kernel = "one socket is both ends") {
    // A socket that connects to its own address and port: what it sends it reads.
    int fd = dp_socket_for("127.0.0.1", 0);
    struct sockaddr_storage address;
    socklen_t length = dp_address("127.0.0.1", 0, &address);
    DP(bind(fd, (struct sockaddr *)&address, length));
    length = dp_address("127.0.0.1", dp_port_of(fd), &address);
    DP(connect(fd, (struct sockaddr *)&address, length));
    for (int i = 0; i < 60; i++) {
        char byte = 0;
        if (send(fd, "m", 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1 || byte != 'm') dp_log("round %d: wrong", i);
    }
    dp_say(fd, "to myself");
    dp_settle(fd, 9);
    dp_recv(fd, 100, 0);
    DP(shutdown(fd, SHUT_WR));
    dp_recv(fd, 100, 0);
    dp_close(fd);
}

DP_CASE(addresses, v6only_refuses_v4, .solo = true, .kernel = "no connection") {
    int listener = dp_socket_for("::", 0), on = 1;
    DP(setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on));
    struct sockaddr_storage address;
    socklen_t length = dp_address("::", 0, &address);
    DP(bind(listener, (struct sockaddr *)&address, length));
    DP(listen(listener, 5));
    length = dp_address("127.0.0.1", dp_port_of(listener), &address);
    int fd = dp_socket_for("127.0.0.1", 0);
    DP(connect(fd, (struct sockaddr *)&address, length));
    dp_close(fd);
    dp_close(listener);
}

DP_CASE(addresses, names_in_message_calls) {
    int fd = dp_pair(0);
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char text[16];
    if (dp_server) {
        dp_settle(fd, 5);
        DP(recvfrom(fd, text, 5, 0, (struct sockaddr *)&address, &length));
        dp_log("name length %u", length);
        dp_tell("next");
        dp_settle(fd, 5);
        struct iovec part = {text, sizeof text};
        struct msghdr message = {.msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &part, .msg_iovlen = 1};
        DP(recvmsg(fd, &message, 0));
        dp_log("name length %u, control %zu, flags %d", message.msg_namelen, message.msg_controllen, message.msg_flags);
    } else {
        length = dp_address("192.0.2.1", 9, &address);
        DP(sendto(fd, "named", 5, 0, (struct sockaddr *)&address, length));  // the name of a connected stream is ignored
        dp_hear("next");
        struct iovec part = {"again", 5};
        struct msghdr message = {.msg_name = &address, .msg_namelen = length, .msg_iov = &part, .msg_iovlen = 1};
        DP(sendmsg(fd, &message, 0));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(addresses, reuseport_two_listeners) {
    if (!dp_server) {
        dp_hear_port();
        int fds[6];
        for (int i = 0; i < 6; i++) {
            fds[i] = dp_dial("127.0.0.1", 0);
            dp_warm(fds[i]);
            dp_say(fds[i], "ping");
            dp_recv(fds[i], 10, 0);
        }
        dp_sync("end");
        for (int i = 0; i < 6; i++) dp_close(fds[i]);
        return;
    }
    int listeners[2], on = 1, fds[6];
    struct sockaddr_storage address;
    uint16_t port = 0;
    for (int i = 0; i < 2; i++) {
        listeners[i] = dp_socket_for("127.0.0.1", 0);
        DP(setsockopt(listeners[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof on));
        socklen_t length = dp_address("127.0.0.1", port, &address);
        DP(bind(listeners[i], (struct sockaddr *)&address, length));
        DP(listen(listeners[i], 16));
        port = dp_port_of(listeners[i]);
    }
    dp_tell_data(&port, sizeof port);
    for (int i = 0; i < 6; i++) {
        struct pollfd ready[2] = {{listeners[0], POLLIN, 0}, {listeners[1], POLLIN, 0}};
        DP_MUST(poll(ready, 2, -1));
        fds[i] = dp_accept(listeners[ready[0].revents ? 0 : 1], 0);
        dp_warm(fds[i]);
        dp_recv(fds[i], 10, 0);
        dp_say(fds[i], "pong");
    }
    dp_sync("end");
    for (int i = 0; i < 6; i++) dp_close(fds[i]);
}

DP_CASE(addresses, client_port_used_again) {
    // The same 4-tuple, one connection after the other: nothing of the first may reach the second.
    if (dp_server) {
        int listener = dp_listen("127.0.0.1", 0);
        for (int i = 0; i < 4; i++) {
            int fd = dp_accept(listener, 0);
            dp_warm(fd);
            dp_settle(fd, 5);
            dp_recv(fd, 5, 0);
            dp_say(fd, "left unread");
            dp_sync("sent");
            dp_recv(fd, 5, 0);
            dp_close(fd);
            dp_sync("closed");
        }
        dp_close(listener);
        return;
    }
    uint16_t port = dp_hear_port(), own = 0;
    for (int i = 0; i < 4; i++) {
        struct sockaddr_storage address;
        int fd = dp_socket_for("127.0.0.1", 0), on = 1;
        DP_MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
        socklen_t length = dp_address("127.0.0.1", own, &address);
        DP(bind(fd, (struct sockaddr *)&address, length));
        own = dp_port_of(fd);
        length = dp_address("127.0.0.1", port, &address);
        DP(connect(fd, (struct sockaddr *)&address, length));
        dp_warm(fd);
        dp_say(fd, "round");
        dp_sync("sent");
        dp_settle(fd, 11);
        dp_close(fd);  // unread bytes: a reset, so that the 4-tuple is free at once
        dp_sync("closed");
    }
}
