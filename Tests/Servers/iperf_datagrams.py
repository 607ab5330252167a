"""Checks what iperf3 -u -J says by what the kernel has counted: iperf_datagrams.py exact|least BEFORE AFTER < JSON, two copies of
/proc/net/snmp. The kernel has sent as many as the sender says (with `least` there may be others who send), the receiver has got each one
that was read before its end, in order, and misses no more than the kernel has dropped."""
import json
import sys


def counted(path):
    names, values = (line.split()[1:] for line in open(path) if line.startswith("Udp:"))
    return dict(zip(names, map(int, values)))


report = json.load(sys.stdin)
assert "error" not in report, report["error"]
end = report["end"]
before, after = map(counted, sys.argv[2:])
kernel = {name: after[name] - before[name] for name in after}
# Each stream begins with a datagram in each direction.
greetings = 2 * len(end["streams"])
assert all(stream["udp"]["out_of_order"] == 0 for stream in end["streams"]), "out of order"
sent = received = lost = late = 0
for suffix in ("", "_bidir_reverse"):
    if "sum_sent" + suffix in end:
        got = end["sum_received" + suffix]
        sent += end["sum_sent" + suffix]["packets"]
        received += got["packets"] - got["lost_packets"]
        lost += got["lost_packets"]
        # Sent behind the last one that the receiver counts: it may read on for a moment.
        late += end["sum_sent" + suffix]["packets"] - got["packets"]
        assert got["packets"] > got["lost_packets"] >= 0, got
more = {name: kernel[name] - ours - greetings for name, ours in (("OutDatagrams", sent), ("InDatagrams", received))}
said = f"{sent} sent, {received} received, {late} late, {kernel}"
assert min(more.values()) >= 0, said
assert sys.argv[1] == "least" or more["OutDatagrams"] == 0 and more["InDatagrams"] <= late, said
assert lost <= kernel["RcvbufErrors"], f"{lost} lost, {said}"
print(f"{sent} datagrams, {received} received, {lost} lost, {kernel['RcvbufErrors']} dropped by the kernel")
