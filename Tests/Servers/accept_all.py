"""Started by an inetd with a listening socket as its input: takes each connection, and writes back what it reads, as long as
the inetd lives."""
import os
import socket
import threading


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


listener = socket.socket(fileno=0)
listener.settimeout(0.5)
parent = os.getppid()
while os.getppid() == parent:
    try:
        connection = listener.accept()[0]
    except TimeoutError:
        continue
    connection.settimeout(None)
    threading.Thread(target=echo, args=(connection,), daemon=True).start()
