// io_uring in the middle: by liburing, whose calls are seen (by system calls: RawRings.c). POSIX aio beside other calls.
#include "Strange.h"
#include <aio.h>
#include <liburing.h>

static void by_ring(struct io_uring *ring, int fd, int rounds) {
    for (int i = 0; i < rounds; i++) {
        char out[600], in[600];
        memset(out, i + 1, sizeof out);
        struct io_uring_sqe *s = io_uring_get_sqe(ring);
        io_uring_prep_send(s, fd, out, sizeof out, MSG_NOSIGNAL);
        s->flags |= IOSQE_IO_LINK;
        io_uring_prep_recv(io_uring_get_sqe(ring), fd, in, sizeof in, MSG_WAITALL);
        MUST(io_uring_submit(ring));
        for (int k = 0; k < 2; k++) {
            struct io_uring_cqe *c;
            if (io_uring_wait_cqe(ring, &c) < 0) fail("wait");
            if (c->res != sizeof out) fail("round %d: %d", i, c->res);
            io_uring_cqe_seen(ring, c);
        }
        if (memcmp(in, out, sizeof in)) fail("other bytes by ring in round %d", i);
    }
}
CASE(uring_in_the_middle, LANE) {
    int fd = warm(), ends[2];
    warm_pair(ends);
    if (!send_all(ends[0], "unread", 6)) fail("send");
    struct io_uring ring;
    int r = io_uring_queue_init(8, &ring, 0);
    if (r < 0) skip("no io_uring");
    from_now(KERNEL("io_uring works past Sluice"));
    for (int i = 0; i < 3; i++) by_ring(&ring, fd, 30), talk(fd, 30);
    char text[8] = "";
    io_uring_prep_recv(io_uring_get_sqe(&ring), ends[1], text, 6, 0);
    MUST(io_uring_submit(&ring));
    struct io_uring_cqe *c;
    if (io_uring_wait_cqe(&ring, &c) < 0 || c->res != 6 || strcmp(text, "unread")) fail("unread bytes: %s", text);
    io_uring_cqe_seen(&ring, c);
    int more = warm();
    by_ring(&ring, more, 30);
    io_uring_queue_exit(&ring);
    talk(more, 30);
}
CASE(uring_with_both_ends_later, KERNEL("io_uring works past Sluice")) {
    struct io_uring ring;
    int r = io_uring_queue_init(8, &ring, 0);
    if (r < 0) skip("no io_uring");
    int fd = warm();
    by_ring(&ring, fd, 100);
    io_uring_queue_exit(&ring);
}
CASE(aio_in_turns, LANE) {
    int fd = warm();
    for (int i = 0; i < 40; i++) {
        char out[500], in[500];
        memset(out, i, sizeof out);
        struct aiocb write = {.aio_fildes = fd, .aio_buf = out, .aio_nbytes = sizeof out, .aio_lio_opcode = LIO_WRITE};
        struct aiocb read = {.aio_fildes = fd, .aio_buf = in, .aio_nbytes = sizeof in, .aio_lio_opcode = LIO_READ};
        struct aiocb *list[] = {&write, &read};
        MUST(lio_listio(LIO_WAIT, i % 2 ? list : list, i % 2 ? 2 : 1, NULL));
        if (aio_return(&write) != sizeof out) fail("aio_write");
        long got = i % 2 ? aio_return(&read) : 0;
        if (!recv_all(fd, in + got, sizeof in - (size_t)got) || memcmp(in, out, sizeof in)) fail("other bytes in round %d", i);
        talk(fd, 3);
    }
    from_now(KERNEL("aio works past Sluice"));
    look(fd, fd);
}
