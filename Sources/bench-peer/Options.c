#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "Peer.h"

struct options options = {
    .pattern = NULL, .transport = TRANSPORT_TCP, .wait = WAIT_BLOCK, .role = ROLE_PARENT, .control_fd = -1, .core = {-1, -1}, .neighbour = -2,
    .size = 64, .read_size = 65536, .warmup_ms = 50, .run_ms = 300, .limit_ms = 30000, .connections = 1000, .busy = 10, .rate = 100,
    .messages = 10000, .call = "read-zero", .preload = NULL, .preload_side = {true, true},
};

static const char usage[] =
    "usage: bench-peer PATTERN [option...]\n"
    "  PATTERN          pingpong, stream, churn, many, clients, rate, memory, calls, start, memcache, observe\n"
    "  --transport T    tcp, tcp-nodelay, unix, pipe, ring, sockmap; pingpong, stream, clients: udp, unix-datagram\n"
    "  --wait W         block, spin (non-blocking calls in a loop), poll, epoll\n"
    "  --size N         bytes of a message (64)\n"
    "  --read-size N    bytes that a stream reader asks for (65536)\n"
    "  --cores S,C      core of the server and of the client; - for any (-,-)\n"
    "  --neighbour N    a process computes on this core all the time; - for any\n"
    "  --warmup MS      time before the measured interval (50)\n"
    "  --run MS         measured interval (300)\n"
    "  --limit MS       end of everything (30000)\n"
    "  --connections N  many, memory, memcache; clients, observe: processes (1000)\n"
    "  --busy N         many: connections that carry messages (10)\n"
    "  --rate N         rate: messages a second (100)\n"
    "  --messages N     memory: messages on each connection; start: processes; observe: runs (10000)\n"
    "  --call NAME      calls: read-zero, readv-zero, write-null, recv-unix, exchange-unix, poll-pipes, select-pipes, epoll-pipes, fcntl-file,\n"
    "                   dup-close, open-close; observe: a command, in which PID stands for one of the processes\n"
    "  --port N         memcache: the server's port on 127.0.0.1\n"
    "  --path FILE      memcache: its unix socket, instead\n"
    "  --server-pid N   memcache: its process, whose processor time is counted\n"
    "  --preload LIB    library that the two sides are started with\n"
    "  --preload-side S both, server, client (both)\n";

static int choose(const char *word, const char *const *words, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(word, words[i]) == 0) return i;
    return -1;
}

static int core_of(const char *word, int any) {
    if (strcmp(word, "-") == 0) return any;
    char *end;
    long value = strtol(word, &end, 10);
    return *word && *end == 0 && value >= 0 && value < 4096 ? (int)value : -3;
}

static bool number(const char *word, unsigned long low, unsigned long high, unsigned long *out) {
    char *end;
    unsigned long value = strtoul(word, &end, 10);
    if (*word < '0' || *word > '9' || *end || value < low || value > high) return false;
    *out = value;
    return true;
}

static bool cores(char *word) {
    char *comma = strchr(word, ',');
    if (!comma) return false;
    char *first = strndup(word, (size_t)(comma - word));
    options.core[SERVER] = core_of(first, -1);
    options.core[CLIENT] = core_of(comma + 1, -1);
    free(first);
    return options.core[SERVER] >= -1 && options.core[CLIENT] >= -1;
}

static bool role(const char *word) {
    static const char *const words[] = {"parent", "server", "client", "single"};
    const char *colon = strchr(word, ':');
    if (!colon) return false;
    char *name = strndup(word, (size_t)(colon - word));
    int i = choose(name, words, 4);
    free(name);
    options.role = (enum role)i;
    options.control_fd = atoi(colon + 1);
    return i > 0;
}

static bool take(int letter, char *word) {
    static const char *const transports[] = {"tcp", "tcp-nodelay", "unix", "pipe", "ring", "sockmap", "udp", "unix-datagram"};
    static const char *const waits[] = {"block", "spin", "poll", "epoll"};
    static const char *const sides[] = {"both", "server", "client"};
    unsigned long n = 0;
    int i;
    switch (letter) {
    case 't': i = choose(word, transports, 8); options.transport = (enum transport)i; return i >= 0;
    case 'w': i = choose(word, waits, 4); options.wait = (enum wait_style)i; return i >= 0;
    case 'z': if (!number(word, 8, 1 << 20, &n)) return false; options.size = n; return true;
    case 'Z': if (!number(word, 8, 1 << 20, &n)) return false; options.read_size = n; return true;
    case 'c': return cores(word);
    case 'n': options.neighbour = core_of(word, -1); return options.neighbour >= -1;
    case 'W': if (!number(word, 0, 60000, &n)) return false; options.warmup_ms = n; return true;
    case 'r': if (!number(word, 1, 600000, &n)) return false; options.run_ms = n; return true;
    case 'l': if (!number(word, 1, 3600000, &n)) return false; options.limit_ms = n; return true;
    case 'C': if (!number(word, 1, 100000, &n)) return false; options.connections = n; return true;
    case 'b': if (!number(word, 1, 100000, &n)) return false; options.busy = n; return true;
    case 'R': if (!number(word, 1, 1000000, &n)) return false; options.rate = n; return true;
    case 'm': return number(word, 1, 1000000000, &options.messages);
    case 'k': options.call = word; return true;
    case 'P': if (!number(word, 1, 65535, &n)) return false; options.port = (unsigned)n; return true;
    case 'u': options.path = word; return true;
    case 'S': if (!number(word, 1, 1 << 30, &n)) return false; options.server_pid = (pid_t)n; return true;
    case 'p': options.preload = word; return true;
    case 's':
        i = choose(word, sides, 3);
        options.preload_side[SERVER] = i != 2;
        options.preload_side[CLIENT] = i != 1;
        return i >= 0;
    case 'x': return role(word);
    }
    return false;
}

/// Fills `options`; 0, or 2 after a message.
int options_parse(int argc, char **argv) {
    static const struct option longs[] = {
        {"transport", 1, 0, 't'}, {"wait", 1, 0, 'w'}, {"size", 1, 0, 'z'}, {"read-size", 1, 0, 'Z'}, {"cores", 1, 0, 'c'},
        {"neighbour", 1, 0, 'n'}, {"warmup", 1, 0, 'W'}, {"run", 1, 0, 'r'}, {"limit", 1, 0, 'l'}, {"connections", 1, 0, 'C'},
        {"busy", 1, 0, 'b'}, {"rate", 1, 0, 'R'}, {"messages", 1, 0, 'm'}, {"call", 1, 0, 'k'}, {"preload", 1, 0, 'p'},
        {"port", 1, 0, 'P'}, {"path", 1, 0, 'u'}, {"server-pid", 1, 0, 'S'},
        {"preload-side", 1, 0, 's'}, {"role", 1, 0, 'x'}, {0},
    };
    int letter, index = 0;
    while ((letter = getopt_long(argc, argv, "", longs, &index)) != -1) {
        if (letter == '?') {
            fputs(usage, stderr);
            return 2;
        }
        if (!take(letter, optarg)) {
            fprintf(stderr, "bench-peer: --%s does not take '%s'\n", longs[index].name, optarg);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        fputs(usage, stderr);
        return 2;
    }
    options.pattern = argv[optind];
    if (options.busy > options.connections) options.busy = options.connections;
    return 0;
}
