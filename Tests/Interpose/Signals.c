// Signals as a program sees them: the transcript must be the same with and without the library.
#include "Exercise.h"
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <ucontext.h>

typedef void (*handler)(int);
int __sigaction(int, const struct sigaction *, struct sigaction *);
handler bsd_signal(int, handler);
handler __sysv_signal(int, handler);

static volatile sig_atomic_t hits;
static void count(int signal) { (void)signal, hits++; }
static void other(int signal) { (void)signal, hits += 100; }
static const char *name_of(void *h) {
    return h == SIG_DFL ? "default" : h == SIG_IGN ? "ignore" : h == SIG_ERR ? "error" : h == SIG_HOLD ? "hold"
        : h == count ? "count" : h == other ? "other" : "unknown";
}
static void say_action(const char *when, int signal) {
    struct sigaction a;
    memset(&a, 0x55, sizeof a);
    must(!sigaction(signal, NULL, &a), "sigaction");
    unsigned long mask;
    memcpy(&mask, &a.sa_mask, sizeof mask);
    printf("%s: %s flags %x mask %lx\n", when, name_of(a.sa_handler), a.sa_flags, mask);
}

static void actions(void) {
    struct sigaction a = {.sa_handler = count, .sa_flags = SA_RESTART}, b = {.sa_handler = other, .sa_flags = SA_NODEFER}, old;
    sigaddset(&a.sa_mask, SIGUSR2), sigaddset(&a.sa_mask, SIGKILL);
    say_action("first", SIGUSR1);
    SAY("sigaction", sigaction(SIGUSR1, &a, NULL));
    say_action("set", SIGUSR1);
    SAY("__sigaction", __sigaction(SIGUSR1, &b, &old));
    printf("old %s %x\n", name_of(old.sa_handler), old.sa_flags);
    SAY("restored", sigaction(SIGUSR1, &old, &old));
    say_action("again", SIGUSR1);
    a.sa_handler = SIG_IGN;
    SAY("ignored", sigaction(SIGUSR1, &a, &old));
    printf("old %s\n", name_of(old.sa_handler));
    say_action("ignored", SIGUSR1);
    SAY("SIGKILL", sigaction(SIGKILL, &b, NULL));
    SAY("SIGSTOP", sigaction(SIGSTOP, &b, &old));
    SAY("too high", sigaction(65, &b, NULL));
    SAY("zero", sigaction(0, &b, NULL));
    SAY("libc's own", sigaction(32, &b, NULL));
    SAY("highest", sigaction(64, &b, NULL));
    say_action("highest", 64);

    printf("signal %s\n", name_of(signal(SIGUSR1, count)));
    say_action("signal", SIGUSR1);
    printf("signal %s\n", name_of(signal(SIGUSR1, other)));
    printf("bsd_signal %s\n", name_of(bsd_signal(SIGUSR1, count)));
    printf("ssignal %s\n", name_of(ssignal(SIGUSR1, other)));
    SAY("siginterrupt", siginterrupt(SIGUSR1, 1));
    say_action("siginterrupt", SIGUSR1);
    signal(SIGUSR1, count);
    say_action("signal after it", SIGUSR1);
    SAY("siginterrupt back", siginterrupt(SIGUSR1, 0));
    say_action("siginterrupt back", SIGUSR1);
    SAY("siginterrupt wrong", siginterrupt(99, 1));
    printf("sysv_signal %s\n", name_of(sysv_signal(SIGUSR1, other)));
    say_action("sysv_signal", SIGUSR1);
    raise(SIGUSR1);
    say_action("one shot", SIGUSR1);
    printf("__sysv_signal %s\n", name_of(__sysv_signal(SIGUSR1, count)));
    printf("signal wrong %s", name_of(signal(SIGUSR1, SIG_ERR)));
    printf(" %s\n", name_of(signal(99, count)));

    printf("sigset %s\n", name_of(sigset(SIGUSR2, count)));
    printf("sigset hold %s\n", name_of(sigset(SIGUSR2, SIG_HOLD)));
    printf("sigset held %s\n", name_of(sigset(SIGUSR2, other)));
    say_action("sigset", SIGUSR2);
    SAY("sigignore", sigignore(SIGUSR2));
    say_action("sigignore", SIGUSR2);
    signal(SIGINT, count);
    SAY("system", system("true"));
    say_action("after system", SIGINT);
    printf("hits %d\n", hits);
}

