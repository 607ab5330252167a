"""Checks what iperf3 -J says: iperf_sums.py MEGABYTES < JSON. No error, and as many bytes as were asked for."""
import json
import sys

report = json.load(sys.stdin)
assert "error" not in report, report["error"]
end = report["end"]
sent, got = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
# With both directions the first that is done ends the test.
total = sent + end.get("sum_sent_bidir_reverse", {"bytes": 0})["bytes"]
assert total >= int(sys.argv[1]) << 20, f"only {total} bytes sent"
assert 0 < got <= sent, f"{sent} bytes sent, {got} received"
print(f"{end['sum_received']['bits_per_second'] / 8e9:.1f} GB/s")
