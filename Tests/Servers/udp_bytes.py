"""Bytes that UDP sockets bound to a port have received and sent, by ring and by the kernel: `sluicestat netstat -a --json |
udp_bytes.py PORT`."""
import json
import sys

received = sent = 0
for row in json.load(sys.stdin)["sockets"]:
    if row["protocol"].startswith("udp") and row["local"]["port"] == int(sys.argv[1]) and row.get("counters"):
        counters = row["counters"]
        received += counters["rx_ring_bytes"] + counters["rx_kernel_bytes"]
        sent += counters["tx_ring_bytes"] + counters["tx_kernel_bytes"]
print(received, sent)
