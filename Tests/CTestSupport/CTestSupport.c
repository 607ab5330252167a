#include "CTestSupport.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/// The core asks for its settings by this; in tests none is set.
const char *sluice_getenv(const char *name);
const char *sluice_getenv(const char *name) {
    (void)name;
    return NULL;
}

const char *sluice_variable(long place);
const char *sluice_variable(long place) {
    (void)place;
    return NULL;
}

void sluice_crowded_from(int fd);
void sluice_crowded_from(int fd) { (void)fd; }

pid_t CTestSupport_fork(int (*body)(void *), void *context) {
    pid_t child = fork();
    if (child != 0) return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body(context));
}

int CTestSupport_await(pid_t child, int milliseconds) {
    int status;
    int process = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd end = {.fd = process, .events = POLLIN};
    int ended = process >= 0 && poll(&end, 1, milliseconds) == 1;
    if (process >= 0) close(process);
    if (!ended || waitpid(child, &status, 0) != child) return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

void CTestSupport_kill(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

typedef struct worker {
    pthread_t thread;
    void (*body)(void *, int);
    void *context;
    int index;
} worker;

static void *work(void *argument) {
    worker *w = argument;
    w->body(w->context, w->index);
    return NULL;
}

void CTestSupport_threads(int count, void (*body)(void *context, int index), void *context) {
    worker workers[16];
    for (int i = 0; i < count; i++) {
        workers[i] = (worker){.body = body, .context = context, .index = i};
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) abort();
    }
    for (int i = 0; i < count; i++) pthread_join(workers[i].thread, NULL);
}

void CTestSupport_yield(void) { sched_yield(); }

long CTestSupport_send(int fd, const void *bytes, size_t length, const int *passed, size_t count) {
    struct iovec part = {(void *)bytes, length};
    union {
        char room[CMSG_SPACE(200 * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 200) return -EINVAL;
    if (count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), passed, count * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int CTestSupport_hangs_up(int pipe, int milliseconds) {
    struct pollfd end = {.fd = pipe};
    return poll(&end, 1, milliseconds) == 1 && (end.revents & POLLHUP) != 0;
}

long CTestSupport_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }
