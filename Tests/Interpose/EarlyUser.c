// Prints what the library's constructor met with, and uses the allocator and sockets itself.
#include "Exercise.h"

const char *early_told(void);
const char *sluice_version(void) __attribute__((weak));

int main(void) {
    printf("%s\n", early_told());
    int pair[2];
    char got[8] = "";
    for (int i = 0; i < 3; i++) {
        must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
        must(write(pair[0], "late", 4) == 4 && read(pair[1], got, sizeof got) == 4, "bytes");
        char *text = strdup(got);
        printf("%s\n", text);
        free(text);
        close(pair[0]), close(pair[1]);
    }
    if (sluice_version) must(strlen(sluice_version()) > 2, "sluice_version");
    return 0;
}
