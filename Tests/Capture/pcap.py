"""Reads a file of packets as its specification tells, apart from the tool that has written it."""
import struct
from collections import namedtuple

Packet = namedtuple("Packet", "time kind source sport target tport position acknowledged data length")


def read(data):
    """All packets; raises an error at anything that is not as it should be, also at an end in the middle of one."""
    magic, major, minor, _, _, _, link = struct.unpack_from("<IHHIIII", data)
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 101), (hex(magic), major, minor, link)
    at, packets = 24, []
    while at < len(data):
        seconds, nanoseconds, kept, length = struct.unpack_from("<IIII", data, at)
        assert kept <= length <= 65575 and nanoseconds < 10**9 and at + 16 + kept <= len(data), (at, kept, length)
        packets.append(packet(data[at + 16 : at + 16 + kept], length, seconds * 10**9 + nanoseconds))
        at += 16 + kept
    return packets


def packet(ip, length, time):
    if ip[0] >> 4 == 4:
        assert ip[0] == 0x45 and struct.unpack_from(">H", ip, 2)[0] == length
        protocol, source, target, rest = ip[9], ip[12:16], ip[16:20], ip[20:]
        length -= 20
    else:
        assert ip[0] >> 4 == 6 and struct.unpack_from(">H", ip, 4)[0] == length - 40
        protocol, source, target, rest = ip[6], ip[8:24], ip[24:40], ip[40:]
        length -= 40
    sport, tport = struct.unpack_from(">HH", rest)
    if protocol == 17:
        assert struct.unpack_from(">H", rest, 4)[0] == length
        return Packet(time, "udp", source, sport, target, tport, 0, 0, rest[8:], length - 8)
    assert protocol == 6 and rest[12] >> 4 == 5
    position, acknowledged = struct.unpack_from(">II", rest, 4)
    return Packet(time, "tcp", source, sport, target, tport, position - 1, acknowledged - 1, rest[20:], length - 20)