static sigjmp_buf back;
static void leave(int signal) { siglongjmp(back, signal); }
static void say_mask(const char *when) {
    sigset_t s;
    unsigned long mask;
    sigprocmask(SIG_BLOCK, NULL, &s);
    memcpy(&mask, &s, sizeof mask);
    printf("%s: mask %lx\n", when, mask);
}
static void full(int signal, siginfo_t *info, void *context) {
    unsigned long mask;
    memcpy(&mask, &((ucontext_t *)context)->uc_sigmask, sizeof mask);
    printf("signal %d code %d value %d from self %d, interrupted mask %lx\n", signal, info->si_code, info->si_value.sival_int,
           info->si_pid == getpid(), mask);
    say_mask("in the handler");
}
static void nested(int signal) {
    static int depth;
    printf("depth %d\n", ++depth);
    if (depth < 3) raise(signal);
    printf("back at %d\n", depth--);
}
static char *alternate;
static void where(int signal) {
    (void)signal;
    char here;
    printf("on the alternate stack %d\n", &here >= alternate && &here < alternate + 65536);
}

static void deliveries(void) {
    struct sigaction a = {.sa_sigaction = full, .sa_flags = SA_SIGINFO};
    sigaddset(&a.sa_mask, SIGHUP);
    sigaction(SIGUSR1, &a, NULL);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 1234});
    say_mask("after it");
    a.sa_flags |= SA_NODEFER;
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
    sigaction(SIGSEGV, &a, NULL); // one that is never put off keeps its own mask
    raise(SIGSEGV);
    a = (struct sigaction){.sa_handler = nested, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
    for (int i = 0, signals[] = {SIGUSR1, SIGSEGV, SIGALRM}; i < 3; i++) {
        signal(signals[i], leave);
        int came = sigsetjmp(back, 1);
        if (!came) raise(signals[i]);
        printf("left by %d\n", came);
        say_mask("after siglongjmp");
    }
    signal(SIGSEGV, leave);
    int came = sigsetjmp(back, 1);
    if (!came) *(volatile int *)8 = 1;
    printf("fault %d\n", came);
    signal(SIGSEGV, SIG_DFL);
    alternate = malloc(65536);
    sigaltstack(&(stack_t){.ss_sp = alternate, .ss_size = 65536}, NULL);
    a = (struct sigaction){.sa_handler = where, .sa_flags = SA_ONSTACK | (int)SA_RESETHAND};
    sigaction(SIGUSR1, &a, NULL);
    raise(SIGUSR1);
    say_action("reset", SIGUSR1);
    hits = 0;
    signal(SIGUSR1, count), signal(SIGUSR2, count);
    sigset_t both, before;
    sigemptyset(&both), sigaddset(&both, SIGUSR1), sigaddset(&both, SIGUSR2);
    sigprocmask(SIG_BLOCK, &both, &before);
    raise(SIGUSR1), raise(SIGUSR2), raise(SIGUSR1);
    printf("blocked %d\n", hits);
    sigprocmask(SIG_SETMASK, &before, NULL);
    printf("then %d\n", hits);
}

// A blocking call and a handler: the helper waits until the thread sleeps, signals it, and then lets the call end.
static pthread_t sleeper;
static pid_t sleeper_id;
static int way[2];
static void *disturb(void *ignored) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", sleeper_id);
    int before = hits;
    for (int asleep = 0; !asleep; sched_yield()) {
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        text[n > 0 ? n : 0] = 0;
        asleep = strstr(text, ") S") != NULL;
    }
    pthread_kill(sleeper, SIGUSR1);
    while (hits == before) sched_yield();
    must(write(way[1], "x", 1) == 1, "write");
    return ignored;
}
#define DISTURBED(name, flags, call)                                                                                   \
    do {                                                                                                               \
        struct sigaction a = {.sa_handler = count, .sa_flags = flags};                                                 \
        sigaction(SIGUSR1, &a, NULL);                                                                                  \
        pthread_t helper;                                                                                              \
        sleeper = pthread_self(), sleeper_id = gettid();                                                               \
        pthread_create(&helper, NULL, disturb, NULL);                                                                  \
        SAY(name, call);                                                                                               \
        pthread_join(helper, NULL);                                                                                    \
        SAY("left", recv(way[0], &(char[8]){0}, 8, MSG_DONTWAIT));                                                     \
    } while (0)
