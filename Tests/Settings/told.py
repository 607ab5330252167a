"""A program that makes sockets, and does to its log what programs do. usage: told.py ACT...
Each ACT is one of: socket, bound, fork, chroot FOLDER, user, close, dup2, limit BYTES, poor, crowd, number N,
environment, ask, wait."""
import ctypes, fcntl, os, resource, signal, socket, subprocess, sys

kept = []


def own_log():
    """The descriptor by which Sluice holds the file, -1: there is none."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).endswith("/log"):
                return int(name)
        except OSError:
            continue
    return -1


def bound():
    """A socket that the kernel lists."""
    kept.append(socket.socket())
    kept[-1].bind(("127.0.0.1", 0))
    return kept[-1]


LATE_ECHO = (
    "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
    "print(s.getsockname()[1], flush=True)\n"
    "while True:\n    d, a = s.recvfrom(9); time.sleep(0.001); s.sendto(d, a)\n"
)


def ask():
    """Waits for datagrams of another program, which come late."""
    echo = subprocess.Popen([sys.executable, "-c", LATE_ECHO], stdout=subprocess.PIPE)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 0))
    s.connect(("127.0.0.1", int(echo.stdout.readline())))
    for _ in range(300):
        s.send(b"x")
        s.recv(9)
    echo.kill()
    kept.append(s)


def say_once_more():
    """A fork child says all of it again at its first socket."""
    if os.fork() == 0:
        socket.socket()
        os._exit(0)
    status = os.wait()[1]
    if status:
        print("the child ended with", status)


acts = iter(sys.argv[1:])
for act in acts:
    match act:
        case "socket":
            kept.append(socket.socket())
        case "bound":
            bound()
        case "fork":
            say_once_more()
        case "chroot":
            os.chroot(next(acts))
        case "user":
            os.setresuid(65534, 65534, 65534)
        case "close":
            os.closerange(3, 4096)
        case "dup2":
            ours = own_log()
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, ours)
            print("moved" if own_log() not in (-1, ours) else "not moved")
        case "limit":
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(next(acts)),) * 2)
        case "poor":  # no number is above the program's own
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
            os.setresuid(65534, 65534, 65534)
            ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is ours again
        case "crowd":
            had = own_log()
            try:
                while True:
                    kept.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                os.close(kept.pop())
                print("crowded", had > 0, own_log())
        case "number":
            fcntl.fcntl(bound(), fcntl.F_DUPFD, int(next(acts)))
            kept.pop().close()
        case "ask":
            ask()
        case "environment":
            os.environ["EF_TOO_LATE"] = "1"
            os.unsetenv("EF_NO_SUCH")
        case "wait":
            print(os.getpid(), flush=True)
            sys.stdin.read(1)
