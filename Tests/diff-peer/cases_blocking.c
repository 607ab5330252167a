// Blocking calls: plain transfers, flags of recv, waiting for data and for space.
#include "harness.h"

DP_CASE(blocking, hello) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_say(fd, "hello, client");
    } else {
        dp_say(fd, "hello, server");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, hello_cold, .kernel = "one message each way: a lane has no reason to open") {
    int fd = dp_pair(DP_COLD);
    if (dp_server) {
        dp_recv(fd, 100, 0);
        dp_say(fd, "hello, client");
    } else {
        dp_say(fd, "hello, server");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, recv_waits_for_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "worth waiting for");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, recv_waits_and_sees_the_end) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, 0);
    } else {
        dp_until_peer_blocked("blocks");
    }
    if (!dp_server) dp_close(fd);
    dp_sync("end");
    if (dp_server) dp_close(fd);
}

DP_CASE(blocking, partial_reads) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 26);
        for (int size = 1; size < 9; size++) dp_recv(fd, size, 0);
        dp_say(fd, ".");
        dp_recv(fd, 1, 0);
    } else {
        dp_say(fd, "abcdefghijklmnopqrstuvwxyz0123456789!");
        dp_recv(fd, 1, 0);
        dp_close(fd);
    }
    dp_sync("end");
    if (dp_server) dp_close(fd);
}

DP_CASE(blocking, writes_join) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 15);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "one, ");
        dp_say(fd, "two, ");
        dp_say(fd, "three");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, peek) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 4, MSG_PEEK);
        dp_settle(fd, 10);
        dp_recv(fd, 100, MSG_PEEK);
        dp_recv(fd, 3, 0);
        dp_recv(fd, 100, MSG_PEEK);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 100, MSG_PEEK | MSG_DONTWAIT);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "0123456789");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, peek_at_the_end) {
    int fd = dp_pair(0);
    if (!dp_server) {
        dp_say(fd, "last");
        dp_close(fd);
        dp_sync("end");
        return;
    }
    dp_settle_for(fd, POLLRDHUP);
    dp_recv(fd, 100, MSG_PEEK);
    dp_recv(fd, 100, 0);
    dp_recv(fd, 100, MSG_PEEK);
    dp_recv(fd, 100, MSG_PEEK);
    dp_recv(fd, 100, 0);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, waitall_gathers) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 12, MSG_WAITALL);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "abcd");
        dp_settle_out(fd);
        dp_say(fd, "efgh");
        dp_settle_out(fd);
        dp_say(fd, "ijkl");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, waitall_cut_by_the_end) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_tell("blocks");
        dp_recv(fd, 1000, MSG_WAITALL);
        dp_recv(fd, 1000, MSG_WAITALL);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "only this");
        dp_close(fd);
    }
    dp_sync("end");
    if (dp_server) dp_close(fd);
}

DP_CASE(blocking, waitall_large) {
    int fd = dp_pair(0);
    size_t total = 300000;
    if (dp_server) {
        char *buffer = malloc(total);
        ssize_t got = DP(recv(fd, buffer, total, MSG_WAITALL));
        dp_log("%s", dp_bytes(buffer, got > 0 ? got : 0));
        free(buffer);
    } else {
        dp_put(fd, 1, total, 7000);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, waitall_peek) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 8);
        dp_recv(fd, 8, MSG_WAITALL | MSG_PEEK);
        dp_recv(fd, 8, MSG_WAITALL);
    } else {
        dp_say(fd, "wait");
        dp_say(fd, "peek");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, trunc_discards) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 20);
        dp_recv(fd, 5, MSG_TRUNC);
        dp_recv(fd, 5, 0);
        DP(recv(fd, NULL, 5, MSG_TRUNC));
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "abcdefghijklmnopqrst");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, more_and_cork) {
    int fd = dp_pair(0);
    if (dp_server) {
        char buffer[12];
        DP(recv(fd, buffer, 9, MSG_WAITALL));
        dp_log("%s", dp_bytes(buffer, 9));
        DP(recv(fd, buffer, 6, MSG_WAITALL));
        dp_log("%s", dp_bytes(buffer, 6));
    } else {
        dp_send(fd, "one", 3, MSG_MORE);
        dp_send(fd, "two", 3, MSG_MORE);
        dp_send(fd, "end", 3, 0);
        int on = 1, off = 0;
        DP(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof on));
        dp_say(fd, "cor");
        dp_say(fd, "ked");
        DP(setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof off));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, zero_lengths) {
    int fd = dp_pair(0);
    char byte;
    DP(send(fd, "", 0, 0));
    DP(write(fd, "", 0));
    DP(read(fd, &byte, 0));  // a read of nothing returns at once
    DP(recv(fd, &byte, 0, MSG_DONTWAIT));
    dp_sync("empty");
    if (!dp_server) dp_say(fd, "x");
    if (dp_server) {
        dp_settle(fd, 1);
        DP(recv(fd, &byte, 0, 0));
        DP(recv(fd, &byte, 0, MSG_PEEK));
        DP(read(fd, &byte, 0));
        dp_recv(fd, 1, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, recv_of_zero_waits) {
    int fd = dp_pair(0);
    char byte;
    if (dp_server) {
        dp_tell("blocks");
        DP(recv(fd, &byte, 0, 0));  // unlike read
        dp_recv(fd, 10, 0);
    } else {
        dp_until_peer_blocked("blocks");
        dp_say(fd, "y");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, send_waits_for_space) {
    int fd = dp_pair(0);
    size_t total = 12 << 20;
    if (dp_server) {
        dp_until_peer_blocked("fills");
        dp_get(fd, 3, total, 65536);
    } else {
        dp_tell("fills");
        dp_put(fd, 3, total, 1 << 20);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, one_large_send) {
    int fd = dp_pair(0);
    size_t total = 9 << 20;
    if (dp_server) {
        dp_get(fd, 4, total, 10000);
    } else {
        char *data = malloc(total);
        dp_fill(data, total, 4, 0);
        DP(send(fd, data, total, 0));
        free(data);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, receive_timeout) {
    int fd = dp_pair(0);
    struct timeval wait = {0, 60000};
    if (dp_server) {
        DP(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait));
        dp_recv(fd, 10, 0);
        dp_tell("timed out");
        dp_settle(fd, 3);
        dp_recv(fd, 10, MSG_WAITALL);  // what came before the time was over
        dp_recv(fd, 10, 0);
    } else {
        dp_hear("timed out");
        dp_say(fd, "abc");
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(blocking, send_timeout) {
    int fd = dp_pair(0);
    struct timeval wait = {0, 60000};
    if (dp_server) {
        dp_drain(fd, 5);
    } else {
        DP(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait));
        size_t piece = 40 << 20;
        char *data = malloc(piece);
        dp_fill(data, piece, 5, 0);
        ssize_t sent = send(fd, data, piece, 0);
        dp_log("%s", sent > 0 && (size_t)sent < piece ? "a part was sent" : "not a part");
        size_t more = dp_stuff(fd, 5, 4096, sent);
        DP(send(fd, data, piece, 0));
        free(data);
        dp_tell_sent(sent + more);
    }
    dp_sync("end");
    dp_close(fd);
}
