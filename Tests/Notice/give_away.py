"""A program gives a connection away (exec of an image without Sluice) with bytes unread, and its peer makes no call. Prints what
the new image finds at once, what it finds after the peer's next call, and how often the program waited for its peer.
usage: give_away.py FILTER [LIBRARY]    as nobody, under the system call filter of a container, which refuses pidfd_getfd"""

import json
import os
import subprocess
import sys

RECEIVER = """
import os, select, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
end, _ = listener.accept()
for _ in range(60):
    end.send(b"x")
    end.recv(1)
sys.stdin.readline()
select.select([end], [], [])
end.set_inheritable(True)
for _ in range(3):
    try:
        os.execv("/nonexistent", ["x"])
    except FileNotFoundError:
        pass
print("tried", flush=True)
sys.stdin.readline()
os.environ.pop("LD_PRELOAD", None)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], str(end.fileno())])
"""
READER = """
import socket, sys
end = socket.socket(fileno=int(sys.argv[1]))
end.setblocking(False)
try:
    print(end.recv(100).decode(), flush=True)
except BlockingIOError:
    print("nothing", flush=True)
sys.stdin.readline()
end.setblocking(True)
text = b""
while not text.endswith(b"more"):
    text += end.recv(100)
print(text.decode(), flush=True)
"""
SENDER = """
import socket, sys
end = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for _ in range(60):
    end.send(end.recv(1))
end.send(b"last words")
print("sent", flush=True)
sys.stdin.readline()
end.send(b" more")
sys.stdin.readline()
"""


# One that nobody may run.
python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


def start(code, *arguments):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    environment = dict(os.environ, SLUICE_LANE_AT="4")
    if len(sys.argv) > 2:
        environment["LD_PRELOAD"] = sys.argv[2]
    return subprocess.Popen(
        [*nobody, sys.argv[1], "container", python, "-c", code, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment, cwd="/",
    )


def go(process):
    process.stdin.write("go\n")


receiver = start(RECEIVER, READER)
sender = start(SENDER, receiver.stdout.readline().strip())
assert sender.stdout.readline() == "sent\n"
go(receiver)
assert receiver.stdout.readline() == "tried\n"
waits = 0
if len(sys.argv) > 2:
    stat = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.build/bin/sluicestat")
    report = json.loads(subprocess.check_output([stat, "why", str(receiver.pid), "--json"]))
    waits = sum(stack["counters"]["peers_awaited"] for stack in report["stacks"])
go(receiver)
first = receiver.stdout.readline().strip()
go(sender)
go(receiver)
print(f"{first}, then {receiver.stdout.readline().strip()}; {waits} waits")
for process in (sender, receiver):
    process.stdin.close()
    process.wait()
