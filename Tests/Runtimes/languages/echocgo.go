// The same on sockets that C code makes, reads and writes by libc, from several threads of the Go runtime.
// usage: echocgo serve | echocgo load PORT CONNECTIONS ROUNDS
package main

/*
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    return connect(s, (struct sockaddr *)&a, sizeof a) ? -1 : s;
}
static int listening(int *port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (struct sockaddr *)&a, n) || listen(l, 256) || getsockname(l, (struct sockaddr *)&a, &n)) return -1;
    *port = ntohs(a.sin_port);
    return l;
}
static int accepted(int l) { return accept(l, NULL, NULL); }
static long get(int s, void *to, long n) { return recv(s, to, n, 0); }
static int put(int s, const char *from, long n) {
    for (long r; n; from += r, n -= r)
        if ((r = send(s, from, n, MSG_NOSIGNAL)) < 0) return -1;
    return 0;
}
static void answer(int s) {
    char bytes[4096];
    for (long n; (n = get(s, bytes, sizeof bytes)) > 0;)
        if (put(s, bytes, n)) break;
    close(s);
}
// Asks, and gives the offset of the first byte that is not as it was, or -1.
static long ask(int s, int c, long at, long n) {
    unsigned char *bytes = malloc(n), *back = malloc(n);
    long wrong = -1;
    for (long i = 0; i < n; i++) bytes[i] = (at + i) * 7 + c * 13 + ((at + i) >> 8);
    if (put(s, (char *)bytes, n)) wrong = at;
    // A signal of the Go runtime ends a call that waits for all with what has come so far.
    for (long got = 0, r; got < n && wrong < 0; got += r)
        if ((r = recv(s, back + got, n - got, MSG_WAITALL)) <= 0) wrong = at + got;
    for (long i = 0; i < n && wrong < 0; i++)
        if (bytes[i] != back[i]) wrong = at + i;
    free(bytes), free(back);
    return wrong;
}
*/
import "C"

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
)

func main() {
	if os.Args[1] == "serve" {
		var port C.int
		l := C.listening(&port)
		fmt.Println(port)
		go func() {
			for {
				s := C.accepted(l)
				go C.answer(s)
			}
		}()
	} else {
		port, _ := strconv.Atoi(os.Args[2])
		connections, _ := strconv.Atoi(os.Args[3])
		rounds, _ := strconv.Atoi(os.Args[4])
		done := make(chan bool)
		for c := 0; c < connections; c++ {
			go func(c int) {
				s, at := C.dial(C.int(port)), C.long(0)
				for round := 0; round < rounds; round++ {
					n := C.long(1 + round*37%5000)
					if wrong := C.ask(s, C.int(c), at, n); wrong >= 0 {
						panic(fmt.Sprintf("other byte at %d", wrong))
					}
					at += n
				}
				done <- true
			}(c)
		}
		for c := 0; c < connections; c++ {
			<-done
		}
		fmt.Printf("verified %d\n", connections*rounds)
	}
	bufio.NewReader(os.Stdin).ReadString('\n')
}
