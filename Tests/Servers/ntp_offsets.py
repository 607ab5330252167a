"""Checks what `chronyc ntpdata` said of two servers that have the same clock as their client: ntp_offsets.py FILE. Every answer was
valid, its times were the kernel's, and no offset is more than half of what the answer took, with the server's part of it."""
import re
import sys

servers = open(sys.argv[1]).read().split("Remote address")[1:]
assert len(servers) == 2, servers
for text in servers:
    fields = {key.strip(): value.strip() for key, value in re.findall(r"^([^:\n]+):(.*)$", text, re.MULTILINE)}
    offset, delay, response = (float(fields[name].split()[0]) for name in ("Offset", "Peer delay", "Response time"))
    assert abs(offset) <= delay / 2 + response + 1e-5, text
    assert fields["Stratum"] == "8" and fields["Reference ID"].startswith("7F7F0101"), text
    assert fields["RX timestamping"] == "Kernel", text
    assert fields["Total RX"] == fields["Total valid RX"], text
print("verified")
