"""What a user may notice: each known difference from the kernel, shown. usage: notice.py CASE
Each case returns what it saw. run.sh runs it on the plain kernel and under Sluice, and says what each must see."""
import ctypes, os, select, signal, socket, struct, subprocess, sys


def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    connector = socket.create_connection(listener.getsockname())
    acceptor, _ = listener.accept()
    for _ in range(60):
        connector.send(b"x")
        acceptor.recv(1)
        acceptor.send(b"y")
        connector.recv(1)
    return connector, acceptor


def bad_buffer():
    """A receive into memory that the program does not have."""
    child = os.fork()
    if child == 0:
        connector, acceptor = pair()
        connector.send(b"x" * 100)
        libc = ctypes.CDLL(None, use_errno=True)
        n = libc.recv(acceptor.fileno(), ctypes.c_void_p(0x10000), 100, 0)
        os._exit(ctypes.get_errno() if n < 0 else 0)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.strerror(os.WEXITSTATUS(status))


def counters_of_ss():
    """What sock_diag says of bytes, after 100,000."""
    connector, acceptor = pair()
    for _ in range(100):
        connector.send(b"x" * 1000)
        acceptor.recv(1000, socket.MSG_WAITALL)
    port = connector.getsockname()[1]
    text = subprocess.run(["ss", "-tinH", "sport", "=", str(port)], capture_output=True, text=True).stdout
    sent = int(text.split("bytes_sent:")[1].split()[0])
    return "all" if sent > 100000 else "not all"


def counters_of_getsockopt():
    """What getsockopt(TCP_INFO) says, after the same."""
    connector, acceptor = pair()
    for _ in range(100):
        connector.send(b"x" * 1000)
        acceptor.recv(1000, socket.MSG_WAITALL)
    info = connector.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return "all" if int.from_bytes(info[200:208], sys.byteorder) > 100000 else "not all"  # tcpi_bytes_sent


def descriptors():
    """Descriptors that the program has not made."""
    before = set(os.listdir("/proc/self/fd"))
    connector, acceptor = pair()
    made = {str(s.fileno()) for s in (connector, acceptor)}
    own = [fd for fd in set(os.listdir("/proc/self/fd")) - before - made if "memfd:sluice" in target(fd)]
    return "some" if own else "none"


def target(fd):
    try:
        return os.readlink("/proc/self/fd/" + fd)
    except OSError:
        return ""


def one_answer():
    """Of a pipe and a connection that are ready, how many a look tells of while the connection is busy."""
    connector, acceptor = pair()
    read, write = os.pipe()
    set_ = select.epoll()
    set_.register(acceptor, select.EPOLLIN)
    set_.register(read, select.EPOLLIN)
    os.write(write, b"x")
    connector.send(b"x")
    seen = set()
    # Not always, but soon: both.
    while len(seen) < 2:
        seen |= {fd for fd, _ in set_.poll()}
    fewest = 2
    for _ in range(20000):
        fewest = min(fewest, len(set_.poll(0, 8)), len(set_.poll(0, 8)) if len(seen) == 2 else 2)
        fewest = min(fewest, len(set_.poll(0.001, 8)))
    return "both" if fewest == 2 else "one, then the other"


def filter_sees():
    """Segments that a packet filter on the loopback interface counts for 100 messages."""
    connector, acceptor = pair()
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    # Only segments of the connector: other traffic of a busy host would fill the queue.
    lines = [(0x28, 0, 0, 34), (0x15, 0, 1, connector.getsockname()[1]), (0x06, 0, 0, 0x40000), (0x06, 0, 0, 0)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in lines))
    packets.setsockopt(socket.SOL_SOCKET, 26, struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(code)))  # SO_ATTACH_FILTER
    packets.bind(("lo", 3))
    packets.setblocking(False)
    for _ in range(100):
        connector.send(b"message")
        acceptor.recv(7)
    seen = 0
    try:
        while True:
            seen += b"message" in packets.recv(100)
    except BlockingIOError:
        pass
    return "all" if seen >= 100 else "none" if seen == 0 else str(seen)


def killed_peer():
    """A connection whose other end was killed with its last words unread here."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        c = socket.create_connection(listener.getsockname())
        for _ in range(60):
            c.send(c.recv(1))
        c.send(b"last words")
        os.kill(os.getpid(), signal.SIGKILL)
    acceptor, _ = listener.accept()
    for _ in range(60):
        acceptor.send(b"x")
        acceptor.recv(1)
    os.waitpid(child, 0)
    return acceptor


def stopped_program():
    """They are read on by calls of libc."""
    return killed_peer().recv(100).decode()


def stopped_program_by_stdio():
    """They are read by stdio."""
    acceptor = killed_peer()
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    libc.fgets.restype = ctypes.c_char_p
    text = ctypes.create_string_buffer(100)
    stream = ctypes.c_void_p(libc.fdopen(acceptor.fileno(), b"r"))
    return (libc.fgets(text, 100, stream) or b"nothing").decode()


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
