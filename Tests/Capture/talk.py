"""One end of connections or of datagrams, which writes down what it sends.

talk.py serve KIND FAMILY FOLDER           prints its port; answers each piece with its bytes in the other order
talk.py connect KIND FAMILY FOLDER PORT [N]  for each line `COUNT SIZE...` of its input: COUNT times a piece of each size by each of its N
                                           sockets, each with its answer; prints `done`. `fork`: a child goes on in its place

KIND is tcp or udp. FOLDER/FROM-TO holds what was sent from one port to another: bytes, or a line of hexadecimal digits for
each datagram. Datagrams are waited for without sleeping, so that rings carry them."""
import os
import random
import socket
import sys
import threading

role, kind, family, folder = sys.argv[1:5]
host = {"4": "127.0.0.1", "6": "::1"}[family]
family = {"4": socket.AF_INET, "6": socket.AF_INET6}[family]
logs = {}


def note(mine, its, data):
    """Before it is sent: what was written down may be more than what was sent, never less."""
    name = f"{folder}/{mine}-{its}"
    if name not in logs:
        logs[name] = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(logs[name], data if kind == "tcp" else data.hex().encode() + b"\n")


def receive(one, size=1 << 16):
    """A datagram with its sender, awake."""
    while True:
        try:
            return one.recvfrom(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            os.sched_yield()


def answer_stream(one, its):
    mine = one.getsockname()[1]
    while data := one.recv(1 << 20):
        note(mine, its, data[::-1])
        one.sendall(data[::-1])


def serve():
    if kind == "udp":
        one = socket.socket(family, socket.SOCK_DGRAM)
        one.bind((host, 0))
        print(one.getsockname()[1], flush=True)
        while True:
            data, sender = receive(one)
            note(one.getsockname()[1], sender[1], data[::-1])
            one.sendto(data[::-1], sender)
    listener = socket.create_server((host, 0), family=family)
    print(listener.getsockname()[1], flush=True)
    while True:
        one, peer = listener.accept()
        threading.Thread(target=answer_stream, args=(one, peer[1]), daemon=True).start()


def exchange(one, sizes, seed):
    mine, its = one.getsockname()[1], one.getpeername()[1]
    chance = random.Random(seed)
    for size in sizes:
        data = chance.randbytes(size)
        note(mine, its, data)
        if kind == "udp":
            one.send(data)
            assert receive(one)[0] == data[::-1]
            continue
        sender = threading.Thread(target=one.sendall, args=(data,)) if size > 1 << 16 else None
        if sender:
            sender.start()
        else:
            one.sendall(data)
        left = size
        while left:
            left -= len(one.recv(left))
        if sender:
            sender.join()


def connect(port, count):
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    ends = [socket.socket(family, type_) for _ in range(count)]
    for one in ends:
        one.connect((host, port))
    print(*(one.getsockname()[1] for one in ends), flush=True)
    for number, line in enumerate(sys.stdin):
        if line.strip() == "fork":
            child = os.fork()
            if child:
                # The child reads the other lines.
                os.waitpid(child, 0)
                os._exit(0)
            print(os.getpid(), flush=True)
            continue
        times, *sizes = map(int, line.split())
        threads = [threading.Thread(target=exchange, args=(one, sizes * times, (number, place).__hash__()))
                   for place, one in enumerate(ends)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        print("done", flush=True)


if role == "serve":
    serve()
else:
    connect(int(sys.argv[5]), int(sys.argv[6]) if len(sys.argv) > 6 else 1)
