// Larger transfers, by checksum: slow readers, both directions, mixed sizes, many messages.
#include "harness.h"
#include <sched.h>

static void one_way(size_t total, size_t write_size, size_t read_size, int flags) {
    int fd = dp_pair(flags);
    if (dp_server) dp_get(fd, 1, total, read_size);
    else dp_put(fd, 1, total, write_size);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, large_pieces) { one_way(40 << 20, 1 << 20, 1 << 20, 0); }
DP_CASE(transfer, small_reads) { one_way(2 << 20, 65536, 100, 0); }
DP_CASE(transfer, small_writes) { one_way(200000, 50, 65536, 0); }
DP_CASE(transfer, byte_by_byte) { one_way(20000, 1, 1, DP_NODELAY); }
DP_CASE(transfer, odd_sizes) { one_way(5 << 20, 4097, 8191, 0); }
DP_CASE(transfer, page_sizes) { one_way(5 << 20, 4096, 4096, 0); }
DP_CASE(transfer, non_blocking) { one_way(20 << 20, 300000, 200000, DP_NONBLOCK); }
DP_CASE(transfer, small_kernel_buffers) { one_way(2 << 20, 50000, 50000, DP_SMALL | DP_NODELAY); }
DP_CASE(transfer, small_kernel_buffers_non_blocking) { one_way(2 << 20, 50000, 50000, DP_SMALL | DP_NONBLOCK | DP_NODELAY); }
DP_CASE(transfer, over_v6) { one_way(10 << 20, 100000, 50000, DP_V6); }
DP_CASE(transfer, cold_start, .kernel = "may be over before the ends have met") { one_way(10 << 20, 100000, 50000, DP_COLD); }

