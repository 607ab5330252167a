// siglongjmp out of waiting calls that the differential suite does not leave so; the connection lives on.
#include "Jumps.h"
#include <setjmp.h>
#include <sys/sendfile.h>

static sigjmp_buf back;
void jump(int signal) { siglongjmp(back, signal); }
static pthread_t waiting;
static pid_t waiting_id;
static bool spins;
/// What the waiting thread has used of its CPU, in milliseconds.
static long used(void) {
    clockid_t clock;
    struct timespec t = {0};
    if (!pthread_getcpuclockid(waiting, &clock)) clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
static void *wake(void *ignored) {
    (void)ignored;
    long start = used();
    if (spins) while (used() < start + 10 && (is_as_said() || !is_asleep(waiting_id))) usleep(1000);
    else until_asleep(waiting_id);
    pthread_kill(waiting, SIGUSR1);
    return NULL;
}
void left_spinning(const char *name, long (*call)(int), int fd) {
    spins = true;
    left(name, call, fd);
    spins = false;
}
void left(const char *name, long (*call)(int), int fd) {
    pthread_t waker;
    waiting = pthread_self(), waiting_id = (pid_t)syscall(SYS_gettid);
    if (!sigsetjmp(back, 1)) {
        MUST(-pthread_create(&waker, NULL, wake, NULL));
        long r = call(fd);
        printf("%s returned %ld\n", name, r);
    }
    pthread_join(waker, NULL);
}
static char bytes[1 << 16];
static struct iovec part = {bytes, sizeof bytes};
static struct mmsghdr many = {{.msg_iov = &part, .msg_iovlen = 1}, 0};
static fd_set one(int fd) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return set;
}
static long by_recvmsg(int fd) { return recvmsg(fd, &many.msg_hdr, 0); }
static long by_recvmmsg(int fd) { return recvmmsg(fd, &many, 1, 0, NULL); }
static long by_readv(int fd) { return readv(fd, &part, 1); }
static long by_read(int fd) { return read(fd, bytes, 10); }
static long by_recv_all(int fd) { return recv(fd, bytes, 10, MSG_WAITALL); }
static long by_peek(int fd) { return recv(fd, bytes, 10, MSG_PEEK); }
static long by_ppoll(int fd) { return ppoll(&(struct pollfd){fd, POLLIN, 0}, 1, NULL, NULL); }
static long by_pselect(int fd) { fd_set set = one(fd); return pselect(fd + 1, &set, NULL, NULL, NULL, NULL); }
static long by_epoll_pwait(int fd) {
    static int set = -1;
    if (set < 0) set = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {0}};
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &e);
    return epoll_pwait(set, &e, 1, -1, NULL);
}
static long by_raw_read(int fd) { return syscall(SYS_read, fd, bytes, 10); }
static long by_raw_poll(int fd) { return syscall(SYS_poll, &(struct pollfd){fd, POLLIN, 0}, 1, -1); }
static long by_accept(int fd) { return accept(fd, NULL, NULL); }
static void readers(int rounds) {
    static const struct { const char *name; long (*call)(int); } calls[] = {
        {"recvmsg", by_recvmsg}, {"recvmmsg", by_recvmmsg}, {"readv", by_readv}, {"read", by_read}, {"waitall", by_recv_all},
        {"peek", by_peek}, {"ppoll", by_ppoll}, {"pselect", by_pselect}, {"epoll_pwait", by_epoll_pwait},
        {"raw read", by_raw_read}, {"raw poll", by_raw_poll},
    };
    int ends[2], other = warm();
    warm_pair(ends);
    for (int k = 0; k < rounds; k++)
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
            left(calls[i].name, calls[i].call, ends[0]);
            pass(ends[0], ends[1], 3);
            talk(other, 3);
            look(ends[0], ends[1]), look(ends[1], ends[0]), look(other, other);
        }
    close(ends[0]), close(ends[1]);
}
CASE(jumps_out_of_readers, LANE) { signal(SIGUSR1, jump); readers(3); }
CASE(jumps_on_another_stack, LANE) {
    MUST(sigaltstack(&(stack_t){.ss_sp = malloc(65536), .ss_size = 65536}, NULL));
    struct sigaction action = {.sa_handler = jump, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    readers(2);
}
CASE(jumps_out_of_accept, LANE) {
    signal(SIGUSR1, jump);
    int l = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(listen(l, 5));
    int other = warm();
    for (int i = 0; i < 3; i++) left("accept", by_accept, l), talk(other, 3), look(other, other);
    int ends[2];
    warm_pair(ends);
}

// Writers: the reader takes what was sent, of which the count is not known; the end tells that nothing came twice.
static long sent_at_least;
static void stamp(void) { for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)(i * 31 + (i >> 8)); }
static long by_write(int fd) { for (;;) sent_at_least += write(fd, bytes, sizeof bytes); return 0; }
static long by_writev(int fd) { for (;;) sent_at_least += writev(fd, &part, 1); return 0; }
static long by_sendmsg(int fd) { for (;;) sent_at_least += sendmsg(fd, &many.msg_hdr, 0); return 0; }
static long by_sendmmsg(int fd) { for (;;) if (sendmmsg(fd, &many, 1, 0) == 1) sent_at_least += many.msg_len; return 0; }
static long by_sendfile(int fd) {
    static int file = -1;
    if (file < 0) {
        file = memfd_create("bytes", 0);
        MUST(write(file, bytes, sizeof bytes));
    }
    for (;;) { off_t at = 0; sent_at_least += sendfile(fd, file, &at, sizeof bytes); }
}
static void *drain(void *fd) {
    static char in[1 << 16];
    long total = 0;
    for (long n; (n = recv((int)(intptr_t)fd, in, sizeof in, 0)) > 0; total += n)
        for (long i = 0; i < n; i++) {
            size_t at = (size_t)(total + i) % sizeof bytes;
            if (in[i] != (char)(at * 31 + (at >> 8))) fail("another byte at %ld", total + i);
        }
    return (void *)total;
}
static void writer(const char *name, long (*call)(int)) {
    signal(SIGUSR1, jump);
    int ends[2];
    warm_pair(ends);
    stamp();
    sent_at_least = 0;
    left(name, call, ends[0]);
    pthread_t reader;
    MUST(-pthread_create(&reader, NULL, drain, (void *)(intptr_t)ends[1]));
    shutdown(ends[0], SHUT_WR);
    void *total;
    pthread_join(reader, &total);
    if ((long)total < sent_at_least || (long)total > sent_at_least + (long)sizeof bytes) fail("%s: %ld of %ld", name, (long)total, sent_at_least);
    pass(ends[1], ends[1], 0);
    MUST(send(ends[1], "last", 4, 0));
    char last[5] = "";
    if (!recv_all(ends[0], last, 4) || strcmp(last, "last")) fail("last: %s", last);
    printf("%s left\n", name);
}
CASE(jumps_out_of_write, LANE) { writer("write", by_write); }
CASE(jumps_out_of_writev, LANE) { writer("writev", by_writev); }
CASE(jumps_out_of_sendmsg, LANE) { writer("sendmsg", by_sendmsg); }
CASE(jumps_out_of_sendmmsg, LANE) { writer("sendmmsg", by_sendmmsg); }
CASE(jumps_out_of_sendfile, LANE) { writer("sendfile", by_sendfile); }
