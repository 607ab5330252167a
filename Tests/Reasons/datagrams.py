"""As reasons.py, with UDP sockets. usage: datagrams.py REASON"""
import os, signal, socket, subprocess, sys, time

from reasons import ANOTHER_USER, CHILDREN, in_child, plain_program

DATAGRAM = (socket.AF_INET, socket.SOCK_DGRAM)


def bound(address="127.0.0.1"):
    s = socket.socket(*DATAGRAM)
    s.bind((address, 0))
    s.settimeout(20)
    return s


def pair(before=lambda s: None):
    """Two sockets that are connected to each other; `before` sees the first one when it is new."""
    one, other = socket.socket(*DATAGRAM), bound()
    before(one)
    one.bind(("127.0.0.1", 0))
    one.settimeout(20)
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    CHILDREN.append((one, other))
    return one, other


def talk(one, other, rounds=100):
    for _ in range(rounds):
        one.send(b"x")
        other.recv(9)
        other.send(b"y")
        one.recv(9)


def talked(before=lambda s: None):
    one, other = pair(before)
    talk(one, other)
    return one


def ask(one, rounds):
    for _ in range(rounds):
        one.send(b"x")
        one.recv(9)
    return one


ECHO = (
    "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
    "print(s.getsockname()[1], flush=True)\n"
    "while True: s.sendto(*s.recvfrom(9))\n"
)


def asked(start, rounds=20):
    """Talks to a program of its own that answers. A first meeting lasts 64 datagrams and 50 ms; the next begins at 128."""
    echo = start(ECHO)
    one = bound()
    one.connect(("127.0.0.1", int(echo.stdout.readline())))
    ask(one, 38)
    time.sleep(0.3)
    return ask(one, rounds)


def under_sluice(source):
    CHILDREN.append(subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE))
    return CHILDREN[-1]


def none():
    return asked(under_sluice, 400)


def plain_peer():
    return asked(lambda source: plain_program(source, stdout=subprocess.PIPE))


def flows():
    """A socket without a peer that talks to two programs, of which one is under Sluice."""
    one = bound()
    for echo in (under_sluice(ECHO), plain_program(ECHO, stdout=subprocess.PIPE)):
        peer = ("127.0.0.1", int(echo.stdout.readline()))
        for turn in range(58):
            if turn == 38:
                time.sleep(0.3)
            one.sendto(b"x", peer)
            one.recvfrom(9)
    return one


def young():
    one, other = pair()
    talk(one, other, 3)
    return one


def setting():
    return talked()  # with a setting


def packet_filter():
    return talked()  # with SLUICE_WITH_FILTERS=refuse


def shared_port():
    if "late" in sys.argv:  # when the lane is there
        one = talked()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return one
    return talked(lambda s: s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1))


def option():
    return talked(lambda s: s.setsockopt(socket.SOL_SOCKET, 29, 1))  # SO_TIMESTAMP


def multicast():
    one = bound()
    one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    for _ in range(100):
        one.sendto(b"x", ("239.1.2.3", 9))
    return one


def shared_by_fork():
    one, other = pair()
    if "late" in sys.argv:  # when the lane is there
        talk(one, other)
    in_child(signal.pause)
    talk(one, other)
    return one


def ended():
    one = talked()
    one.shutdown(socket.SHUT_WR)
    return one


def consent():
    return asked(lambda source: under_sluice(ANOTHER_USER + source))


def remote_peer():
    one = bound("0.0.0.0")
    one.connect((sys.argv[2], int(sys.argv[3])))
    return ask(one, 100)


def kind():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    CHILDREN.append(other)
    return one


if __name__ == "__main__":
    kept = globals()[sys.argv[1]]()
    print(os.getpid(), kept.fileno(), flush=True)
    sys.stdin.readline()
    for child in CHILDREN:
        if isinstance(child, subprocess.Popen):
            child.kill()
    os._exit(0)
