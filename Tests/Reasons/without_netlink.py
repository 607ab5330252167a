"""Runs a command under a filter, as sandboxes have it from birth, that refuses netlink sockets. usage: without_netlink.py COMMAND..."""
import ctypes, os, struct, sys

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
program = b"".join(
    struct.pack("<HBBI", *line)
    for line in [
        (LOAD, 0, 0, 0),  # the call's number
        (EQUAL, 0, 3, 41),  # socket
        (LOAD, 0, 0, 16),  # its first argument
        (EQUAL, 0, 1, 16),  # AF_NETLINK
        (RETURN, 0, 0, 0x00050001),  # EPERM
        (RETURN, 0, 0, 0x7FFF0000),
    ]
)
code = ctypes.create_string_buffer(program)
head = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, head, 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
