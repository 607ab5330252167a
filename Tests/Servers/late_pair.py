"""Two ends that make their first calls one after the other, so that they miss each other when they first look for a lane, and whose
calls cut the bytes differently: late_pair.py serve, which prints its port, or late_pair.py PORT. Later they talk."""
import socket
import sys
import time

PIECES, PIECE, ROUNDS = 600, 1000, 2500


def take(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        assert more, "end of stream"
        data += more
    return data


def stream():
    for number in range(PIECES):
        yield (b"%d " % number * PIECE)[:PIECE]


if sys.argv[1] == "serve":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connection = listener.accept()[0]
    for piece in stream():
        connection.sendall(piece)
        time.sleep(0.0003)
    connection.sendall(b"over")
    print("sent", flush=True)
    for _ in range(ROUNDS):
        connection.sendall(take(connection, PIECE)[::-1])
    print("answered", flush=True)
else:
    connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sys.stdin.readline()
    for piece in stream():
        for at in range(0, PIECE, 100):
            assert take(connection, 100) == piece[at : at + 100], "other contents"
        time.sleep(0.0003)
    assert take(connection, 4) == b"over"
    for number in range(ROUNDS):
        piece = (b"%d-" % number * PIECE)[:PIECE]
        connection.sendall(piece)
        assert take(connection, PIECE) == piece[::-1], "other contents"
    print("verified", flush=True)
sys.stdin.readline()
