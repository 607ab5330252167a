"""Brings a socket into the state that one reason is about, says `PID FD` and waits for a line. usage: reasons.py REASON
Runs under Sluice; what must not run under it is started without."""
import ctypes, fcntl, mmap, os, signal, socket, struct, subprocess, sys

CHILDREN = []  # and whatever else shall live as long as this process


def pair(address="127.0.0.1", port=0):
    listener = socket.create_server((address, port))
    connector = socket.create_connection(listener.getsockname()[:2])
    acceptor, _ = listener.accept()
    CHILDREN.append((connector, acceptor, listener))
    return connector, acceptor, listener


def talk(connector, acceptor, rounds=40):
    for _ in range(rounds):
        connector.send(b"x")
        acceptor.recv(1)
        acceptor.send(b"y")
        connector.recv(1)


def laned():
    connector, acceptor, listener = pair()
    talk(connector, acceptor)
    return connector, acceptor, listener


def plain_program(source, *arguments, **options):
    """A program that does not run under Sluice."""
    environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    child = subprocess.Popen([sys.executable, "-c", source, *arguments], env=environment, **options)
    CHILDREN.append(child)
    return child


ECHO = "import socket, sys\nc = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\nwhile c.send(c.recv(1)): pass\n"


LISTEN = (
    "import socket\nl = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True)\n"
    "c, _ = l.accept()\nwhile c.send(c.recv(1)): pass\n"
)
# It reads its modules before: the other user may not.
ANOTHER_USER = "import os, socket, sys; ''.encode('idna'); os.setresuid(65534, 65534, 65534)\n"


def apart(side, rounds=20000, of_peer=None, before=""):
    """This process is the acceptor or the connector, with its settings. The peer, a process of its own, has none or those that
    are given, and does first what `before` says."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EF_", "SLUICE_"))} | (of_peer or {})
    options = {"env": environment, "stdout": subprocess.PIPE}
    if side == "acceptor":
        listener = socket.create_server(("127.0.0.1", 0))
        peer = subprocess.Popen([sys.executable, "-c", before + ECHO, str(listener.getsockname()[1])], **options)
        end, _ = listener.accept()
    else:
        peer = subprocess.Popen([sys.executable, "-c", before + LISTEN], **options)
        end = socket.create_connection(("127.0.0.1", int(peer.stdout.readline())))
    CHILDREN.extend([end, peer])
    for _ in range(rounds):
        end.send(b"x")
        end.recv(1)
    return end


SERVER_PORT = 23456


def at_port():
    """The server's port is SERVER_PORT, at an address of its own."""
    connector, acceptor, _ = pair("127.77.%d.%d" % divmod(os.getpid() & 0xFFFF, 256), SERVER_PORT)
    talk(connector, acceptor)
    return connector


def none():
    match sys.argv[2:]:
        case []:
            return laned()[0]
        case ["port"]:
            return at_port()
        case ["acceptor" | "connector" as side]:
            return apart(side)
    return consent()


def young():
    connector, acceptor, _ = pair()
    talk(connector, acceptor, 2)
    return connector


def plain_peer():
    if len(sys.argv) > 2:  # the peer runs under Sluice too, and its settings keep it out
        name, _, value = sys.argv[3].partition("=")
        return apart(sys.argv[2], 40000, {name: value})
    listener = socket.create_server(("127.0.0.1", 0))
    plain_program(ECHO, str(listener.getsockname()[1]))
    acceptor, _ = listener.accept()
    for _ in range(40000):
        acceptor.send(b"x")
        acceptor.recv(1)
    return acceptor


def setting():
    match sys.argv[2:]:
        case ["port"]:
            return at_port()
        case ["acceptor" | "connector" as side]:
            return apart(side)
    return laned()[0]


def meeting():
    listener = socket.create_server(("127.0.0.1", 0))
    plain_program(ECHO, str(listener.getsockname()[1]))
    acceptor, _ = listener.accept()
    for _ in range(20):
        acceptor.send(b"x")
        acceptor.recv(1)
    return acceptor


def packet_filter():
    return laned()[0]  # with SLUICE_WITH_FILTERS=refuse


def in_child(body, uid=0):
    """Runs `body` in a forked child, of another user if so asked, who may not read this Python's modules."""
    "".encode("idna")
    child = os.fork()
    if child == 0:
        try:
            if uid:
                os.setresuid(uid, uid, uid)
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
            body()
        finally:
            os._exit(0)


def consent():
    """The peer is another user, and consents alone, when so asked; or it has no capabilities."""
    if "alone" in sys.argv:
        return apart(sys.argv[2], of_peer={"EF_SHARE_WITH": "-1"}, before=ANOTHER_USER)
    listener = socket.create_server(("127.0.0.1", 0))
    weaker = "privilege" in sys.argv

    def peer():
        if weaker:
            header = struct.pack("<II", 0x20080522, 0)
            if ctypes.CDLL(None).capset(header, bytes(24)):
                os._exit(1)
        c = socket.create_connection(listener.getsockname())
        while c.send(c.recv(1)):
            pass

    in_child(peer, uid=0 if weaker else 65534)
    acceptor, _ = listener.accept()
    for _ in range(20000):
        acceptor.send(b"x")
        acceptor.recv(1)
    return acceptor


