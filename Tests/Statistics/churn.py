"""Connections that come and go, with some messages each, until standard input ends; prints their port first."""
import socket
import sys
import threading

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
ending = threading.Event()


def serve(connection):
    with connection:
        while data := connection.recv(1000):
            connection.sendall(data)


def accept():
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


def come_and_go():
    while not ending.is_set():
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for _ in range(8):
                connection.sendall(b"x" * 100)
                connection.recv(1000)


threading.Thread(target=accept, daemon=True).start()
threads = [threading.Thread(target=come_and_go) for _ in range(2)]
for thread in threads:
    thread.start()
print(port, flush=True)
sys.stdin.read()
ending.set()
for thread in threads:
    thread.join()
