"""One end of a connection, which counts its bytes for itself.

end.py serve          prints its port, and echoes what one connection brings
end.py connect PORT   for each line `N SIZE` of its input: sends N messages of SIZE bytes, reads their echo, prints both sums;
                      for `fork`: forks a child with a socket; for `name NAME`: takes that name; for `reset N`: keeps N
                      connections that their peer has reset, and prints their descriptors
"""
import os
import select
import socket
import struct
import sys

if sys.argv[1] == "serve":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    sys.exit()

connection = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
print(connection.fileno(), connection.getsockname()[1], flush=True)
sent = received = 0
children, kept = [], []


def reset_one():
    """A connection after its peer's reset."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        with listener.accept()[0] as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    poll = select.poll()
    poll.register(one, 0)
    poll.poll()
    return one


for line in sys.stdin:
    if line.startswith("name "):
        with open("/proc/self/comm", "w", encoding="utf-8") as name:
            name.write(line[5:].rstrip("\n"))
        print("done", flush=True)
        continue
    if line.startswith("reset "):
        kept += [reset_one() for _ in range(int(line[6:]))]
        print(*(one.fileno() for one in kept), flush=True)
        continue
    if line.strip() == "fork":
        # A child with a socket of its own, which lives as long as this process keeps the pipe.
        mine, its = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(its)
            own = socket.create_server(("127.0.0.1", 0))
            print(os.getpid(), flush=True)
            os.read(mine, 1)
            os._exit(0)
        os.close(mine)
        children.append((child, its))
        continue
    count, size = map(int, line.split())
    for _ in range(count):
        connection.sendall(bytes(size))
        sent += size
        left = size
        while left:
            left -= len(connection.recv(left))
        received += size
    print(sent, received, flush=True)
for child, its in children:
    os.close(its)
    os.waitpid(child, 0)
