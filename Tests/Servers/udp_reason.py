"""Succeeds when a UDP socket of a port says this reason: `sluicestat netstat -a --json | udp_reason.py PORT REASON`."""
import json
import sys

port, wanted = int(sys.argv[1]), sys.argv[2]
found = [
    row["reason"]["name"]
    for row in json.load(sys.stdin)["sockets"]
    if row["protocol"].startswith("udp") and row["local"]["port"] == port and "reason" in row
]
sys.exit(wanted not in found)
