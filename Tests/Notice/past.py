"""As notice.py: what the kernel is not told of, and what goes past libc. usage: past.py CASE"""
import ctypes, fcntl, mmap, os, resource, select, signal, socket, struct, subprocess, sys, time

from notice import pair

CLOSE, RECVFROM, CLONE = 3, 45, 56


def machine_code():
    """A system call in machine code of this program's own, which no library sees."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # The arguments move up by one, as in libc's syscall().
    code.write(bytes.fromhex("4889f8 4889f7 4889d6 4889ca 4d89c2 4d89c8 4c8b4c2408 0f05 c3"))
    machine_code.kept = code
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return ctypes.CFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(address)


def io_counters():
    """What /proc counts of 1000 writes and 1000 reads: whatever counts or stops system calls sees as many."""
    connector, acceptor = pair()

    def calls():
        with open("/proc/self/io") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("sysc"))

    before = calls()
    for _ in range(1000):
        os.write(connector.fileno(), b"x")
        os.read(acceptor.fileno(), 1)
    return "all" if calls() - before >= 2000 else "few"


def times_of_getsockopt():
    """TCP_INFO's time of the last data, after a message that comes half a second behind the others."""
    connector, acceptor = pair()
    start = time.monotonic()
    time.sleep(0.5)
    sent = time.monotonic()
    connector.send(b"x")
    acceptor.recv(1)
    info = connector.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    now = time.monotonic()
    milliseconds = int.from_bytes(info[44:48], sys.byteorder)  # tcpi_last_data_sent
    return "that message" if milliseconds < 1000 * (now - (start + sent) / 2) else "an earlier one"


def queue_of_siocoutq():
    """Whether what the peer can read and what SIOCOUTQ says come to what was sent."""
    connector, acceptor = pair()
    connector.setblocking(False)
    sent = 0
    try:
        while True:
            sent += connector.send(b"x" * 1000)
    except BlockingIOError:
        pass

    def bytes_of(end, request):
        return struct.unpack("i", fcntl.ioctl(end, request, bytes(4)))[0]

    for _ in range(500):  # a late acknowledgement
        if bytes_of(connector, 0x5411) + bytes_of(acceptor, 0x541B) == sent:
            return "exact"
        time.sleep(0.002)
    return "an estimate"


def memory():
    """Memory that the process is charged for after a megabyte is sent and not read: RLIMIT_AS, the memory cgroup."""

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

    before, pages = status("VmSize"), status("RssShmem")
    connector, acceptor = pair()
    connector.setblocking(False)
    text = bytes(1000)
    try:
        for _ in range(1000):
            connector.send(text)
    except BlockingIOError:
        pass
    return ("counted" if status("VmSize") - before >= 2048 else "not counted") + (
        ", used" if status("RssShmem") - pages >= 100 else ", not used")


def room_of_a_sender():
    """How much a sender that does not block gets rid of in one go, before anybody reads: 1.5 MB, or less."""
    connector, acceptor = pair()
    connector.setblocking(False)
    sent = 0
    try:
        while sent < 1500000:
            sent += connector.send(bytes(1500000 - sent))
    except BlockingIOError:
        return "less"
    return "all"


def counts_of_a_left_ring():
    """The library's own counts of a connection whose sender left the ring with bytes unread: do they come to what was sent?"""
    connector, acceptor = pair()
    connector.setblocking(False)
    try:
        before = [counts(end) for end in (connector, acceptor)]
    except OSError:
        return "no counts"
    sent = got = 0
    while sent < 1500000:
        select.select([], [connector], [])
        sent += connector.send(bytes(1500000 - sent))
    while got < sent:
        got += len(acceptor.recv(1 << 20))
    after = [counts(end) for end in (connector, acceptor)]
    rx, tx, openings = 0, 1, 2
    if after[0][openings + 1] == before[0][openings + 1]:
        return "the ring was not left"
    return "all" if after[0][tx] - before[0][tx] == sent and after[1][rx] - before[1][rx] == sent else f"{before} {after}"


def counts(end):
    """Bytes received and sent, by ring and kernel, lanes opened and left (sl_endpoint_counters)."""
    words = struct.unpack("16Q", end.getsockopt(socket.SOL_SOCKET, 0x534C02, 136)[:128])
    return words[4] + words[6], words[5] + words[7], words[9], words[10]


def raw_receive():
    """A receive in the program's own machine code, as of io_uring or a static library; its bytes are there."""
    connector, acceptor = pair()
    connector.send(b"x")
    text = ctypes.create_string_buffer(1)
    n = machine_code()(RECVFROM, acceptor.fileno(), ctypes.addressof(text), 1, socket.MSG_DONTWAIT, 0, 0)
    return "the bytes" if n == 1 else os.strerror(-n)


def libc_by_handle():
    """The same by a function that was looked up in libc itself."""
    connector, acceptor = pair()
    connector.send(b"x")
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    n = libc.recv(acceptor.fileno(), ctypes.create_string_buffer(1), 1, socket.MSG_DONTWAIT)
    return "the bytes" if n == 1 else os.strerror(ctypes.get_errno())


def closed_past_libc():
    """A send on a number that machine code has closed, and a read of that number when it is another file."""
    connector, acceptor = pair()
    machine_code()(CLOSE, connector.fileno(), 0, 0, 0, 0, 0)
    try:
        said = "sent %d" % os.write(connector.fileno(), b"x")
    except OSError as error:
        said = error.strerror
    while os.open("/dev/zero", os.O_RDWR) != connector.fileno():
        pass
    if os.read(connector.fileno(), 2) == bytes(2):
        said += ", then the new file"
    connector.detach()
    return said


def filtered(case, *lines):
    """What a case comes to in a program that has this filter of system calls from birth."""
    program = b"".join(struct.pack("<HBBI", *line) for line in lines)
    code = ctypes.create_string_buffer(program)
    head = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)

    def install():
        libc.prctl(38, 1, 0, 0, 0)
        libc.prctl(22, 2, head, 0, 0)

    done = subprocess.run([sys.executable, __file__, case], preexec_fn=install, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode >= 0 else signal.Signals(-done.returncode).name


ALLOW = (0x06, 0, 0, 0x7FFF0000)


def killed_at_clone():
    """A program that starts nothing, under a filter that kills at clone(2)."""
    return filtered("talks", (0x20, 0, 0, 0), (0x15, 0, 1, CLONE), (0x06, 0, 0, 0x80000000), ALLOW)


def tried_by_a_child():
    """Children that a program has waited for which starts none, under a filter that lets everything pass."""
    return filtered("children", ALLOW)


def talks():
    pair()
    return "talks"


def children():
    pair()
    return "one" if resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt else "none"


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
