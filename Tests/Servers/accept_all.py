"""Started by an inetd with a listening socket as its input: takes each connection, and writes back what it reads."""
import socket
import threading


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


listener = socket.socket(fileno=0)
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
