"""Writes items to memcached over some connections at once and reads every one back: memcached_keys.py PORT ITEMS.
Then it waits for a line, connected."""
import socket
import sys
import threading

port, items = int(sys.argv[1]), int(sys.argv[2])
CONNECTIONS, BATCH = 4, 100
problems, held = [], []


def value(i):
    length = 700_000 if i % 1000 == 3 else 1 + (i * 7919) % 3000
    word = b"%d/" % (i * 2654435761 % 4294967291)
    return (word * (length // len(word) + 1))[:length]


def exchange(number):
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    held.append(connection)
    replies = connection.makefile("rb")
    mine = list(range(number, items, CONNECTIONS))
    for start in range(0, len(mine), BATCH):
        batch = mine[start : start + BATCH]
        parts = [(i, value(i)) for i in batch]
        connection.sendall(b"".join(b"set k%d %d 0 %d\r\n%s\r\n" % (i, i % 65536, len(v), v) for i, v in parts))
        for i in batch:
            assert replies.readline() == b"STORED\r\n", f"set {i}"
    for start in range(0, len(mine), BATCH):
        batch = mine[start : start + BATCH]
        connection.sendall(b"get " + b" ".join(b"k%d" % i for i in batch) + b"\r\n")
        for i in batch:
            wanted = value(i)
            head = replies.readline()
            assert head == b"VALUE k%d %d %d\r\n" % (i, i % 65536, len(wanted)), head
            assert replies.read(len(wanted) + 2) == wanted + b"\r\n", f"get {i}: other contents"
        assert replies.readline() == b"END\r\n"
    for i in mine[:200]:
        connection.sendall(b"get k%d\r\n" % i)
        wanted = value(i)
        replies.readline()
        assert replies.read(len(wanted) + 7) == wanted + b"\r\nEND\r\n", f"single get {i}: other contents"


def guarded(number):
    try:
        exchange(number)
    except Exception as error:
        problems.append(f"connection {number}: {error!r}")


threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CONNECTIONS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("; ".join(problems) or f"verified {items}", flush=True)
sys.stdin.readline()
