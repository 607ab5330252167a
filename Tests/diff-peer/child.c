// What this program does when a case executes it anew with a socket.
#include "harness.h"

int dp_child(const char *what, int fd) {
    dp_as("child");
    dp_fail("unknown child %s with %d", what, fd);
}
