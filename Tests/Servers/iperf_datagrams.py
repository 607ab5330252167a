"""Checks what iperf3 -u -J says: iperf_datagrams.py none|any < JSON. No error, datagrams came, none out of order, and with `none`
no loss."""
import json
import sys

report = json.load(sys.stdin)
assert "error" not in report, report["error"]
total = lost = 0
for stream in report["end"]["streams"]:
    udp = stream["udp"]
    assert udp["packets"] > udp["lost_packets"] >= 0, udp
    assert udp["out_of_order"] == 0, udp
    total, lost = total + udp["packets"], lost + udp["lost_packets"]
assert sys.argv[1] == "any" or lost == 0, f"{lost} of {total} lost"
print(f"{total} datagrams, {lost} lost")
