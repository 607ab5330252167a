"""Succeeds when a UDP socket of a port, or of a program, says this reason: `sluicestat netstat -a --json | udp_reason.py
PORT|COMMAND REASON`."""
import json
import sys

which, wanted = sys.argv[1:]
found = [
    row["reason"]["name"]
    for row in json.load(sys.stdin)["sockets"]
    if row["protocol"].startswith("udp")
    and which in [str(row["local"]["port"])] + [holder["command"] for holder in row["holders"]]
    and "reason" in row
]
sys.exit(wanted not in found)
