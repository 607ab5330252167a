// A program that does nothing by itself: a socket listens, at the port that it prints; with a port another one is connected to that.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_in here = {0};
    socklen_t length = sizeof here;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&here, &length) != 0) return 1;
    if (argc > 1) {
        struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&there, sizeof there) != 0) return 1;
    }
    printf("ready %d\n", ntohs(here.sin_port));
    fflush(stdout);
    // It accepts one for each line, and its end is the end of its standard input.
    char byte;
    while (read(0, &byte, 1) == 1) {
        if (accept(listener, NULL, NULL) < 0) return 1;
        puts("accepted");
        fflush(stdout);
    }
    return 0;
}