static void restarts(void) {
    char c;
    struct pollfd f;
    must(!pipe(way), "pipe");
    DISTURBED("read of a pipe, SA_RESTART", SA_RESTART, read(way[0], &c, 1));
    DISTURBED("read of a pipe", 0, read(way[0], &c, 1));
    close(way[0]), close(way[1]);
    tcp_pair(way);
    f = (struct pollfd){way[0], POLLIN, 0};
    DISTURBED("recv, SA_RESTART", SA_RESTART, recv(way[0], &c, 1, 0));
    DISTURBED("recv", 0, recv(way[0], &c, 1, 0));
    DISTURBED("read, SA_RESTART", SA_RESTART, read(way[0], &c, 1));
    DISTURBED("poll, SA_RESTART", SA_RESTART, poll(&f, 1, -1));
    struct timeval limit = {100, 0};
    setsockopt(way[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    DISTURBED("recv with a limit, SA_RESTART", SA_RESTART, recv(way[0], &c, 1, 0));
    close(way[0]), close(way[1]);
}

/// Leaves a poll by each of the jumps.
static volatile int by;
_Noreturn void __longjmp_chk(struct __jmp_buf_tag *, int);
static void jump(int signal) {
    hits++;
    switch (by) {
    case 1: longjmp(back, signal);
    case 2: _longjmp(back, signal);
    case 3: __longjmp_chk(back, signal);
    default: siglongjmp(back, signal);
    }
}
static void jumps(void) {
    tcp_pair(way);
    struct sigaction a = {.sa_handler = jump, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &a, NULL);
    for (by = 0; by < 4; by++) {
        pthread_t helper;
        sleeper = pthread_self(), sleeper_id = gettid();
        pthread_create(&helper, NULL, disturb, NULL);
        int came = sigsetjmp(back, 1);
        if (!came) printf("poll %d\n", poll(&(struct pollfd){way[0], POLLIN, 0}, 1, -1));
        printf("jumped by %d\n", came);
        pthread_join(helper, NULL);
        SAY("left", recv(way[0], &(char[8]){0}, 8, 0));
    }
    close(way[0]), close(way[1]);
}

/// As the system call takes it.
struct raw {
    handler action;
    unsigned long flags;
    void *restorer;
    unsigned long mask;
};
static void raw_actions(void) {
    struct raw a = {count, SA_RESTART, NULL, 0}, old;
    signal(SIGUSR1, other); // libc's restorer comes with it
    SAY("rt_sigaction asks", syscall(SYS_rt_sigaction, SIGUSR1, NULL, &a, 8));
    printf("%s flags %lx mask %lx\n", name_of(a.action), a.flags, a.mask);
    a.action = count, a.mask = 1ul << (SIGUSR2 - 1);
    SAY("rt_sigaction", syscall(SYS_rt_sigaction, SIGUSR1, &a, &old, 8));
    printf("old %s flags %lx mask %lx\n", name_of(old.action), old.flags, old.mask);
    say_action("rt_sigaction", SIGUSR1);
    hits = 0;
    raise(SIGUSR1);
    printf("hits %d\n", hits);
    SAY("rt_sigaction wrong size", syscall(SYS_rt_sigaction, SIGUSR1, &a, &old, 16));
    SAY("rt_sigaction wrong address", syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8));
    SAY("rt_sigaction SIGKILL", syscall(SYS_rt_sigaction, SIGKILL, &a, NULL, 8));
    SAY("rt_sigaction too high", syscall(SYS_rt_sigaction, 65, &a, NULL, 8));
    SAY("rt_sigaction 33", syscall(SYS_rt_sigaction, 33, NULL, &old, 8));
    a.action = SIG_DFL;
    SAY("rt_sigaction default", syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 8));
    say_action("rt_sigaction default", SIGUSR1);
}

static void children(void) {
    signal(SIGUSR1, count);
    hits = 0;
    fflush(stdout);
    pid_t pid = vfork();
    if (pid == 0) { // sets handlers of its own and is not to touch its parent's
        signal(SIGUSR1, other);
        signal(SIGUSR2, SIG_IGN);
        _exit(signal(SIGUSR1, SIG_DFL) == other ? 3 : 4);
    }
    say_end("vfork", pid);
    say_action("after vfork", SIGUSR1);
    raise(SIGUSR1);
    printf("hits %d\n", hits);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        handler was = signal(SIGUSR1, other);
        raise(SIGUSR1);
        _exit(was == count && hits == 101 ? 3 : 4);
    }
    say_end("fork", pid);
    raise(SIGUSR1);
    printf("hits %d\n", hits);
}

static void *change_often(void *h) {
    for (int i = 0; i < 20000; i++) signal(SIGUSR2, h);
    return NULL;
}
static void many(void) {
    pthread_t t[2];
    hits = 0;
    signal(SIGUSR2, count);
    pthread_create(&t[0], NULL, change_often, count);
    pthread_create(&t[1], NULL, change_often, other);
    for (int i = 0; i < 20000; i++) raise(SIGUSR2);
    pthread_join(t[0], NULL), pthread_join(t[1], NULL);
    printf("all ran %d\n", hits >= 20000 && hits <= 2000000);
    for (int i = 0; i < 500; i++) { // more different actions than one block of them holds
        struct sigaction a = {.sa_handler = count};
        memcpy(&a.sa_mask, &(unsigned long){(unsigned long)i << 34}, 8);
        must(!sigaction(SIGUSR1, &a, NULL), "sigaction");
    }
    say_action("last of many", SIGUSR1);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    actions();
    deliveries();
    restarts();
    jumps();
    raw_actions();
    children();
    many();
    puts("done");
    return 0;
}
