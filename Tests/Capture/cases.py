"""Cases of `sluicestat capture`, with real processes: cases.py CASE STAT LIBRARY TCPDUMP

Prints nothing and exits 0 when the case holds."""
import contextlib
import fcntl
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time

import pcap

case, stat, library, tcpdump = sys.argv[1:5]
here = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 100


class Program:
    """One end, of talk.py, under Sluice."""
    def __init__(self, *arguments, prepare=None, name=None):
        environment = dict(os.environ, LD_PRELOAD=library, SLUICE_LANE_AT="4")
        command = [sys.executable if name is None else name, f"{here}/talk.py", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
                                        preexec_fn=prepare)
        self.pid = self.process.pid
        self.ports = list(map(int, self.line().split()))

    def line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        assert ready, "the program stands still"
        return self.process.stdout.readline().strip()

    def tell(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def exchange(self, text):
        self.tell(text)
        assert self.line() == "done"

    def counter(self, name):
        """A counter of its sockets that are open, summed up."""
        done = subprocess.run([stat, "stats", str(self.pid), "--json"], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["socket_counters"][name]

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def pair(kind, family=4, count=1, **options):
    """Two programs on their lane: client, server."""
    server = Program("serve", kind, family, os.getcwd(), **options)
    try:
        client = Program("connect", kind, family, os.getcwd(), server.ports[0], count, **options)
        try:
            # Until the lane is there.
            end = time.monotonic() + PATIENCE
            while client.counter("tx_ring_bytes") == 0 or server.counter("tx_ring_bytes") == 0:
                assert time.monotonic() < end, "no lane"
                client.exchange("20 100")
            yield client, server
        finally:
            client.kill()
    finally:
        server.kill()


class Tool:
    """A capture into `file`, from when it captures."""
    def __init__(self, *arguments, file="packets.pcap", stdout=subprocess.DEVNULL):
        self.file = file
        self.process = subprocess.Popen([stat, "capture", "-w", file, *map(str, arguments)], stdin=subprocess.DEVNULL,
                                        stdout=stdout, stderr=subprocess.PIPE, text=True)
        self.said = []
        while not self.said or " capturing " not in self.said[-1]:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said.append(line)

    def wait(self):
        """How it ends: its packets as it counts them, and those that were dropped."""
        _, rest = self.process.communicate(timeout=PATIENCE)
        self.said += rest.splitlines()
        assert self.process.returncode == 0, self.said
        numbers = re.fullmatch(r"sluicestat: (\d+) packets captured, (\d+) dropped", self.said[-1])
        assert numbers, self.said
        return tuple(map(int, numbers.groups()))

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.wait()

    def packets(self):
        with open(self.file, "rb") as file:
            return pcap.read(file.read())


def refused(*arguments, status):
    """What the tool says when it ends at once."""
    done = subprocess.run([stat, "capture", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    return done.stderr


def sent(source, target):
    """What a program has written down."""
    with open(f"{source}-{target}", "rb") as file:
        return file.read()


def directions(packets):
    """The packets of each direction, in the order of the file."""
    result = {}
    for packet in packets:
        result.setdefault((packet.sport, packet.tport), []).append(packet)
    return result


class Count:
    """What the rings of these programs carry from now on."""
    def __init__(self, *programs, name="tx_ring_bytes", received=None):
        self.names = [name] if received is None else [name, received]
        self.programs = programs
        self.before = self.sums()

    def sums(self):
        return [sum(program.counter(name) for program in self.programs) for name in (*self.names, "lane_handbacks")]

    def moved(self):
        """How many; and whether a sender has taken some back, which were packets before and are none of these."""
        *counts, handbacks = [now - then for now, then in zip(self.sums(), self.before)]
        return sum(counts), handbacks > 0


def compare_streams(packets, moved):
    """Every byte is the one that was sent at that place, none is there twice, and as many are there as rings have carried."""
    ring_bytes, is_more = moved
    seen = 0
    for (source, target), list_ in directions(packets).items():
        stream, end = sent(source, target), 0
        for packet in list_:
            assert packet.kind == "tcp" and packet.length == len(packet.data) > 0
            assert packet.position >= end, "bytes are there twice"
            end = packet.position + packet.length
            assert stream[packet.position : end] == packet.data, "these bytes were not sent"
            seen += packet.length
    assert seen == ring_bytes or is_more and seen > ring_bytes, (seen, ring_bytes, is_more)


def compare_datagrams(packets, moved):
    """They are some of those that were sent, in their order, and as many as rings have carried."""
    count = moved[0]
    for (source, target), list_ in directions(packets).items():
        rest = iter(bytes.fromhex(line) for line in sent(source, target).decode().split("\n")[:-1])
        for packet in list_:
            assert packet.kind == "udp" and packet.length == len(packet.data)
            assert any(data == packet.data for data in rest), "this datagram was not sent, or not then"
    assert len(packets) == count, (len(packets), count)


def check_sums(packets, file="packets.pcap"):
    """tcpdump reads all of it and finds each checksum right."""
    done = subprocess.run([tcpdump, "-Z", "root", "-nn", "-vv", "-r", file], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    right = len(re.findall(r"cksum 0x[0-9a-f]+ \(correct\)|\[udp sum ok\]", done.stdout))
    assert right == len(packets) and not re.search(r"incorrect|bad (udp )?cksum|truncated|bad length", done.stdout), done.stdout[:2000]


# More than what is sent: nothing is dropped, however slow the tool is.
WHOLE = ("-B", 65536)
SIZES = {"tcp": "2 1 100 1460 70000 3000000", "udp": "3 0 1 100 1472 9000 65507"}
COUNTERS = {"tcp": "tx_ring_bytes", "udp": "tx_packets"}
COMPARE = {"tcp": compare_streams, "udp": compare_datagrams}


def whole(kind, family, choose):
    """A capture by those processes that `choose` names tells of both directions what rings have carried."""
    with pair(kind, family) as (client, server):
        tool = Tool(*choose(client, server), *WHOLE)
        count = Count(client, server, name=COUNTERS[kind])
        client.exchange(SIZES[kind])
        moved = count.moved()
        captured, dropped = tool.end()
        packets = tool.packets()
        assert dropped == 0 and captured == len(packets) and moved[0] > 0, (captured, dropped, len(packets), moved)
        COMPARE[kind](packets, moved)
        assert len(directions(packets)) == 2
        assert [p.time for p in packets] == sorted(p.time for p in packets)
        assert abs(packets[-1].time / 10**9 - time.time()) < 3600
        if kind == "udp":
            assert {0, 1, 65507} <= {p.length for p in packets}
        check_sums(packets)


def case_tcp():
    whole("tcp", 4, lambda client, server: (client.pid, server.pid))


def case_tcp6():
    whole("tcp", 6, lambda client, server: (client.pid, server.pid))


def case_udp():
    whole("udp", 4, lambda client, server: (client.pid, server.pid))


def case_udp6():
    whole("udp", 6, lambda client, server: (client.pid, server.pid))


def case_one_end():
    """One process tells of both directions, whichever it is."""
    whole("tcp", 4, lambda client, server: (client.pid,))
    for name in [n for n in os.listdir() if "-" in n]:
        os.unlink(name)
    whole("udp", 4, lambda client, server: (server.pid,))


def case_threads():
    """Eight connections at once: each direction is whole."""
    with pair("tcp", count=8) as (client, server):
        tool = Tool(client.pid, server.pid, *WHOLE)
        count = Count(client, server)
        client.exchange("150 1 777 20000")
        moved = count.moved()
        captured, dropped = tool.end()
        packets = tool.packets()
        assert dropped == 0 and captured == len(packets)
        compare_streams(packets, moved)
        assert len(directions(packets)) == 16


def case_fork():
    """A child that has inherited the connection, and has no stack of its own, is seen by its peer at once; where it was chosen, by
    itself."""
    with pair("tcp") as (client, server):
        client.tell("fork")
        child = int(client.line())
        tool = Tool(server.pid)
        count = Count(server, received="rx_ring_bytes")
        client.exchange("20 1000")
        moved = count.moved()
        captured, dropped = tool.end()
        assert (captured, dropped) == (len(tool.packets()), 0) and moved[0] > 0
        compare_streams(tool.packets(), moved)
        tool = Tool(child)
        end = time.monotonic() + PATIENCE
        while os.path.getsize(tool.file) <= 24:
            assert time.monotonic() < end, "nothing is captured of the child"
            client.exchange("20 1000")
        tool.end()
        packets = tool.packets()
        compare_streams(packets, (sum(p.length for p in packets), False))
        os.kill(child, signal.SIGKILL)


def case_choice():
    """-c, -s, --port, -P, --seconds."""
    with pair("tcp", count=2) as (client, server):
        one, other = client.ports
        tool = Tool(client.pid, "-c", 7)
        client.exchange("30 50")
        assert tool.wait() == (7, 0) and len(tool.packets()) == 7
        tool = Tool(client.pid, server.pid, "-s", 60)
        client.exchange("10 5 500")
        tool.end()
        cut = [p for p in tool.packets() if p.length > 20]
        assert cut and all(len(p.data) == 20 for p in cut), cut[:3]
        for packet in cut:
            assert sent(packet.sport, packet.tport)[packet.position : packet.position + 20] == packet.data
        for arguments, expected in ((("--port", one), {one}), (("-p", other), {other}), (("-P", "tcp"), {one, other})):
            tool = Tool(client.pid, *arguments)
            client.exchange("10 5 500")
            tool.end()
            assert {p.sport for p in tool.packets()} - {server.ports[0]} == expected, arguments
        tool = Tool(client.pid, "-P", "udp", "--seconds", 1)
        client.exchange("10 5")
        assert tool.wait() == (0, 0) and tool.packets() == []


def case_pipe():
    """Standard output, packet by packet; a reader that goes ends it, one that stands still does not keep it from ending."""
    with pair("tcp") as (client, server):
        tool = Tool(client.pid, file="-", stdout=subprocess.PIPE)
        client.exchange("10 100")
        data, end = b"", time.monotonic() + PATIENCE
        os.set_blocking(tool.process.stdout.fileno(), False)
        while len(data) < 24 + 20 * 156:
            assert time.monotonic() < end
            try:
                data += os.read(tool.process.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                time.sleep(0.01)
        assert len(pcap.read(data)) == 20
        tool.process.stdout.close()
        tool.process.stdout = None
        while tool.process.poll() is None:
            assert time.monotonic() < end
            client.exchange("5 100")
        tool.wait()
        tool = Tool(client.pid, file="-", stdout=subprocess.PIPE)
        client.exchange("10 100000")
        tool.process.send_signal(signal.SIGTERM)
        # The pipe is full of what nobody has read, until here.
        tool.process.wait(PATIENCE)
        assert tool.process.returncode == 0


def case_stopped():
    """A tool that stands still: nobody waits for it, and what it has missed is counted."""
    with pair("tcp") as (client, server):
        tool = Tool(client.pid, server.pid)
        tool.process.send_signal(signal.SIGSTOP)
        count = Count(client, server)
        client.exchange("40 200000")
        client.exchange("40 200000")
        moved = count.moved()
        tool.process.send_signal(signal.SIGCONT)
        captured, dropped = tool.end()
        packets = tool.packets()
        assert dropped > 0 and captured == len(packets) > 0, (captured, dropped)
        seen = sum(p.length for p in packets)
        assert seen < moved[0]
        compare_streams(packets, (seen, False))


def case_tool_killed():
    """A tool that is killed: programs go on, another begins at once."""
    with pair("tcp") as (client, server):
        for _ in range(3):
            tool = Tool(client.pid, server.pid, file="killed.pcap")
            client.tell("50 10000")
            tool.process.kill()
            tool.process.wait(PATIENCE)
            assert client.line() == "done"
        tool = Tool(client.pid, server.pid)
        count = Count(client, server)
        client.exchange("20 1000")
        moved = count.moved()
        assert tool.end()[1] == 0
        compare_streams(tool.packets(), moved)


def case_program_killed():
    """Programs that are killed in the middle: what they wrote is there, and the tool ends with the last one that it was told."""
    for _ in range(5):
        with pair("tcp") as (client, server):
            tool = Tool(client.pid, server.pid)
            client.tell("100000 1 3000 50000")
            time.sleep(0.1)
            client.kill()
            server.kill()
            captured, _ = tool.wait()
            packets = tool.packets()
            assert captured == len(packets) > 0
            compare_streams(packets, (sum(p.length for p in packets), False))
        for name in [n for n in os.listdir() if "-" in n]:
            os.unlink(name)


def case_two_tools():
    """One at a time: the second says who captures; after it, another can."""
    with pair("tcp") as (client, server):
        tool = Tool(client.pid)
        said = refused("-w", "second.pcap", client.pid, status=2)
        assert f"process {client.pid}: sluicestat, process {tool.process.pid}, captures it already" in said, said
        assert not os.path.exists("second.pcap")
        client.exchange("10 100")
        assert tool.end()[0] > 0
        tool = Tool(client.pid)
        client.exchange("10 100")
        assert tool.end()[0] > 0


def case_late():
    """Processes that come after the tool, by their name, and as one of all."""
    os.symlink(sys.executable, "talker")
    choices = [("talker",)] if os.environ.get("SLUICE_TEST_VIEW") != "1" else [("talker",), ()]
    for choice in choices:
        tool = Tool(*choice)
        with pair("tcp", name=f"{os.getcwd()}/talker") as (client, server):
            end = time.monotonic() + PATIENCE
            while os.path.getsize(tool.file) <= 24:
                assert time.monotonic() < end, "nothing is captured"
                client.exchange("20 1000")
            count = Count(client, server)
            client.exchange("20 3333")
            moved = count.moved()
        captured, dropped = tool.end(signal.SIGTERM)
        packets = tool.packets()
        assert captured == len(packets) and dropped == 0
        compare_streams(packets, (sum(p.length for p in packets), False))
        assert sum(p.length for p in packets) >= moved[0]
        for name in [n for n in os.listdir() if "-" in n]:
            os.unlink(name)


def case_wrong():
    """What cannot be done is said, and nothing is written."""
    for arguments in (["-w", "x", "-c", "0"], ["-w", "x", "-p", "0"], ["-w", "x", "0"], ["-w", "x", "--seconds", "0"], [],
                      ["-w", "x", "-s", "-1"], ["-w", "x", "-B", "3000"]):
        refused(*arguments, status=64)
    plain = subprocess.Popen(["sleep", "1000"])
    assert "does not run under Sluice" in refused("-w", "x", plain.pid, status=1)
    plain.kill()
    plain.wait()
    assert "no process" in refused("-w", "x", 2**22 - 1, status=1)
    assert not os.path.exists("x")
    with pair("tcp") as (client, _):
        assert "No such file" in refused("-w", "none/x", client.pid, status=2)

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (150 << 20, 150 << 20))
    with pair("tcp", prepare=small) as (client, _):
        assert "no room for a capture" in refused("-w", "x", client.pid, status=2)
        client.exchange("10 100")


def case_abandoned():
    """A killed tool's ring is full: the process ends the capture by itself, and makes no more copies. A tool that only stood still
    for so long goes on."""
    with pair("tcp") as (client, server):
        tool = Tool(client.pid, server.pid)
        tool.process.send_signal(signal.SIGSTOP)
        stack = next(name for name in os.listdir(f"/proc/{client.pid}/fd")
                     if os.readlink(f"/proc/{client.pid}/fd/{name}").startswith("/memfd:sluice (deleted)")
                     and os.stat(f"/proc/{client.pid}/fd/{name}").st_size > 1 << 27)
        with open(f"/proc/{client.pid}/fd/{stack}", "rb") as file:
            def word():
                return int.from_bytes(os.pread(file.fileno(), 8, 624), "little")
            assert word() & 0xF == 1
            end = time.monotonic() + PATIENCE
            while word():
                assert time.monotonic() < end, "the process has not ended the capture"
                client.exchange("10 200000")
            tool.process.send_signal(signal.SIGCONT)
            while word() & 0xF != 1:
                assert time.monotonic() < end, "the tool has not begun again"
        before = len(tool.packets())
        client.exchange("10 100")
        captured, dropped = tool.end()
        assert dropped > 0 and len(tool.packets()) == captured > before


globals()[f"case_{case}"]()