def limit():
    """More processes of another user than regions are shared with; with EF_SHARE_WITH=-1."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)

    def peer():
        c = socket.create_connection(listener.getsockname())
        while c.send(c.recv(1)):
            pass

    for _ in range(70):
        in_child(peer, uid=65534)
        acceptor, _ = listener.accept()
        for _ in range(60):
            acceptor.send(b"x")
            acceptor.recv(1)
        CHILDREN.append(acceptor)
    return acceptor


def proof():
    """Somebody else has the name under which the accepting end waits."""
    connector, acceptor, listener = pair()
    talk(connector, acceptor, 2)
    cookie = acceptor.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE

    def address(end):
        return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(end[0])

    near, far = acceptor.getsockname(), connector.getsockname()
    name = b"slu1" + struct.pack("<I", near[1] << 16 | far[1]) + cookie + address(near) + address(far)
    taken = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    taken.bind(b"\0" + name)
    CHILDREN.append(taken)
    talk(connector, acceptor)
    return acceptor


def no_proof():
    return laned()[0]  # without sock_diag: run.sh refuses it by a filter


def namespace():
    connector, acceptor, listener = pair()
    talk(connector, acceptor, 2)
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    talk(connector, acceptor)
    return connector


def remote_peer():
    connector = socket.create_connection(tuple([sys.argv[2], int(sys.argv[3])]))
    for _ in range(100):
        connector.send(b"x")
        connector.recv(1)
    return connector


def foreign_origin():
    """A socket that a plain program has made comes over a unix socket."""
    ours, theirs = socket.socketpair()
    source = (
        "import socket, sys, os\n"
        "u = socket.socket(fileno=int(sys.argv[1]))\n"
        "l = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(l.getsockname()); a, _ = l.accept()\n"
        "socket.send_fds(u, [b'x'], [c.fileno(), a.fileno()])\n"
        "u.recv(1)\n"
    )
    plain_program(source, str(theirs.fileno()), pass_fds=[theirs.fileno()])
    _, fds, _, _ = socket.recv_fds(ours, 1, 2)
    a, b = (socket.socket(fileno=fd) for fd in fds)
    talk(a, b)
    CHILDREN.append((a, b, ours))
    return a


def shared_by_fork():
    connector, acceptor, listener = pair()
    in_child(signal.pause)
    talk(connector, acceptor, 100)
    return connector


def resources():
    import resource

    connector, acceptor, listener = pair()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    talk(connector, acceptor, 4000)
    return connector


def exec_():
    connector, acceptor, listener = laned()
    os.set_inheritable(connector.fileno(), True)
    CHILDREN.append(subprocess.Popen(["sleep", "1000"], close_fds=False))
    return connector


def passed():
    connector, acceptor, listener = laned()
    a, b = socket.socketpair()
    socket.send_fds(a, [b"x"], [connector.fileno()])
    CHILDREN.append((a, b))
    return connector


def foreign_call():
    connector, acceptor, listener = laned()
    libc = ctypes.CDLL(None)
    libc.fdopen.restype = ctypes.c_void_p
    CHILDREN.append(libc.fdopen(os.dup(connector.fileno()), b"r"))
    return connector


def option():
    connector, acceptor, listener = laned()
    fcntl.fcntl(connector.fileno(), fcntl.F_SETFL, fcntl.fcntl(connector.fileno(), fcntl.F_GETFL) | os.O_ASYNC)
    return connector


def urgent_data():
    connector, acceptor, listener = laned()
    connector.send(b"!", socket.MSG_OOB)
    return connector


def sealed_off():
    if "first" in sys.argv:
        install_filter()
        return laned()[0]
    connector, acceptor, listener = laned()
    if "io_uring" in sys.argv:
        # The parameters: 120 bytes of zeroes. Whether the kernel allows it is not looked at.
        ctypes.CDLL(None).syscall(ctypes.c_long(425), ctypes.c_long(1), ctypes.c_char_p(bytes(120)))
        return connector
    if "deepbind" in sys.argv:
        ctypes.CDLL("libm.so.6", mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
        return connector
    install_filter()
    return connector


def install_filter():
    """One that lets everything pass."""
    program = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
    head = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", 1, ctypes.addressof(program)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def peer_handed_back():
    connector, acceptor, listener = laned()
    connector.send(b"!", socket.MSG_OOB)
    talk(connector, acceptor, 3)
    return acceptor


def damaged():
    """The memory that both ends share is overwritten."""
    connector, acceptor, listener = laned()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).startswith("/memfd:sluice-pair"):
                m = mmap.mmap(int(name), 53248)
        except OSError:
            continue
    slots = 128 + 2 * 64 * 128
    for at in range(slots, slots + 512, 256):
        m[at : at + 8] = b"\xff" * 8
    try:
        connector.setblocking(False)
        connector.recv(1)
    except OSError:
        pass
    return connector


def ended():
    """One end has said that it sends no more, before the two have met."""
    connector, acceptor, _ = pair()
    talk(connector, acceptor, 7)
    acceptor.shutdown(socket.SHUT_WR)
    for _ in range(400):
        connector.send(b"x")
        acceptor.recv(1)
    return connector


def listening():
    return pair()[2]


def chaos():
    connector, acceptor, listener = laned()  # with SLUICE_CHAOS
    talk(connector, acceptor, 2000)
    return connector


if __name__ == "__main__":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    name = sys.argv[1]
    kept = globals()[name + "_" if name == "exec" else name]()
    print(os.getpid(), kept.fileno(), flush=True)
    sys.stdin.readline()
    for child in CHILDREN:
        if isinstance(child, subprocess.Popen):
            child.kill()
    os._exit(0)
