// Little memory, locked memory, little stack.
#include "Strange.h"
#include <ucontext.h>

static long status_kb(const char *key) {
    char line[256];
    long kb = -1;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key))) kb = atol(line + strlen(key));
    if (file) fclose(file);
    return kb;
}
static void limit_memory(long more_kb) {
    struct rlimit l = {(rlim_t)(status_kb("VmSize:") + more_kb) * 1024, RLIM_INFINITY};
    l.rlim_max = l.rlim_cur;
    MUST(setrlimit(RLIMIT_AS, &l));
}
#define NO_ROOM KERNEL("no address space for the memory of a pair")
static void live_on(int fd, const char *later) {
    int ends[2], more[5];
    talk(fd, 100);
    look(fd, fd);
    from_now(later);
    for (int i = 0; i < 5; i++) talk(more[i] = warm(), 50);
    warm_pair(ends);
    pass(ends[0], ends[1], 50);
    talk(fd, 100);
    for (int i = 0; i < 5; i++) close(more[i]);
    close(ends[0]), close(ends[1]), close(fd);
}
static bool is_listener(const char *list, const char *at) {
    unsigned long flags = 0;
    while (at > list && at[-1] != '\n') at--;
    return sscanf(at, "%*s %*s %*s %lx", &flags) == 1 && flags & 0x10000;
}
/// Descriptors of a process, without memory of our own; with `names`, those that listen for other ends.
static int held(pid_t process, bool names) {
    static char list[1 << 15], sockets[1 << 20];
    char path[64], target[64], wanted[64];
    long n, count = 0, length = 0;
    int fd = names ? (int)MUST(open("/proc/net/unix", O_RDONLY | O_CLOEXEC)) : -1;
    while (names && (n = MUST(read(fd, sockets + length, sizeof sockets - 1 - (size_t)length))) > 0) length += n;
    sockets[length] = 0;
    if (names) close(fd);
    snprintf(path, sizeof path, "/proc/%d/fd", process);
    fd = (int)MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    while ((n = MUST(syscall(SYS_getdents64, fd, list, sizeof list))) > 0)
        for (long at = 0; at < n; at += *(unsigned short *)(list + at + 16)) {
            const char *name = list + at + 19;
            long m = *name == '.' ? -1 : readlinkat(fd, name, target, sizeof target - 1);
            if (m < 0) continue;
            target[m] = 0;
            if (!names) count++;
            if (!names || sscanf(target, "socket:[%48[0-9]", wanted) != 1) continue;
            for (char *found = sockets; (found = strstr(found, wanted)); found++)
                if (found[-1] == ' ' && !strncmp(found + strlen(wanted), " @slu1", 6) && is_listener(sockets, found)) count++;
        }
    close(fd);
    return (int)count;
}
/// Lives three times more; then both processes have what they had, and nobody listens for an end that is gone. `first`: the
/// place of each time's first connection.
static void no_residue(const char *first) {
    pid_t processes[] = {getpid(), peer_id};
    int before[2] = {-1, -1}, now[2], names[2];
    // In chaos an end sleeps for the first time, and tells its bell, in any round: one for each of three pairs at most.
    int bells = getenv("SLUICE_CHAOS") ? 3 : 0;
    for (int round = 0; round < 4; round++) {
        if (round) from_now(first), live_on(warm(), NO_ROOM);
        bool more = true;
        for (int tries = 0; more && tries < 100; tries++) { // the peer sees the ends later
            usleep(20000);
            more = false;
            for (int i = 0; i < 2; i++) {
                now[i] = held(processes[i], false), names[i] = held(processes[i], true);
                more |= names[i] || (round && now[i] > before[i] + bells);
            }
            if (!round && tries < 5) more = true;
        }
        if (more) fail("round %d: %d and %d descriptors, %d and %d before, %d and %d names", round, now[0], now[1], before[0], before[1], names[0], names[1]);
        if (!round) memcpy(before, now, sizeof before);
    }
}
CASE(no_more_memory, LANE) {
    int fd = warm();
    limit_memory(0);
    live_on(fd, NO_ROOM);
    no_residue(LANE); // in the place of the one that has ended
}
CASE(no_memory_from_the_start, NO_ROOM) { limit_memory(0); live_on(warm(), NO_ROOM); no_residue(NO_ROOM); }
CASE(no_memory_at_both_ends, NO_ROOM) {
    limit_memory(0);
    start_peer();
    live_on(warm(), NO_ROOM);
    no_residue(NO_ROOM);
}
CASE(little_memory_from_the_start, NO_ROOM) { limit_memory(300); live_on(warm(), NO_ROOM); no_residue(NO_ROOM); }
CASE(some_memory_from_the_start, LANE) { limit_memory(3000); live_on(warm(), NO_ROOM); } // for one connection
CASE(no_file_size, KERNEL("memory to share cannot grow")) { // a memfd cannot grow either; no SIGXFSZ may come
    MUST(setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, 0}));
    live_on(warm(), KERNEL("memory to share cannot grow"));
}
CASE(locked_memory, LANE) { // what is locked stays small
    long before = status_kb("VmRSS:");
    MUST(mlockall(MCL_CURRENT | MCL_FUTURE));
    int fds[20];
    for (int i = 0; i < 20; i++) fds[i] = warm();
    for (int i = 0; i < 20; i++) talk(fds[i], 50), look(fds[i], fds[i]);
    long grown = status_kb("VmRSS:") - before;
    printf("grown by less than 16 MB: %d\n", grown < 16384 ? 1 : (int)grown);
}
CASE(locked_memory_with_a_limit, LANE) {
    needs_root();
    rlim_t bytes = (rlim_t)status_kb("VmSize:") * 1024 + 300000;
    MUST(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){bytes, bytes}));
    MUST(setresuid(65534, 65534, 65534));
    start_peer(); // of the same user
    SAY(mlockall(MCL_FUTURE));
    live_on(warm(), LANE);
}

