"""As notice.py, of datagrams. usage: datagrams.py CASE"""
import socket, struct, sys


def pair():
    one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for s in (one, other):
        s.bind(("127.0.0.1", 0))
        s.settimeout(20)
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    # A queue that is never found empty shows after 512 of them that all have come.
    for _ in range(600):
        one.send(b"x")
        other.recv(9)
        other.send(b"y")
        one.recv(9)
    return one, other


def received(s):
    s.setblocking(False)
    count = 0
    try:
        while s.recv(2000):
            count += 1
    except BlockingIOError:
        return count


def dropped_datagrams():
    """Does the kernel count those for which there was no room?"""
    one, other = pair()
    for _ in range(20000):
        one.send(b"x" * 1000)
    drops = struct.unpack("9I", other.getsockopt(socket.SOL_SOCKET, 55, 36))[8]  # SO_MEMINFO
    lost = 20000 - received(other)
    return f"{'some' if lost else 'none'} lost, {'all' if drops == lost else 'not all'} counted"


def datagrams_on_lo():
    """How many of a thousand a packet socket on lo sees."""
    one, other = pair()
    port = other.getsockname()[1]
    watch = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    watch.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
    watch.bind(("lo", 0x0800))
    watch.setblocking(False)
    seen = 0
    for _ in range(1000):
        one.send(b"x" * 10)
        other.recv(20)
        try:
            while True:
                packet, (_, _, kind, _, _) = watch.recvfrom(100)
                seen += kind != 4 and packet[9] == 17 and packet[22:24] == struct.pack(">H", port)  # PACKET_OUTGOING
        except BlockingIOError:
            continue
    return "all" if seen == 1000 else "few" if seen < 100 else str(seen)


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
