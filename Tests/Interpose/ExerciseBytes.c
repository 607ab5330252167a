// Sockets, and every way in which bytes and messages go through them.
#include "Exercise.h"
#include <sys/mman.h>
#include <sys/sendfile.h>

int __connect(int, const struct sockaddr *, socklen_t);
ssize_t __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
ssize_t __send(int, const void *, size_t, int);
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);

void exercise_sockets(void) {
    struct sockaddr_in address;
    SAY("socket wrong", socket(999, SOCK_STREAM, 0));
    int l = listener(&address);
    SAY("listen twice", listen(l, 4));
    int a = socket(AF_INET, SOCK_STREAM, 0), b = socket(AF_INET6, SOCK_STREAM, 0);
    SAY("bind wrong family", bind(a, (struct sockaddr *)&(struct sockaddr){.sa_family = AF_UNIX}, 3));
    SAY("connect", connect(a, (struct sockaddr *)&address, sizeof address));
    SAY("connect again", connect(a, (struct sockaddr *)&address, sizeof address));
    SAY("__connect short", __connect(b, (struct sockaddr *)&address, 2));
    struct sockaddr_in peer;
    socklen_t n = sizeof peer;
    int c = accept(l, (struct sockaddr *)&peer, &n);
    printf("accept: family %d, %u bytes\n", peer.sin_family, n);
    int fl = fcntl(l, F_SETFL, O_NONBLOCK);
    SAY("accept empty", accept(l, NULL, NULL));
    SAY("accept4 wrong flags", accept4(l, NULL, NULL, 1));
    SAY("accept4 empty", accept4(l, NULL, NULL, SOCK_CLOEXEC));
    SAY("accept not listening", accept(a, NULL, NULL));
    int value = 1;
    n = sizeof value;
    SAY("setsockopt", setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value));
    SAY("getsockopt", getsockopt(a, IPPROTO_TCP, TCP_NODELAY, &value, &n));
    printf("nodelay %d, %u bytes, setfl %d\n", value, n, fl);
    SAY("getsockopt wrong", getsockopt(a, 12345, 1, &value, &n));
    SAY("setsockopt wrong", setsockopt(a, SOL_SOCKET, 12345, &value, sizeof value));
    SAY("shutdown", shutdown(a, SHUT_WR));
    SAY("shutdown wrong", shutdown(a, 9));
    SAY("shutdown not connected", shutdown(b, SHUT_RD));
    SAY("read end", read(c, &value, 4));
    SAY("bind closed", bind(999, (struct sockaddr *)&address, sizeof address));
    SAY("listen closed", listen(999, 1));
    SAY("connect closed", connect(999, (struct sockaddr *)&address, sizeof address));
    SAY("shutdown closed", shutdown(999, 0));
    close(a), close(b), close(c), close(l);
}

static char in[256];
/// Sends by each function and receives by each function, in turns.
void exercise_bytes(void) {
    int p[2];
    tcp_pair(p);
    struct iovec out[2] = {{"ab", 2}, {"cde", 3}}, parts[2] = {{in, 3}, {in + 3, 200}};
    struct sockaddr_storage from;
    socklen_t n = sizeof from;
#define TURN(name, send_call, receive_call)                                                                            \
    do {                                                                                                               \
        memset(in, 0, sizeof in);                                                                                      \
        SAY(name " out", send_call);                                                                                   \
        SAY(name " in", receive_call);                                                                                 \
        say_text(name, in, (long)strlen(in));                                                                          \
    } while (0)
    TURN("write read", write(p[0], "hello", 5), read(p[1], in, 200));
    TURN("__write __read", __write(p[0], "hello", 5), __read(p[1], in, 200));
    TURN("__read_chk", write(p[0], "hello", 5), __read_chk(p[1], in, 200, 256));
    TURN("send recv", send(p[0], "hello", 5, MSG_NOSIGNAL), recv(p[1], in, 2, MSG_PEEK));
    TURN("__send __recv_chk", __send(p[0], "!", 1, 0), __recv_chk(p[1], in, 6, 256, MSG_WAITALL));
    TURN("sendto recvfrom", sendto(p[0], "hello", 5, 0, NULL, 0), recvfrom(p[1], in, 200, 0, (void *)&from, &n));
    printf("from: %u bytes\n", n);
    TURN("__recvfrom_chk", sendto(p[0], "hello", 5, 0, (void *)&from, sizeof(struct sockaddr_in)),
         __recvfrom_chk(p[1], in, 200, 256, 0, NULL, NULL));
    TURN("writev readv", writev(p[0], out, 2), readv(p[1], parts, 2));
    TURN("pwritev2 preadv2", pwritev2(p[0], out, 2, -1, 0), preadv2(p[1], parts, 2, -1, 0));
    TURN("pwritev64v2 preadv64v2", pwritev64v2(p[0], out, 2, -1, 0), preadv64v2(p[1], parts, 2, -1, 0));
    int pipes[2];
    must(!pipe(pipes), "pipe");
    int memory = memfd_create("exercise", 0);
    must(write(memory, "0123456789", 10) == 10, "memfd");
    off_t at = 3;
    TURN("sendfile", sendfile(p[0], memory, &at, 4), recv(p[1], in, 200, 0));
    TURN("sendfile64", sendfile64(p[0], memory, &at, 9), recv(p[1], in, 200, 0));
    printf("offset %ld\n", (long)at);
    must(send(p[0], "out of a socket", 15, 0) == 15, "send");
    struct pollfd arrived = {p[1], POLLIN, 0};
    poll(&arrived, 1, 5000);
    long left = sendfile(pipes[1], p[1], NULL, 15);
    say_text("sendfile out of a socket", in, left > 0 ? read(pipes[0], in, sizeof in) : recv(p[1], in, sizeof in, 0));
    SAY_TRACKED("sendfile", p[1]);
    SAY("preadv2 at 0", preadv2(p[1], parts, 2, 0, 0));
    SAY("pwritev2 at 0", pwritev2(p[0], out, 2, 0, 0));
    SAY("readv many", readv(p[1], parts, 2000));
    SAY("writev negative", writev(p[0], out, -1));
    SAY("recv nothing", recv(p[1], in, 200, MSG_DONTWAIT));
    SAY("recvfrom negative", recvfrom(p[1], in, 200, MSG_DONTWAIT, (void *)&from, (n = (socklen_t)-5, &n)));
    SAY("send closed", send(999, "x", 1, 0));
    SAY("recv closed", recv(999, in, 1, 0));
    SAY("read closed", read(-1, in, 1));
    TURN("splice", write(pipes[1], "spliced", 7) == 7 ? splice(pipes[0], NULL, p[0], NULL, 7, 0) : -1, recv(p[1], in, 200, 0));
    SAY_TRACKED("splice", p[0]);
    TURN("preadv2 with a flag", send(p[0], "now", 3, 0), preadv2(p[1], parts, 2, -1, 1 /* RWF_HIPRI */));
    SAY_TRACKED("preadv2", p[1]);
    TURN("pwritev2 with a flag", pwritev2(p[0], out, 2, -1, 1), recv(p[1], in, 200, 0));
    close(p[1]);
    signal(SIGPIPE, SIG_IGN);
    send(p[0], "x", 1, 0);
    struct pollfd gone = {p[0], POLLIN, 0};
    poll(&gone, 1, 5000);
    SAY("send to nobody, first", send(p[0], "x", 1, 0));
    SAY("send to nobody", send(p[0], "x", 1, MSG_NOSIGNAL));
    close(p[0]), close(memory), close(pipes[0]), close(pipes[1]);
}