// Small stacks: of threads, of contexts, of handlers.
static void *small_talk(void *fd) {
    char bytes[64] = "small";
    int s = (int)(intptr_t)fd, set = epoll_create1(0);
    struct epoll_event e = {EPOLLIN, {0}};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, s, &e));
    for (int i = 0; i < 300; i++) {
        MUST(send(s, bytes, sizeof bytes, 0));
        struct pollfd p = {s, POLLIN, 0};
        fd_set r;
        FD_ZERO(&r);
        FD_SET(s, &r);
        if (i % 3 == 0) MUST(poll(&p, 1, 20000));
        if (i % 3 == 1) MUST(epoll_wait(set, &e, 1, 20000));
        if (i % 3 == 2) MUST(select(s + 1, &r, NULL, NULL, NULL));
        MUST(recv(s, bytes, sizeof bytes, MSG_WAITALL));
    }
    close(set);
    return NULL;
}
static void on_thread(size_t stack) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    int refused = pthread_attr_setstacksize(&attributes, stack);
    int s = dial();
    if (!refused) refused = pthread_create(&thread, &attributes, small_talk, (void *)(intptr_t)s);
    printf("thread: %d\n", refused);
    if (!refused) pthread_join(thread, NULL);
    talk(s, 20);
    look(s, s);
}
CASE(thread_with_16k, LANE) { on_thread(16384); }
CASE(thread_with_least_stack, LANE) { on_thread((size_t)sysconf(_SC_THREAD_STACK_MIN)); }

static ucontext_t outer, inner;
static int context_fd;
static void in_context(void) { small_talk((void *)(intptr_t)context_fd); }
static void on_context(size_t stack) {
    char *memory = mmap(NULL, stack + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, 4096, PROT_NONE);
    context_fd = dial();
    getcontext(&inner);
    inner.uc_stack.ss_sp = memory + 4096;
    inner.uc_stack.ss_size = stack;
    inner.uc_link = &outer;
    makecontext(&inner, in_context, 0);
    swapcontext(&outer, &inner);
    talk(context_fd, 20);
    look(context_fd, context_fd);
}
CASE(context_with_8k, LANE) { on_context(8192); }
CASE(context_with_16k, LANE) { on_context(16384); }

static volatile int handler_fd, hits;
static void sends(int signal) {
    (void)signal;
    int saved = errno;
    if (send(handler_fd, "h", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) hits++;
    errno = saved;
}
static void handlers(size_t beyond) {
    size_t size = (size_t)sysconf(_SC_MINSIGSTKSZ) + beyond;
    char *memory = mmap(NULL, 65536 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory, 4096, PROT_NONE);
    size = (size + 15) & ~15ul;
    MUST(sigaltstack(&(stack_t){.ss_sp = memory + 4096, .ss_size = size}, NULL));
    int ends[2], fd = warm();
    warm_pair(ends);
    handler_fd = ends[0];
    struct sigaction action = {.sa_handler = sends, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval every = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &every, NULL);
    long got = 0;
    char bytes[512];
    for (int i = 0; i < 2000 && (hits < 500 || i < 100); i++) {
        talk(fd, 20);
        long n = recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) got += n;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    while (got < hits) {
        long n = recv(ends[1], bytes, sizeof bytes, 0);
        if (n <= 0) fail("%d sent, %ld received", hits, got);
        got += n;
    }
    printf("handlers ran: %d, equal: %d\n", hits > 0, got == hits);
    look(fd, fd);
    look(ends[0], ends[1]);
}
CASE(handlers_on_4k, LANE) { handlers(4096); }
CASE(handlers_on_16k, LANE) { handlers(16384); }
