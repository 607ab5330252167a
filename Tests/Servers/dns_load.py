"""Asks a name server for addresses, by some sockets at once: dns_load.py PORT SOCKETS QUESTIONS. h7.test has 10.7.1.7. A socket has
some questions under way; every answer must be the right one, and each question has one."""
import socket
import struct
import sys
import threading

port, sockets, questions = (int(word) for word in sys.argv[1:])
HOSTS, UNDER_WAY = 250, 4
problems = []


def question(number):
    name = b"h%d" % (number % HOSTS + 1)
    return struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + bytes([len(name)]) + name + b"\4test\0" + struct.pack(">2H", 1, 1)


def ask(index):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    if index % 2:
        s.connect(("127.0.0.1", port))
    sent, waiting = 0, set()
    while sent < questions or waiting:
        while sent < questions and len(waiting) < UNDER_WAY:
            s.sendto(question(sent), ("127.0.0.1", port))
            waiting.add(sent)
            sent += 1
        reply, sender = s.recvfrom(2000)
        assert sender == ("127.0.0.1", port), sender
        number, flags, _, answers = struct.unpack(">4H", reply[:8])
        assert number in waiting, f"{number}: nobody waits for it"
        assert flags & 0x800F == 0x8000 and answers == 1, f"{number}: flags {flags:x}, {answers} answers"
        assert reply[-4:] == bytes([10, 7, 1, number % HOSTS + 1]), f"{number}: {reply[-4:]}"
        waiting.remove(number)


def guarded(index):
    try:
        ask(index)
    except Exception as error:
        problems.append(f"socket {index}: {error!r}")


threads = [threading.Thread(target=guarded, args=(index,)) for index in range(sockets)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("; ".join(problems) or f"verified {sockets * questions}")
sys.exit(bool(problems))
