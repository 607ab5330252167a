// A program with one socket that does nothing more: a listening one, or with a port one that is connected to it.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0) return 1;
    if (argc > 1) {
        struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (connect(descriptor, (struct sockaddr *)&there, sizeof there) != 0) return 1;
    } else if (listen(descriptor, 1) != 0) {
        return 1;
    }
    puts("ready");
    fflush(stdout);
    // Its end is the end of its standard input.
    char byte;
    return read(0, &byte, 1) < 0;
}
