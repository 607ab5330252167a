// A program with one socket that does nothing more.
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0 || listen(descriptor, 1) != 0) return 1;
    puts("ready");
    fflush(stdout);
    // Its end is the end of its standard input.
    char byte;
    return read(0, &byte, 1) < 0;
}
