"""Writes each living connection of a port whose end is under Sluice: `sluicestat netstat --json | reasons.py PORT`, a line
`LOCAL REMOTE COMMAND: LANE`, or the reason in its place."""
import json
import sys

port = int(sys.argv[1])
for row in json.load(sys.stdin)["sockets"]:
    if port in (row["local"]["port"], row["remote"]["port"]) and "lane" in row and row["state"] != "LISTEN":
        holders = ",".join(f"{holder['pid']}/{holder['command']}" for holder in row["holders"])
        reason = row["reason"]["name"] if "reason" in row else row["lane"]
        print(row["local"]["port"], row["remote"]["port"], row["state"], f"{holders}: {reason}")
