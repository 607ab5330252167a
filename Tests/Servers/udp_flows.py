"""The lanes of the UDP sockets that are bound to a port: `sluicestat netstat -a --json | udp_flows.py PORT LEAST MOST`. It succeeds when
there are not fewer and not more, and by none of them a datagram was dropped, nor by those of their peers."""
import json
import sys

port, least, most = (int(word) for word in sys.argv[1:])
rows = [row for row in json.load(sys.stdin)["sockets"] if row["protocol"].startswith("udp") and row.get("counters")]
lanes = [row for row in rows if row["local"]["port"] == port and row["lane"] == "loopback"]
drops = sum(row["counters"]["drops"] for row in rows if port in (row["local"]["port"], row["remote"]["port"]))
print(f"{len(lanes)} lanes, {drops} dropped")
sys.exit(not least <= len(lanes) <= most or drops != 0)
