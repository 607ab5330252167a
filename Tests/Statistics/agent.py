"""A program that does what its standard input says, one Python expression a line, and prints the value as JSON. It counts for
itself what its calls move: in `tcp` and `udp`, by socket."""
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time

sockets = {}
# Of all sockets: calls that gave or took something, and their bytes.
counted = {"sends": 0, "sent": 0, "receives": 0, "received": 0, "made": 0}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def keep(name, one):
    sockets[name] = one
    counted["made"] += 1
    return one.fileno()


def listen(name):
    keep(name, socket.create_server(("127.0.0.1", 0)))
    return sockets[name].getsockname()[1]


def accept(listener, name):
    return keep(name, sockets[listener].accept()[0])


def connect(name, port):
    return keep(name, socket.create_connection(("127.0.0.1", port)))


def bind(name):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    return [keep(name, one), one.getsockname()[1]]


def send(name, size, times=1, flags=0):
    """The bytes that were taken, until one is not."""
    total = 0
    for _ in range(times):
        try:
            n = sockets[name].send(bytes(size), flags)
        except BlockingIOError:
            break
        counted["sends"] += 1
        counted["sent"] += n
        total += n
    return total


def receive(name, size, times=1, flags=0):
    total = 0
    for _ in range(times):
        n = len(sockets[name].recv(size, flags))
        counted["receives"] += 1
        counted["received"] += n
        total += n
    return total


def take(name):
    """All that is there: the number of receives, and the bytes."""
    number = total = 0
    try:
        while n := receive(name, 1 << 16, 1, socket.MSG_DONTWAIT):
            number, total = number + 1, total + n
    except BlockingIOError:
        pass
    return [number, total]


def timed(act):
    """Nanoseconds by this program's clock around the call."""
    begin = time.monotonic_ns()
    act()
    return time.monotonic_ns() - begin


def polled(name, events=select.POLLIN):
    one = select.poll()
    one.register(sockets[name], events)
    return timed(one.poll)


def waited(name):
    """In an epoll set of its own, which outlives the call."""
    if "set of " + name not in sockets:
        sockets["set of " + name] = select.epoll()
        sockets["set of " + name].register(sockets[name], select.EPOLLIN)
    return timed(sockets["set of " + name].poll)


def errors(name, act):
    """The name of the error by which the call ends, none where it does not."""
    try:
        act(sockets[name])
    except OSError as error:
        return type(error).__name__
    return None


def close(*names):
    for name in names:
        sockets.pop(name).close()


def shortage():
    """Takes numbers until one comes from the upper quarter, where Sluice has its own; then gives them back. How many came so."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    held = [os.dup(0)]
    while held[-1] < most * 3 // 4:
        held.append(os.dup(0))
    for number in held:
        os.close(number)
    return sum(number >= most * 3 // 4 for number in held)


def without_memory(number):
    """Makes so many sockets while no more memory can be mapped."""
    # What Python itself needs is there already.
    spare = [bytes(100 + i % 300) for i in range(20000)]
    spare = spare[::2]
    made = []
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    whole = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), whole[1]))
    try:
        for _ in range(number):
            made.append(socket.socket())
    finally:
        resource.setrlimit(resource.RLIMIT_AS, whole)
    for one in made:
        keep(f"made {one.fileno()}", one)
    return [one.fileno() for one in made if spare]


print(os.getpid(), flush=True)
for line in sys.stdin:
    try:
        answer = eval(line)
    except Exception as problem:  # the test is told of it
        answer = f"{type(problem).__name__}: {problem}"
    print(json.dumps(answer), flush=True)
