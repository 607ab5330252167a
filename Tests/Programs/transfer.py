"""One big transfer over TCP, by checksum.

transfer.py serve BYTES   prints its port, sends so many bytes to one client, prints their checksum and count
transfer.py fetch PORT    reads them and prints the same
Each then waits for a line, connected, and looks at the end of the stream: the server ends its direction first."""
import hashlib
import random
import socket
import struct
import sys

BLOCK = 1 << 20


def serve(total):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    connection.settimeout(120)
    choice = random.Random(20260101)
    base = choice.randbytes(BLOCK - 8)
    digest, sent, number = hashlib.sha256(), 0, 0
    connection.sendall(struct.pack("!Q", total))
    while sent < total:
        # Each block differs, so that a lost, doubled or displaced one changes the checksum.
        block = memoryview(struct.pack("!Q", number) + base)[: min(BLOCK, total - sent)]
        digest.update(block)
        at = 0
        while at < len(block):
            size = choice.choice((1, 100, 1460, 4096, 65536, BLOCK, BLOCK))
            connection.sendall(block[at : at + size])
            at += size
        sent += len(block)
        number += 1
    finish(digest, sent)
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(1) == b"", "bytes from a client that sends none"


def fetch(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    total = struct.unpack("!Q", connection.recv(8, socket.MSG_WAITALL))[0]
    digest, got = hashlib.sha256(), 0
    buffer = memoryview(bytearray(BLOCK))
    while got < total:
        count = connection.recv_into(buffer)
        assert count > 0, f"ended after {got} bytes"
        digest.update(buffer[:count])
        got += count
    finish(digest, got)
    assert connection.recv(1) == b"", "more bytes than promised"


def finish(digest, count):
    print(f"{digest.hexdigest()} {count}", flush=True)
    sys.stdin.readline()


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    fetch(int(sys.argv[2]))