DP_CASE(transfer, slow_reader) {
    int fd = dp_pair(0);
    size_t total = 8 << 20;
    if (dp_server) {
        uint8_t *buffer = malloc(total);
        size_t done = 0;
        for (unsigned turn = 0; done < total; turn++) {
            if (turn % 4 == 0) poll(NULL, 0, 1);
            ssize_t got = recv(fd, buffer + done, total - done < 30000 ? total - done : 30000, 0);
            if (got <= 0) dp_fail("recv");
            done += got;
        }
        dp_log("%s", dp_bytes(buffer, total));
        free(buffer);
    } else {
        dp_put(fd, 1, total, 200000);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, slow_writer) {
    int fd = dp_pair(0);
    size_t total = 1 << 20;
    if (dp_server) {
        dp_get(fd, 1, total, 100000);
    } else {
        uint8_t buffer[4096];
        for (size_t done = 0; done < total; done += sizeof buffer) {
            if (done % 32768 == 0) poll(NULL, 0, 1);
            dp_fill(buffer, sizeof buffer, 1, done);
            if (send(fd, buffer, sizeof buffer, 0) != sizeof buffer) dp_fail("send");
        }
    }
    dp_sync("end");
    dp_close(fd);
}

static void ping_pong(int flags, int rounds, size_t limit) {
    int fd = dp_pair(flags);
    size_t size = 1;
    uint64_t sum = 0;
    uint8_t *buffer = malloc(limit), *expected = malloc(limit);
    for (int round = 0; round < rounds; round++) {
        size = (size * 1103515245 + 12345) % limit + 1;
        dp_fill(expected, size, round, 0);
        for (int turn = 0; turn < 2; turn++) {
            bool sending = (turn == 0) != dp_server;
            if (sending && send(fd, expected, size, 0) != (ssize_t)size) dp_fail("round %d: send", round);
            if (!sending && recv(fd, buffer, size, MSG_WAITALL) != (ssize_t)size) dp_fail("round %d: recv", round);
        }
        if (memcmp(buffer, expected, size) != 0) dp_log("round %d: wrong bytes", round);
        sum = dp_sum(sum, buffer, size);
    }
    free(buffer);
    free(expected);
    dp_log("%d rounds, sum %llx", rounds, (unsigned long long)sum);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, ping_pong_small) { ping_pong(0, 5000, 64); }
DP_CASE(transfer, ping_pong_mixed) { ping_pong(0, 2000, 9000); }
DP_CASE(transfer, ping_pong_large) { ping_pong(0, 200, 200000); }
DP_CASE(transfer, ping_pong_nodelay_v6) { ping_pong(DP_NODELAY | DP_V6, 2000, 3000); }

DP_CASE(transfer, pipelined_requests) {
    // Sixteen requests under way at a time, answers in order.
    enum { BATCH = 16, ROUNDS = 150, SIZE = 100 };
    int fd = dp_pair(DP_NODELAY);
    uint8_t message[SIZE], expected[SIZE];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BATCH && !dp_server; i++) {
            dp_fill(message, SIZE, round, i);
            if (send(fd, message, SIZE, 0) != SIZE) dp_fail("send");
        }
        for (int i = 0; i < BATCH; i++) {
            dp_fill(expected, SIZE, round, i);
            if (recv(fd, message, SIZE, MSG_WAITALL) != SIZE || memcmp(message, expected, SIZE)) dp_fail("round %d, message %d", round, i);
            if (dp_server && send(fd, message, SIZE, 0) != SIZE) dp_fail("send");
        }
    }
    dp_log("%d messages", BATCH * ROUNDS);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, both_directions_by_poll) {
    // Each side sends and receives whenever poll says so: the buffers of both directions are full most of the time.
    int fd = dp_pair(DP_NONBLOCK);
    size_t total = 12 << 20, sent = 0, received = 0, chunk = 50000;
    uint8_t *out = malloc(chunk), *in = malloc(chunk), *expected = malloc(chunk);
    unsigned own = dp_server ? 1 : 2, other = 3 - own;
    while (sent < total || received < total) {
        struct pollfd p = {fd, (sent < total ? POLLOUT : 0) | (received < total ? POLLIN : 0), 0};
        if (poll(&p, 1, -1) < 0) dp_fail("poll");
        if (p.revents & POLLOUT) {
            size_t want = total - sent < chunk ? total - sent : chunk;
            dp_fill(out, want, own, sent);
            ssize_t n = send(fd, out, want, 0);
            if (n < 0 && errno != EAGAIN) dp_fail("send: %s", dp_errno_name(errno));
            if (n > 0) sent += n;
        }
        if (p.revents & POLLIN) {
            ssize_t n = recv(fd, in, chunk, 0);
            if (n == 0 || (n < 0 && errno != EAGAIN)) dp_fail("recv");
            if (n < 0) continue;
            dp_fill(expected, n, other, received);
            if (memcmp(in, expected, n)) dp_fail("wrong bytes after %zu", received);
            received += n;
        }
    }
    dp_log("%zu each way", total);
    free(out);
    free(in);
    free(expected);
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, peeks_between_reads) {
    int fd = dp_pair(0);
    size_t total = 300000;
    if (dp_server) {
        uint8_t peeked[2000], read[2000], expected[2000];
        size_t done = 0;
        for (unsigned turn = 0; done < total; turn++) {
            ssize_t looked = recv(fd, peeked, 1 + turn * 37 % 2000, MSG_PEEK);
            if (looked <= 0) dp_fail("peek");
            ssize_t got = recv(fd, read, 1 + turn * 61 % looked, 0);
            if (got <= 0 || got > looked || memcmp(peeked, read, got)) dp_fail("read is not what was peeked at %zu", done);
            dp_fill(expected, got, 1, done);
            if (memcmp(read, expected, got)) dp_fail("wrong bytes at %zu", done);
            done += got;
        }
        dp_log("%zu bytes", done);
    } else {
        dp_put(fd, 1, total, 1777);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, many_connections_at_once) {
    enum { MANY = 20 };
    int fds[MANY];
    for (int i = 0; i < MANY; i++) fds[i] = dp_pair(0);
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < MANY; i++) {
            uint8_t out[3000], in[3000];
            dp_fill(out, sizeof out, round * MANY + i, 0);
            if (!dp_server && send(fds[i], out, sizeof out, 0) != sizeof out) dp_fail("send");
            if (recv(fds[i], in, sizeof in, MSG_WAITALL) != sizeof in || memcmp(in, out, sizeof in)) dp_fail("connection %d, round %d", i, round);
            if (dp_server && send(fds[i], in, sizeof in, 0) != sizeof in) dp_fail("send");
        }
    dp_log("%d connections", MANY);
    dp_sync("end");
    for (int i = 0; i < MANY; i++) dp_close(fds[i]);
}

