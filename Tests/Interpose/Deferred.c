// Handlers and critical sections, asked of the stand-in core: what must wait waits, with the siginfo of its arrival and
// the mask it would have had; what must not wait does not; counts are there before the handler runs.
#include "StandIn.h"
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int fd, inside, order, failures;
#define EXPECT(truth)                                                                                                  \
    do {                                                                                                               \
        if (!(truth)) printf("line %d: not so: %s\n", __LINE__, #truth), failures++;                                   \
    } while (0)

struct arrival {
    int signal, code, value, inside, order;
    unsigned long mask, interrupted;
} got[8];
static int arrivals;
static unsigned long mask_now(void) {
    unsigned long m;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &m, 8);
    return m;
}
static void note(int signal, siginfo_t *info, void *context) {
    if (arrivals == 8) return;
    unsigned long interrupted;
    memcpy(&interrupted, &((ucontext_t *)context)->uc_sigmask, 8);
    got[arrivals++] = (struct arrival){signal, info->si_code, info->si_value.sival_int, inside, ++order, mask_now(), interrupted};
}
static void install(int signal, int flags, int also_blocks) {
    struct sigaction a = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&a.sa_mask);
    if (also_blocks) sigaddset(&a.sa_mask, also_blocks);
    EXPECT(!sigaction(signal, &a, NULL));
}
static int critical(void (*function)(void)) {
    arrivals = order = 0;
    return ioctl(fd, STANDIN_CRITICAL, function);
}
static void handlers(uint32_t counts[2]) { EXPECT(!ioctl(fd, STANDIN_HANDLERS, counts)); }

static void queue_one(void) {
    inside = 1;
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42});
    inside = 0;
}
static void raise_three(void) {
    inside = 1;
    raise(SIGUSR1), raise(SIGUSR2), raise(SIGRTMIN + 3);
    inside = 0;
}
static void raise_prompt(void) {
    inside = 1;
    raise(SIGPROF), raise(SIGSEGV), raise(SIGTRAP);
    inside = 0;
}
static void raise_twice(void) {
    inside = 1;
    raise(SIGUSR1), raise(SIGUSR1);
    inside = 0;
}
static void quiet(void) {}

static sigjmp_buf back;
static void leave(int signal) { siglongjmp(back, signal); }
#define BIT(s) (1ul << ((s) - 1))

int main(void) {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    uint32_t before[2], after[2];
    EXPECT(critical(quiet) == 0);

    install(SIGUSR1, SA_RESTART, SIGHUP);
    handlers(before);
    EXPECT(critical(queue_one) == 1);
    handlers(after);
    EXPECT(arrivals == 1 && !got[0].inside && got[0].signal == SIGUSR1 && got[0].code == SI_QUEUE && got[0].value == 42);
    EXPECT(got[0].mask == (BIT(SIGUSR1) | BIT(SIGHUP)) && got[0].interrupted == 0);
    EXPECT(mask_now() == 0);
    EXPECT(after[0] == before[0] + 1 && after[1] == before[1]);

    // Outside a critical section: at once, counted by its flag.
    install(SIGUSR1, 0, 0);
    queue_one();
    EXPECT(arrivals == 2 && got[1].inside && got[1].mask == BIT(SIGUSR1));
    handlers(before);
    EXPECT(before[0] == after[0] && before[1] == after[1] + 1);

    // One waits, the others are blocked until then; all arrive, none inside.
    install(SIGUSR2, 0, 0), install(SIGRTMIN + 3, 0, 0);
    EXPECT(critical(raise_three) == 1);
    EXPECT(arrivals == 3 && !got[0].inside && !got[1].inside && !got[2].inside);
    EXPECT(mask_now() == 0);
    EXPECT(critical(raise_twice) == 1 && arrivals == 2); // the second one was pending meanwhile
    sigset_t blocked;
    sigemptyset(&blocked), sigaddset(&blocked, SIGHUP);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    EXPECT(critical(queue_one) == 1 && got[0].interrupted == BIT(SIGHUP) && got[0].mask == (BIT(SIGHUP) | BIT(SIGUSR1)));
    EXPECT(mask_now() == BIT(SIGHUP));
    sigemptyset(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL);

    // Faults and profilers do not wait.
    install(SIGPROF, 0, 0), install(SIGSEGV, 0, 0), install(SIGTRAP, 0, 0);
    EXPECT(critical(raise_prompt) == 0 && arrivals == 3 && got[0].inside && got[1].inside && got[2].inside);

    install(SIGUSR1, SA_NODEFER, SIGUSR2);
    EXPECT(critical(queue_one) == 1 && got[0].mask == BIT(SIGUSR2));
    install(SIGUSR1, (int)SA_RESETHAND, 0);
    EXPECT(critical(queue_one) == 1 && arrivals == 1);
    struct sigaction a;
    EXPECT(!sigaction(SIGUSR1, NULL, &a) && a.sa_handler == SIG_DFL);

    // Leaving by siglongjmp: out of a deferred one, then everything works as before.
    signal(SIGUSR1, leave);
    int came = sigsetjmp(back, 1);
    if (!came) EXPECT(critical(queue_one) && !"came back");
    EXPECT(came == SIGUSR1 && mask_now() == 0);
    install(SIGUSR1, 0, 0);
    EXPECT(critical(queue_one) == 1 && arrivals == 1 && !got[0].inside);
    signal(SIGUSR1, SIG_IGN);
    EXPECT(critical(queue_one) == 0);
    return failures ? 1 : 0;
}