typedef int (*sendmmsg_function)(int, struct mmsghdr *, unsigned, int);
void exercise_messages(void) {
    int p[2];
    tcp_pair(p);
    struct iovec one = {"first", 5}, two = {"second", 6}, room[2] = {{in, 5}, {in + 100, 100}};
    struct msghdr out = {.msg_iov = &one, .msg_iovlen = 1}, back = {.msg_iov = room, .msg_iovlen = 2};
    SAY("sendmsg", sendmsg(p[0], &out, 0));
    SAY("recvmsg", recvmsg(p[1], &back, 0));
    printf("flags %d, control %zu, name %u\n", back.msg_flags, (size_t)back.msg_controllen, back.msg_namelen);
    back.msg_iovlen = 2000;
    SAY("recvmsg many", recvmsg(p[1], &back, 0));
    SAY("recvmsg null", recvmsg(p[1], NULL, 0));
    struct mmsghdr many[2] = {{.msg_hdr = {.msg_iov = &one, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &two, .msg_iovlen = 1}}};
    SAY("sendmmsg", sendmmsg(p[0], many, 2, 0));
    sendmmsg_function private = (sendmmsg_function)dlsym(RTLD_DEFAULT, "__sendmmsg");
    SAY("__sendmmsg", private(p[0], many, 1, 0));
    printf("lengths %u %u\n", many[0].msg_len, many[1].msg_len);
    struct mmsghdr got[3] = {{.msg_hdr = {.msg_iov = room, .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = room + 1, .msg_iovlen = 1}}};
    got[2] = got[1];
    struct timespec t = {0, -1};
    SAY("recvmmsg bad time", recvmmsg(p[1], got, 3, 0, &t));
    t = (struct timespec){3, 0};
    SAY("recvmmsg wait for one", recvmmsg(p[1], got, 3, MSG_WAITFORONE, &t));
    printf("lengths %u %u, time left %d\n", got[0].msg_len, got[1].msg_len, t.tv_sec == 2 && t.tv_nsec > 0);
    SAY("recvmmsg none", recvmmsg(p[1], got, 2, MSG_DONTWAIT, NULL));
    SAY("recvmmsg zero", recvmmsg(p[1], got, 0, 0, NULL));
    SAY("sendmmsg zero", sendmmsg(p[0], got, 0, 0));

    // Descriptors in messages, over a unix socket that is nobody's lane.
    int u[2];
    must(!socketpair(AF_UNIX, SOCK_STREAM, 0, u), "socketpair");
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control = {.header = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.header), (int[]){p[0], 0}, 2 * sizeof(int));
    struct msghdr carrier = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    SAY("sendmsg rights", sendmsg(u[0], &carrier, 0));
    SAY_TRACKED("passed", p[0]);
    memset(&control, 0, sizeof control);
    carrier.msg_iov = room;
    carrier.msg_controllen = sizeof control;
    SAY("recvmsg rights", recvmsg(u[1], &carrier, 0));
    int carried[2];
    memcpy(carried, CMSG_DATA(&control.header), sizeof carried);
    SAY("send by the passed one", send(carried[0], "via", 3, 0));
    SAY("recv", recv(p[1], in, 200, 0));
    struct mmsghdr batch = {.msg_hdr = carrier};
    memcpy(CMSG_DATA(&control.header), carried, sizeof carried);
    SAY("sendmmsg rights", sendmmsg(u[0], &batch, 1, 0));
    SAY("recvmmsg rights", recvmmsg(u[1], &batch, 1, 0, NULL));
    int again[2];
    memcpy(again, CMSG_DATA(&control.header), sizeof again);
    close(again[0]), close(again[1]), close(carried[0]), close(carried[1]);
    close(p[0]), close(p[1]), close(u[0]), close(u[1]);
}
