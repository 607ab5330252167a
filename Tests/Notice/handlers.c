// A handler with SA_ONSTACK, while its thread sends and receives: does it always run on the stack that it has asked for?
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>

static char stack[1 << 16];
static volatile sig_atomic_t count, elsewhere;

static void handler(int number) {
    char here;
    (void)number;
    count++;
    if (&here < stack || &here >= stack + sizeof stack) elsewhere++;
}

int main(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), ends[2] = {socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    if (bind(listener, (void *)&a, n) || listen(listener, 1) || getsockname(listener, (void *)&a, &n) || connect(ends[0], (void *)&a, n)) return 1;
    ends[1] = accept(listener, NULL, NULL);
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART}, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 100}, {0, 100}}, NULL);
    char byte = 'x';
    while (count < 3000 && !elsewhere)
        for (int i = 0; i < 2; i++)
            if (send(ends[i], &byte, 1, 0) != 1 || recv(ends[!i], &byte, 1, 0) != 1) return 1;
    puts(elsewhere ? "not always" : "always");
    return 0;
}
