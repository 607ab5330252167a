// Urgent data, sendfile, splice, stdio on a socket.
#include "harness.h"
#include <sys/mman.h>
#include <sys/sendfile.h>

DP_CASE(messages, urgent_byte) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_recv(fd, 1, MSG_OOB);
        dp_tell("go");
        dp_settle_for(fd, POLLPRI);
        dp_poll(fd, POLLIN | POLLPRI, 0);
        int mark = -1;
        dp_settle(fd, 6);
        DP(ioctl(fd, SIOCATMARK, &mark));
        dp_log("at mark %d", mark);
        dp_recv(fd, 100, 0);  // stops before the mark
        DP(ioctl(fd, SIOCATMARK, &mark));
        dp_log("at mark %d", mark);
        dp_recv(fd, 1, MSG_OOB);
        dp_recv(fd, 1, MSG_OOB);
        dp_tell("more");
        dp_recv(fd, 100, 0);
        dp_say(fd, "fine");
    } else {
        dp_hear("go");
        dp_say(fd, "before");
        dp_send(fd, "!", 1, MSG_OOB);
        dp_hear("more");
        dp_say(fd, "after");
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, urgent_byte_inline) {
    int fd = dp_pair(0);
    if (dp_server) {
        int on = 1, mark = -1;
        DP(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
        dp_tell("go");
        dp_settle(fd, 7);
        dp_recv(fd, 100, 0);
        DP(ioctl(fd, SIOCATMARK, &mark));
        dp_log("at mark %d", mark);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 1, MSG_OOB);
    } else {
        dp_hear("go");
        dp_say(fd, "before");
        dp_send(fd, "!", 1, MSG_OOB);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, urgent_text) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 3);
        dp_settle_for(fd, POLLPRI);
        dp_recv(fd, 100, 0);
        dp_recv(fd, 1, MSG_OOB);
        dp_tell("traffic");
        dp_get(fd, 1, 20000, 1000);
    } else {
        dp_send(fd, "four", 4, MSG_OOB);  // the last byte is the urgent one
        dp_hear("traffic");
        dp_put(fd, 1, 20000, 999);
    }
    dp_sync("end");
    dp_close(fd);
}

static int file_of_pattern(size_t size) {
    int file = (int)DP_MUST(memfd_create("pattern", MFD_CLOEXEC));
    uint8_t *data = malloc(size);
    dp_fill(data, size, 1, 0);
    if (write(file, data, size) != (ssize_t)size) dp_fail("memfd");
    free(data);
    return file;
}

DP_CASE(messages, sendfile) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, 100000, 3000);
    } else {
        int file = file_of_pattern(100000);
        off_t offset = 0;
        while (offset < 100000)
            if (sendfile(fd, file, &offset, 100000 - offset) <= 0) dp_fail("sendfile: %s", dp_errno_name(errno));
        dp_log("offset %ld, file at %ld", (long)offset, (long)lseek(file, 0, SEEK_CUR));
        DP(sendfile(fd, file, &offset, 100));
        DP(close(file));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, sendfile_moves_the_file_position) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, 5000, 3000);
    } else {
        int file = file_of_pattern(5000);
        lseek(file, 0, SEEK_SET);
        DP(sendfile(fd, file, NULL, 1000));
        dp_log("file at %ld", (long)lseek(file, 0, SEEK_CUR));
        DP(sendfile(fd, file, NULL, 100000));
        dp_log("file at %ld", (long)lseek(file, 0, SEEK_CUR));
        DP(sendfile(fd, file, NULL, 10));
        DP(sendfile(fd, -1, NULL, 10));
        DP(close(file));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, sendfile_non_blocking) {
    int fd = dp_pair(DP_NONBLOCK);
    size_t total = 12 << 20;
    if (dp_server) {
        dp_get(fd, 1, total, 200000);
    } else {
        int file = file_of_pattern(total);
        off_t offset = 0;
        while ((size_t)offset < total) {
            ssize_t sent = sendfile(fd, file, &offset, total - offset);
            if (sent < 0 && errno == EAGAIN) dp_settle_for(fd, POLLOUT);
            else if (sent <= 0) dp_fail("sendfile: %s", dp_errno_name(errno));
        }
        dp_log("offset %ld", (long)offset);
        DP(close(file));
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, splice_from_the_socket) {
    int fd = dp_pair(0);
    if (dp_server) {
        int ends[2];
        DP_MUST(pipe(ends));
        dp_settle(fd, 1000);
        size_t done = 0;
        uint64_t sum = 0;
        while (done < 20000) {
            ssize_t moved = splice(fd, NULL, ends[1], NULL, 20000 - done, 0);
            if (moved <= 0) dp_fail("splice: %s", dp_errno_name(errno));
            char buffer[65536];
            if (read(ends[0], buffer, sizeof buffer) != moved) dp_fail("pipe");
            sum = dp_sum(sum, buffer, moved);
            done += moved;
        }
        dp_log("spliced %zu, sum %llx", done, (unsigned long long)sum);
        dp_nonblocking(fd, true);
        DP(splice(fd, NULL, ends[1], NULL, 100, 0));
        dp_say(fd, "spliced");
    } else {
        dp_put(fd, 1, 20000, 5000);
        dp_recv(fd, 100, 0);
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, splice_to_the_socket) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_get(fd, 1, 20000, 5000);
    } else {
        int ends[2];
        DP_MUST(pipe(ends));
        char buffer[4000];
        for (size_t done = 0; done < 20000; done += sizeof buffer) {
            dp_fill(buffer, sizeof buffer, 1, done);
            if (write(ends[1], buffer, sizeof buffer) != sizeof buffer) dp_fail("pipe");
            DP(splice(ends[0], NULL, fd, NULL, sizeof buffer, 0));
        }
    }
    dp_sync("end");
    dp_close(fd);
}

DP_CASE(messages, splice_between_sockets, .solo = true) {
    int in[2], out[2], ends[2];
    dp_pair_solo(in, 0);
    dp_pair_solo(out, 0);
    DP_MUST(pipe(ends));
    for (int round = 0; round < 10; round++) {
        char text[100], back[100];
        dp_fill(text, sizeof text, round, 0);
        if (send(in[0], text, sizeof text, 0) != sizeof text) dp_fail("send");
        dp_settle(in[1], sizeof text);
        DP(splice(in[1], NULL, ends[1], NULL, 65536, 0));
        DP(splice(ends[0], NULL, out[0], NULL, 65536, 0));
        dp_settle(out[1], sizeof text);
        if (recv(out[1], back, sizeof back, 0) != sizeof back || memcmp(text, back, sizeof back)) dp_log("wrong bytes");
    }
    for (int i = 0; i < 2; i++) {
        dp_close(in[i]);
        dp_close(out[i]);
    }
}

DP_CASE(messages, stdio_reads_lines) {
    int fd = dp_pair(0);
    if (dp_server) {
        FILE *stream = fdopen(fd, "r+");
        char line[100];
        for (int i = 0; i < 4 && fgets(line, sizeof line, stream); i++) dp_log("%s", dp_bytes(line, strlen(line)));
        fprintf(stream, "four lines\n");
        fflush(stream);
        dp_sync("end");
        dp_proof(fd);
        DP(fclose(stream));
    } else {
        dp_say(fd, "first\nsecond\nthi");
        dp_say(fd, "rd\nfourth\n");
        dp_recv(fd, 100, 0);
        dp_sync("end");
        dp_close(fd);
    }
}

DP_CASE(messages, stdio_with_unread_data) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 12);
        dp_recv(fd, 4, 0);
        FILE *stream = fdopen(fd, "r");
        char line[100];
        if (fgets(line, sizeof line, stream)) dp_log("%s", dp_bytes(line, strlen(line)));
        dp_tell("more");
        if (fgets(line, sizeof line, stream)) dp_log("%s", dp_bytes(line, strlen(line)));
        dp_log("%s", fgets(line, sizeof line, stream) ? "more" : feof(stream) ? "end of file" : "error");
        DP(fclose(stream));
    } else {
        dp_say(fd, "headthe line\n");
        dp_hear("more");
        dp_say(fd, "last\n");
        dp_close(fd);
    }
    dp_sync("end");
}

DP_CASE(messages, dprintf_and_write_mix) {
    int fd = dp_pair(0);
    if (dp_server) {
        dp_settle(fd, 21);
        dp_recv(fd, 100, 0);
    } else {
        dp_say(fd, "write ");
        DP(dprintf(fd, "printf %d ", 42));
        dp_say(fd, "write");
    }
    dp_sync("end");
    dp_close(fd);
}
