"""Writes items to memcached by datagrams and reads them back, by some sockets at once: memcached_datagrams.py PORT SOCKETS ITEMS.
An answer comes in as many datagrams as it takes, each with the number of the request, its own number, and how many there are."""
import socket
import struct
import sys
import threading

port, sockets, items = (int(word) for word in sys.argv[1:])
problems = []


def exchange(s, number, request):
    s.sendto(struct.pack(">4H", number, 0, 1, 0) + request, ("127.0.0.1", port))
    parts, count = {}, 1
    while len(parts) < count:
        data, sender = s.recvfrom(70000)
        assert sender == ("127.0.0.1", port), sender
        of, at, count, _ = struct.unpack(">4H", data[:8])
        assert of == number and at not in parts, f"request {number}: part {at} of {of}"
        parts[at] = data[8:]
    return b"".join(parts[at] for at in sorted(parts))


def work(index):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(30)
    for i in range(items):
        # A request is one datagram, of at most 1400 bytes.
        key, value = b"s%d-%d" % (index, i), (b"%d/" % i * 1300)[: 1 + i * 7919 % 1300]
        said = exchange(s, i * 3 & 0xFFFF, b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        assert said == b"STORED\r\n", said
        said = exchange(s, (i * 3 + 1) & 0xFFFF, b"get %s\r\n" % key)
        assert said == b"VALUE %s 0 %d\r\n%s\r\nEND\r\n" % (key, len(value), value), f"{key}: other contents"


def guarded(index):
    try:
        work(index)
    except Exception as error:
        problems.append(f"socket {index}: {error!r}")


threads = [threading.Thread(target=guarded, args=(index,)) for index in range(sockets)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("; ".join(problems) or f"verified {sockets * items}")
sys.exit(bool(problems))
