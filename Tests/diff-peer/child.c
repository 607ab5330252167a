// What this program does when a case executes it anew with a socket.
#include "harness.h"

static int echo(int fd) {
    char buffer[512];
    ssize_t got;
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
        dp_log("read %s", dp_bytes(buffer, got));
        if (write(fd, buffer, got) != got) dp_log("write: %s", dp_errno_name(errno));
    }
    dp_log("ends with %zd", got);
    return 0;
}

static int read_rest(int fd) {
    // All that the first image had not read, then what is sent to this one, then the end.
    static char buffer[100000];
    size_t used = 0;
    dp_tell("child reads");
    ssize_t got;
    while ((got = read(fd, buffer + used, sizeof buffer - used)) > 0) used += got;
    dp_log("read %s, then %zd", dp_bytes(buffer, used), got);
    dp_say(fd, "thanks");
    return 0;
}

static int stdio(void) {
    char line[200];
    while (fgets(line, sizeof line, stdin)) printf("<%s", line);
    printf(".\n");
    return fflush(stdout);
}

static int serve(int listener) {
    int fd = (int)DP_MUST(accept(listener, NULL, NULL));
    dp_warm(fd);
    dp_recv(fd, 100, 0);
    dp_say(fd, "hello from the image");
    dp_proof(fd);
    return 0;
}

int dp_child(const char *what, int fd) {
    dp_as("child");
    if (strcmp(what, "echo") == 0) return echo(fd);
    if (strcmp(what, "read-rest") == 0) return read_rest(fd);
    if (strcmp(what, "stdio") == 0) return stdio();
    if (strcmp(what, "serve") == 0) return serve(fd);
    if (strcmp(what, "nothing") == 0) return 0;
    if (strcmp(what, "say") == 0) return dp_say(fd, "said by the image") != 17;
    if (strcmp(what, "closed") == 0) return DP(fcntl(fd, F_GETFD)) != -1;
    dp_fail("unknown child %s", what);
}
