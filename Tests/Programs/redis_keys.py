"""Writes keys to a redis server and reads every one back: redis_keys.py PORT KEYS. Then it waits for a line, connected."""
import socket
import sys

port, keys = int(sys.argv[1]), int(sys.argv[2])
BATCH = 500


def key(i):
    return b"key:%d" % i


def value(i):
    # Lengths from 1 byte to 3 KB; one in a thousand of 200 KB.
    length = 200_000 if i % 1000 == 7 else 1 + (i * 7919) % 300 if i % 10 else 1 + (i * 104729) % 3000
    word = b"%d/" % (i * 2654435761 % 4294967291)
    return (word * (length // len(word) + 1))[:length]


def command(*parts):
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def batches(family, host, pipelined, first, last):
    """Sets and gets keys first..<last over one connection, `pipelined` at a time; returns the open connection."""
    connection = socket.socket(family)
    connection.settimeout(120)
    connection.connect((host, port))
    replies = connection.makefile("rb")
    for start in range(first, last, pipelined):
        some = range(start, min(last, start + pipelined))
        connection.sendall(b"".join(command(b"SET", key(i), value(i)) for i in some))
        for i in some:
            assert replies.readline() == b"+OK\r\n", f"SET {i}"
    for start in range(first, last, pipelined):
        some = range(start, min(last, start + pipelined))
        connection.sendall(b"".join(command(b"GET", key(i)) for i in some))
        for i in some:
            wanted = value(i)
            head = replies.readline()
            assert head == b"$%d\r\n" % len(wanted), f"GET {i}: {head!r}"
            assert replies.read(len(wanted) + 2) == wanted + b"\r\n", f"GET {i}: other contents"
    return connection


single = keys // 10
held = [
    batches(socket.AF_INET, "127.0.0.1", BATCH, 0, keys - 2 * single),
    batches(socket.AF_INET, "127.0.0.1", 1, keys - 2 * single, keys - single),
    batches(socket.AF_INET6, "::1", BATCH, keys - single, keys),
]
print(f"verified {keys}", flush=True)
sys.stdin.readline()
