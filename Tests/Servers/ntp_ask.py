"""A small NTP client (RFC 4330): ntp_ask.py PORT QUESTIONS. It asks by IPv4 and IPv6, by a socket that is connected and one that is not.
An answer must be to its question, and as both have one clock, its times must lie between those of the question and the answer."""
import socket
import struct
import sys
import time

port, questions = int(sys.argv[1]), int(sys.argv[2])
SINCE_1900 = 2208988800
# The server's noise below its precision, and the rounding of a float.
SLACK = 1e-5


def seconds(at):
    return at / 2**32 - SINCE_1900


def ask(s, number, address):
    mine = int((time.time() + SINCE_1900) * 2**32)
    request = struct.pack(">B39xQ", 0o43, mine)
    if number % 2:
        s.send(request)
    else:
        s.sendto(request, address)
    reply, sender = s.recvfrom(1000)
    now = time.time()
    assert sender[:2] == address, sender
    assert len(reply) == 48, len(reply)
    first, stratum = reply[:2]
    origin, received, sent = struct.unpack(">3Q", reply[24:])
    assert first & 7 == 4 and first >> 6 == 0, f"first byte {first:o}"
    assert stratum == 8, stratum
    assert origin == mine, "the answer to another question"
    times = [seconds(mine), seconds(received), seconds(sent), now]
    assert all(later - earlier > -SLACK for earlier, later in zip(times, times[1:])), times


count = 0
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for connected in (0, 1):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.settimeout(30)
            if connected:
                s.connect((host, port))
            for _ in range(questions):
                ask(s, connected, (host, port))
                count += 1
print("verified", count)
