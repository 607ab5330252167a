// Prints the entries of the stand-in core that a run has not used. Its argument is the file of their counts.
#include <string.h>
#include "StandIn.h"
#include <stdio.h>

static const char *const names[] = {
#define X(name) #name,
    ENTRIES(X)
#undef X
};
enum { COUNT = sizeof names / sizeof *names };

int main(int count, char **arguments) {
    uint32_t seen[COUNT];
    FILE *f = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (!f || fread(seen, sizeof *seen, COUNT, f) != COUNT) return 2;
    int unused = 0;
    for (int i = 0; i < COUNT; i++)
        // epoll_sort: only when a set becomes the core's in the middle of a look at it.
        if (!seen[i] && strcmp(names[i], "epoll_sort")) printf("not used: sluice_%s\n", names[i]), unused++;
    return unused != 0;
}
