"""Counts the ends of connections of a port that have carried so many bytes by ring, or by the kernel:
`sluicestat netstat --json | flows.py PORT BYTES ring|kernel ENDS`. It succeeds when there are at least as many, and no end has
carried more by the other way."""
import json
import sys

port, least, way, wanted = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
found, shown, wrong = 0, [], 0
for row in json.load(sys.stdin)["sockets"]:
    counters = row.get("counters")
    if not counters or port not in (row["local"]["port"], row["remote"]["port"]):
        continue
    carried = {by: counters[f"rx_{by}_bytes"] + counters[f"tx_{by}_bytes"] for by in ("ring", "kernel")}
    if max(carried.values()) < least:
        continue
    found += carried[way] == max(carried.values())
    wrong += carried[way] != max(carried.values())
    commands = ",".join(sorted({holder["command"] for holder in row["holders"]}))
    shown.append(f"{row['local']['port']} {commands}: ring {carried['ring']}, kernel {carried['kernel']}, {row.get('reason', {}).get('name', row.get('lane'))}")
print(f"{found} ends" if found >= wanted and not wrong else "; ".join(shown) or "none")
sys.exit(found < wanted or wrong > 0)
