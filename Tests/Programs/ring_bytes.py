"""Sums the ring bytes of the connections that have a port: `sluicestat netstat -a --json | ring_bytes.py PORT`."""
import json
import sys

port = sys.argv[1]
total = 0
for socket in json.load(sys.stdin)["sockets"]:
    if any(socket[end].rsplit(":", 1)[-1] == port for end in ("local", "remote")):
        total += socket.get("rx_ring_bytes", 0) + socket.get("tx_ring_bytes", 0)
print(total)