DP_CASE(transfer, connections_one_after_the_other) {
    for (int i = 0; i < 25; i++) {
        int fd = dp_pair(0);
        if (dp_server) dp_get(fd, i, 20000, 3000);
        else dp_put(fd, i, 20000, 2500);
        if (dp_server) dp_say(fd, "next");
        else dp_recv(fd, 10, 0);
        dp_close(fd);
        dp_sync("closed");
    }
}

DP_CASE(transfer, solo_through_full_buffers, .solo = true) {
    int fds[2];
    dp_pair_solo(fds, DP_NONBLOCK);
    size_t done = 0;
    for (int round = 0; round < 2; round++) {
        size_t sent = dp_stuff(fds[0], 1, 5000, done);
        dp_poll(fds[0], POLLOUT, 0);
        dp_drain_count(fds[1], 1, done, sent);
        dp_settle_out(fds[0]);
        dp_poll(fds[0], POLLOUT, 0);
        done += sent;
    }
    dp_close(fds[0]);
    dp_close(fds[1]);
}

DP_CASE(transfer, calls_of_all_kinds) {
    // The same stream written and read by every kind of call in turn.
    int fd = dp_pair(0);
    uint8_t data[600], expected[600];
    for (int round = 0; round < 240; round++) {
        size_t offset = round * sizeof data;
        struct iovec parts[2] = {{data, 250}, {data + 250, sizeof data - 250}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        struct mmsghdr several = {.msg_hdr = message};
        ssize_t n = -1;
        if (!dp_server) {
            dp_fill(data, sizeof data, 1, offset);
            if (round % 6 == 0) n = send(fd, data, sizeof data, 0);
            if (round % 6 == 1) n = write(fd, data, sizeof data);
            if (round % 6 == 2) n = writev(fd, parts, 2);
            if (round % 6 == 3) n = sendmsg(fd, &message, 0);
            if (round % 6 == 4) n = sendto(fd, data, sizeof data, 0, NULL, 0);
            if (round % 6 == 5) n = sendmmsg(fd, &several, 1, 0) == 1 ? (ssize_t)several.msg_len : -1;
            if (n != sizeof data) dp_fail("round %d: %zd", round, n);
            char ok;
            if (recv(fd, &ok, 1, 0) != 1) dp_fail("no answer");
            continue;
        }
        dp_settle(fd, sizeof data);
        if (round % 7 == 0) n = recv(fd, data, sizeof data, 0);
        if (round % 7 == 1) n = read(fd, data, sizeof data);
        if (round % 7 == 2) n = readv(fd, parts, 2);
        if (round % 7 == 3) n = recvmsg(fd, &message, 0);
        if (round % 7 == 4) n = recvfrom(fd, data, sizeof data, 0, NULL, NULL);
        if (round % 7 == 5) n = recvmmsg(fd, &several, 1, 0, NULL) == 1 ? (ssize_t)several.msg_len : -1;
        if (round % 7 == 6) n = recv(fd, data, sizeof data, MSG_WAITALL | MSG_DONTWAIT);
        dp_fill(expected, sizeof expected, 1, offset);
        if (n != sizeof data || memcmp(data, expected, sizeof data)) dp_fail("round %d: %zd", round, n);
        if (send(fd, "k", 1, 0) != 1) dp_fail("answer");
    }
    dp_log("240 rounds");
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(transfer, both_send_before_reading) {
    // More than a ring holds and less than the kernel's buffers do: each sends all of it before it reads.
    int fd = dp_pair(0);
    size_t total = 2 << 20;
    dp_put(fd, dp_server, total, 100000);
    dp_sync("sent");
    dp_get(fd, !dp_server, total, 100000);
    dp_sync("end");
    dp_close(fd);
}
