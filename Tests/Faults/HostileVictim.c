// The victim of the hostile peer, which serves others too, and these others.
#include "Hostile.h"
#include <pthread.h>
#include <sys/epoll.h>

static int64_t thread_cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}
/// Notes the CPU time of a call that began then.
static void note_call(int64_t began) {
    if (s->begun) __atomic_fetch_add(&s->calls[bucket_of((uint64_t)(thread_cpu_ns() - began))], 1, __ATOMIC_RELAXED);
}

static void become_ordinary(void) {
    if (!s->ordinary) return;
    if (setresgid(ORDINARY, ORDINARY, ORDINARY) < 0 || setresuid(ORDINARY, ORDINARY, ORDINARY) < 0) problem("setresuid: %s", strerror(errno));
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

/// An attacked connection has ended: its number stays open for a while, so that its reason can be asked for.
static void keep_ended(int fd) {
    pthread_mutex_lock(&keeping);
    s->ended++;
    if (s->kept_count == KEPT) {
        close(s->kept[0]);
        memmove((void *)s->kept, (void *)(s->kept + 1), sizeof s->kept - sizeof *s->kept);
        s->kept_count--;
    }
    s->kept[s->kept_count++] = fd;
    pthread_mutex_unlock(&keeping);
}

static void close_kept(void) {
    pthread_mutex_lock(&keeping);
    while (s->kept_count > 0) close(s->kept[--s->kept_count]);
    pthread_mutex_unlock(&keeping);
}

/// Sends back what comes. False: the connection is over.
static bool serve(int fd, int flags) {
    static __thread uint8_t bytes[1 << 16];
    int64_t began = thread_cpu_ns();
    ssize_t n = recv(fd, bytes, sizeof bytes, flags);
    note_call(began);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    s->served++;
    // A good one has never more under way than fits; of a bad one the rest is left out.
    began = thread_cpu_ns();
    n = send(fd, bytes, (size_t)n, flags | MSG_NOSIGNAL);
    note_call(began);
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static void *block_on(void *argument) {
    int fd = (int)(long)argument;
    struct timeval t = {.tv_usec = 200000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    while (!s->over && serve(fd, 0)) {}
    keep_ended(fd);
    return NULL;
}

static void watch(int set, int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (s->blocking && fd != s->listener) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, block_on, (void *)(long)fd) == 0) pthread_detach(thread);
    } else if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0) problem("epoll_ctl: %s", strerror(errno));
}

void victim(void) {
    struct epoll_event events[16];
    become_ordinary();
    int set = epoll_create1(EPOLL_CLOEXEC), port = 0;
    s->listener = listen_here(&port);
    watch(set, s->listener);
    s->port = port;
    while (!s->over) {
        if (s->attack_port && s->wanted > s->dialled) {
            s->dialled++;
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)s->attack_port)};
            if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) {
                send(fd, "H", 1, MSG_NOSIGNAL);
                watch(set, fd);
            } else close(fd);
        }
        if (s->tidies) close_kept();
        int64_t began = thread_cpu_ns();
        int n = epoll_wait(set, events, 16, 20);
        note_call(began);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == s->listener) {
                fd = accept(fd, NULL, NULL);
                if (fd >= 0) watch(set, fd);
            } else if (!serve(fd, MSG_DONTWAIT)) {
                epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
                keep_ended(fd);
            }
        }
    }
    exit(0);
}

// MARK: the others

void good_client(int index) {
    uint8_t out[GOOD_BYTES], in[GOOD_BYTES];
    become_ordinary();
    while (!s->port) breathe();
    int fd = connect_to(s->port);
    for (uint64_t i = 0; !s->over; i++) {
        if (s->paused) {
            breathe();
            continue;
        }
        if (s->renews && index == 0 && i % 32 == 31) { // a meeting, with which what was left behind goes
            close(fd);
            fd = connect_to(s->port);
        }
        bool attacked = s->attacks;
        for (int k = 0; k < GOOD_BYTES; k++) out[k] = stream_byte((uint64_t)index, i * GOOD_BYTES + (uint64_t)k);
        int64_t began = now_ns();
        bool is_sent = send_all(fd, out, sizeof out), is_there = is_sent && recv_all(fd, in, sizeof in);
        if (s->over) exit(0);
        if (!is_there) problem("client %d %s: %s", index, is_sent ? "receives" : "sends", errno ? strerror(errno) : "end of stream");
        if (memcmp(in, out, sizeof in)) problem("client %d: message %lu is wrong", index, (unsigned long)i);
        s->times[attacked][index][bucket_of((uint64_t)(now_ns() - began))]++;
        s->rounds[index]++;
        if (i % 64 == 63) breathe();
    }
    exit(0);
}

