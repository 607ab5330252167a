"""Sums the ring bytes of the connections that have a port: `sluicestat netstat -a --json | ring_bytes.py PORT`."""
import json
import sys

port = int(sys.argv[1])
total = 0
for row in json.load(sys.stdin)["sockets"]:
    if port in (row["local"]["port"], row["remote"]["port"]):
        counters = row.get("counters") or {}
        total += counters.get("rx_ring_bytes", 0) + counters.get("tx_ring_bytes", 0)
print(total)
