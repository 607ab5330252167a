// A library whose destructor runs after the preload library's own has run, and closes a socket.
#include <unistd.h>

int late_fd = -1;
__attribute__((destructor)) static void late(void) {
    if (late_fd >= 0) close(late_fd);
}
