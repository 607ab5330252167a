"""Every counter, and the times of waits, beside an independent count: counts.py CASE STAT LIBRARY SCHEMA

The independent counts are those of the programs themselves (agent.py), of strace, of the kernel (SO_MEMINFO, /proc). A case that
has compared a counter notes so in the file ../compared; the case `table`, the last one, wants every counter of
`sluicestat tables counters` there, for TCP and for UDP. Prints nothing and exits 0 when the case holds."""
import array
import contextlib
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import forms
import waits

case, stat, library, schema = sys.argv[1:5]
here = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60
COMPARED = "../compared"

# Not for UDP: only a stream waits for room, dies with a reset, or is given away with a wait; the others count processes, not
# sockets, and one protocol shows them.
TCP_ONLY = {"tx_packets_spin", "send_spin_max", "survivor_resets", "peers_awaited", "endpoints_refused", "descriptor_shortages",
            "regions_mapped", "regions_unmapped", "proofs_refused"}
# A stream drops nothing.
UDP_ONLY = {"drops"}
# What another suite compares: its file, and the case there.
ELSEWHERE = {"tx_packets_spin": ("BypassStats/Bypass.c", '{"opkts_spin", '), "send_spin_max": ("BypassStats/Bypass.c", '"turns in ns"')}


def run(*arguments):
    done = subprocess.run([stat, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout


def same(protocol, name, got, wanted):
    """Compares a counter (`got`, by the tool) with what somebody else has counted."""
    assert got == wanted, (protocol, name, "counted", got, "really", wanted)
    with open(COMPARED, "a", encoding="utf-8") as file:
        file.write(f"{protocol} {name}\n")


class Agent:
    """agent.py under Sluice; with a log, under strace too."""
    def __init__(self, cpu=None, strace=None, **settings):
        settings = {"LD_PRELOAD": library, "SLUICE_LANE_AT": "0", "EF_POLL_USEC": "0"} | settings
        self.log = strace
        command = [sys.executable, f"{here}/agent.py"]
        if strace:
            given = [word for name, value in settings.items() for word in ("-E", f"{name}={value}")]
            command = ["strace", "-f", "-qq", "-y", "-o", strace, "-e", f"trace={CALLS}", *given, *command]
            settings = {}
        if cpu is not None:
            command = ["taskset", "-c", str(cpu), *command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **settings, "PYTHONDONTWRITEBYTECODE": "1"})
        self.pid = self.finish()
        until(self.sleeps_in)
        # That in which it waits for its next line.
        self.reading = self.sleeps_in()

    def start(self, expression):
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def finish(self):
        line = self.process.stdout.readline()
        assert line, "the program has ended"
        return json.loads(line)

    def __call__(self, expression):
        self.start(expression)
        answer = self.finish()
        assert not isinstance(answer, str) or ": " not in answer, (expression, answer)
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)

    # What the tool says.
    def told(self):
        return json.loads(run("stats", str(self.pid), "--json"))

    def per_process(self):
        return self.told()["process_counters"]

    def socket(self, fd):
        """The counters of a socket; of one with flows the sums."""
        rows = json.loads(run("why", f"{self.pid}:{fd}", "--json"))["sockets"]
        sums = {}
        for row in rows:
            for name, value in row["counters"].items():
                sums[name] = sums.get(name, 0) + value
        return sums

    # What the kernel says.
    def sleeps_in(self):
        """The number of the call in which it sleeps; none while it does not."""
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as state, open(f"/proc/{self.pid}/syscall", encoding="ascii") as call:
            number = call.read().split()[0]
            return number if state.read().rpartition(")")[2].split()[0] == "S" and number != "running" else None

    def is_asleep(self):
        return self.sleeps_in() not in (None, self.reading)

    def used(self):
        with open(f"/proc/{self.pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0])

    def until_asleep(self):
        until(self.is_asleep)

    def until_it_spins(self, ns=3_000_000):
        begin = self.used()
        until(lambda: self.used() > begin + ns)

    def calls(self, fd=None):
        """Of strace's log: how many wake-ups were written, by the socket's own calls how many messages and bytes went out and
        came in, and how many names of meetings were taken, and given up."""
        found = dict.fromkeys(("bells", "polls", "out", "sent", "in", "received", "begun", "ended"), 0)
        listeners = set()
        with open(self.log, encoding="utf-8", errors="replace") as file:
            for line in lines(file):
                call = re.match(r"\d+ +(\w+)\((?:(\d+)<([^>]*)>+)?.* = (-?\d+)", line)
                if not call:
                    continue
                name, number, kind, result = call[1], call[2], call[3] or "", int(call[4])
                if name == "bind" and re.search('@"slu[12]', line) and result == 0:
                    found["begun"] += 1
                    listeners.add(number)
                elif name == "close" and number in listeners:
                    found["ended"] += 1
                    listeners.remove(number)
                elif name == "write" and "eventfd" in kind and result == 8:
                    found["bells"] += 1
                elif name == "ppoll" and "<anon_inode:[eventfd]>" in line:
                    found["polls"] += 1
                if number != str(fd) or "socket:" not in kind and "TCP" not in kind and "UDP" not in kind or result <= 0:
                    continue
                if name in ("sendto", "sendmsg", "write"):
                    found["out"] += 1
                    found["sent"] += result
                elif name in ("recvfrom", "recvmsg", "read") and "MSG_PEEK" not in line:
                    found["in"] += 1
                    found["received"] += result
        return found


CALLS = "read,write,readv,writev,sendto,sendmsg,sendmmsg,recvfrom,recvmsg,recvmmsg,ppoll,poll,epoll_pwait,epoll_pwait2,bind,close"


def lines(file):
    """The calls of a log, the two halves of those that another thread came between joined."""
    begun = {}
    for line in file:
        pid, _, rest = line.partition(" ")
        if rest.rstrip().endswith("<unfinished ...>"):
            begun[pid] = rest.rstrip().removesuffix("<unfinished ...>")
        elif "resumed>" in rest:
            yield f"{pid} {begun.pop(pid, '').strip()}{rest.partition('resumed>')[2]}"
        else:
            yield line


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.001)


@contextlib.contextmanager
def agents(*settings, **common):
    made = []
    try:
        for own in settings or ({}, {}):
            made.append(Agent(**common | own))
        yield made
    finally:
        for agent in made:
            with contextlib.suppress(BrokenPipeError):
                agent.end()


def growth(before, after):
    return {name: value - before[name] for name, value in after.items()}


def connect(client, server, name="c"):
    """A connection that is on its lane in both directions; the two descriptors."""
    listener = f"l{name}"
    port = server(f"listen('{listener}')")
    server.start(f"accept('{listener}', '{name}')")
    fd = client(f"connect('{name}', {port})")
    other = server.finish()
    for _ in range(100):
        for _ in range(4):
            talk(client, server, name)
        if all(agent.socket(number)["rx_packets"] > 1 for agent, number in ((client, fd), (server, other))):
            return fd, other
    raise AssertionError("no lane")


def datagrams(client, server, name="c"):
    """Two UDP sockets that are connected to each other, likewise."""
    (fd, port), (other, far) = client(f"bind('{name}')"), server(f"bind('{name}')")
    client(f"sockets['{name}'].connect(('127.0.0.1', {far}))")
    server(f"sockets['{name}'].connect(('127.0.0.1', {port}))")
    for _ in range(100):
        # A queue that is never found empty shows after 512 of them that all have come.
        for _ in range(8):
            talk(client, server, name)
        if all(agent.socket(number)["rx_packets"] > 1 for agent, number in ((client, fd), (server, other))):
            return fd, other
    raise AssertionError("no lane")


def talk(client, server, name="c"):
    client(f"send('{name}', 10)")
    server(f"receive('{name}', 10)")
    server(f"send('{name}', 10)")
    client(f"receive('{name}', 10)")


def traffic(protocol, meet):
    """Bytes, messages, wake-ups and sleeps, from the first byte on: the programs' counts, less what strace sees go by the kernel."""
    with agents({"strace": "client.log"}, {"strace": "server.log"}) as (client, server):
        fds = meet(client, server)
        for size in 1, 500, 1400:
            for one, other in (client, server), (server, client):
                one(f"send('c', {size}, 7)")
                assert other(f"receive('c', {size}, 7)") == 7 * size
        # Looking takes nothing.
        client("send('c', 3)")
        server("len(sockets['c'].recv(9, socket.MSG_PEEK))")
        server("receive('c', 9)")
        for _ in range(5):
            server.start("receive('c', 9)")
            server.until_asleep()
            client("send('c', 5)")
            assert server.finish() == 5
        for agent, fd in zip((client, server), fds):
            own, stats, here = agent("counted"), agent.per_process(), agent.socket(fd)
            real = agent.calls(fd)
            same(protocol, "tx_kernel_bytes", here["tx_kernel_bytes"], real["sent"])
            same(protocol, "rx_kernel_bytes", here["rx_kernel_bytes"], real["received"])
            same(protocol, "tx_ring_bytes", here["tx_ring_bytes"], own["sent"] - real["sent"])
            same(protocol, "rx_ring_bytes", here["rx_ring_bytes"], own["received"] - real["received"])
            same(protocol, "tx_packets", here["tx_packets"], own["sends"] - real["out"])
            same(protocol, "rx_packets", here["rx_packets"], own["receives"] - real["in"])
            same(protocol, "bells_rung", stats["bells_rung"], real["bells"])
            for counters in (here, stats) if protocol == "tcp" else ():
                same(protocol, "sleeps", counters["sleeps"], real["polls"])
            assert here["rx_packets"] > 21, here
            yield agent, here, real, own


def case_tcp():
    for place, (_, here, real, _) in enumerate(traffic("tcp", connect)):
        same("tcp", "wakes_sent", here["wakes_sent"], real["bells"])
        assert place or here["wakes_sent"] >= 5, here


def case_udp():
    """A sleeping receiver is woken by a datagram of the kernel's: of those that strace sees."""
    for place, (_, here, real, _) in enumerate(traffic("udp", datagrams)):
        assert place or 0 < here["wakes_sent"] <= real["out"], (here, real)
        assert not place or here["sleeps"] > 0, here


def woken(protocol, meet, counter):
    """Of receivers that are seen asleep each is woken once, and sleeps once."""
    with agents() as (client, server):
        fds = meet(client, server)
        before = [agent.socket(fd) | {"all": agent.per_process()[counter]} for agent, fd in zip((client, server), fds)]
        slept = server.per_process()["sleeps"]
        for _ in range(9):
            server.start("receive('c', 9)")
            server.until_asleep()
            client("send('c', 5)")
            server.finish()
        after = [agent.socket(fd) | {"all": agent.per_process()[counter]} for agent, fd in zip((client, server), fds)]
        same(protocol, "wakes_sent", after[0]["wakes_sent"] - before[0]["wakes_sent"], 9)
        same(protocol, "sleeps", after[1]["sleeps"] - before[1]["sleeps"], 9)
        same(protocol, "sleeps", server.per_process()["sleeps"] - slept, 9)
        assert (before[1]["wakes_sent"], before[0]["sleeps"]) == (after[1]["wakes_sent"], after[0]["sleeps"])
        if protocol == "tcp":
            same(protocol, "bells_rung", after[0]["all"] - before[0]["all"], 9)


def case_woken():
    woken("tcp", connect, "bells_rung")
    woken("udp", datagrams, "bells_rung")


def spins(protocol, meet, switch):
    """Receives that are seen to spin until their bytes come; and such that spin in vain and sleep."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with agents({"cpu": cpus[0]}, {"cpu": cpus[-1], "EF_SPIN_USEC": "-1"}, EF_POLL_USEC="1000", **{switch: "1"}) as (client, server):
        other = meet(client, server)[1]
        before, all_before = server.socket(other), server.per_process()
        for _ in range(6):
            server.start("receive('c', 9)")
            server.until_it_spins()
            client("send('c', 5)")
            server.finish()
        after, all_after = server.socket(other), server.per_process()
        same(protocol, "rx_packets_spin", after["rx_packets_spin"] - before["rx_packets_spin"], 6)
        for name in "spins", "spins_paid":
            same(protocol, name, all_after[name] - all_before[name], 6)
        assert after["sleeps"] == before["sleeps"], (before, after)
        # The client spins a millisecond.
        fd, before = meet(client, server, "d")[0], client.per_process()
        for _ in range(4):
            client.start("receive('d', 9)")
            client.until_asleep()
            server("send('d', 5)")
            client.finish()
        after = client.per_process()
        same(protocol, "spins", after["spins"] - before["spins"], 4)
        same(protocol, "spins_paid", after["spins_paid"] - before["spins_paid"], 0)
        same(protocol, "sleeps", after["sleeps"] - before["sleeps"], 4)
        same(protocol, "rx_packets_spin", client.socket(fd)["rx_packets_spin"], 0)


def case_spins():
    spins("tcp", connect, "EF_TCP_RECV_SPIN")
    spins("udp", datagrams, "EF_UDP_RECV_SPIN")


def case_dropped():
    """What was sent and did not arrive: dropped by the ring, or by the kernel, which counts its own."""
    with agents() as (client, server):
        fd, other = datagrams(client, server)
        before = client.socket(fd)["drops"]
        own = client("counted")["sends"]
        client("send('c', 1000, 20000)")
        sent = client("counted")["sends"] - own
        received = server("take('c')")[0]
        memory = server("list(sockets['c'].getsockopt(socket.SOL_SOCKET, 55, 36))")
        by_kernel = struct.unpack("9I", bytes(memory))[8]
        lost = sent - received
        assert lost > 1000, lost
        same("udp", "drops", client.socket(fd)["drops"] - before, lost - by_kernel)
        # The columns say the same.
        shown = client.socket(fd)
        row = column(run("netstat", "-P", "udp", "-u"), client.pid)
        assert row[4:7] == [str(shown[name]) for name in ("rx_packets", "tx_packets", "drops")], (row, shown)
        assert server.socket(other)["drops"] == 0


def column(text, pid):
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    found = [row for row in rows if len(row) == 10 and row[8] == str(pid) and row[2] in ("ESTABLISHED", "Connected")]
    assert len(found) == 1 and rows[0][4:7] == ["Ipkts", "Opkts", "Dpkts"], (text, pid)
    return found[0]


def case_columns():
    """Ipkts and Opkts of netstat and of `why PID:FD`: the receives and sends of a program that knows when its lane began."""
    for protocol, meet, state in ("tcp", connect, "ESTABLISHED"), ("udp", datagrams, "Connected"):
        with agents() as (client, server):
            fd, _ = meet(client, server)
            before = column(run("netstat", "-P", protocol, "-u"), client.pid)
            for _ in range(11):
                talk(client, server)
            client("send('c', 10)")
            row = column(run("netstat", "-P", protocol, "-u"), client.pid)
            assert row[2] == state and [int(row[i]) - int(before[i]) for i in (4, 5, 6)] == [11, 12, 0], (before, row)
            details = run("why", f"{client.pid}:{fd}")
            for name, cell in ("rx_packets", row[4]), ("tx_packets", row[5]), ("drops", row[6]):
                assert re.search(rf"^{cell}\t{name}\t", details, re.M), (name, cell, details)


def case_bypass_stats():
    """getsockopt(SO_NET_KERNEL_BYPASS_STATS), of UDP; Tests/BypassStats has TCP."""
    def ask(agent):
        return struct.unpack("4QII", bytes(agent(f"list(sockets['c'].getsockopt(socket.SOL_SOCKET, {0x534C01}, 40))")))
    with agents() as (client, server):
        datagrams(client, server)
        before = ask(client), ask(server)
        client("send('c', 10, 13)")
        server("receive('c', 10, 13)")
        grown = [[b - a for a, b in zip(*two)] for two in zip(before, (ask(client), ask(server)))]
        assert grown == [[0, 0, 13, 0, 0, 0], [13, 0, 0, 0, 0, 0]], grown
        # Of a peer that has ended too.
        server("counted")
        whole = ask(client)
        server.process.kill()
        server.process.wait()
        assert all(b >= a for a, b in zip(whole, ask(client)))


def lanes(protocol, meet):
    """Sockets, lanes and meetings: as many as the programs make."""
    with agents() as (client, server):
        client("listen('l')")
        begin = client.per_process()
        fds = [meet(client, server, f"c{i}")[0] for i in range(3)]
        now = growth(begin, client.per_process())
        same(protocol, "endpoints_made", client.told()["endpoints"], client("counted")["made"])
        same(protocol, "lanes_opened", now["lanes_opened"], 3)
        same(protocol, "meetings_started", now["meetings_started"], 3)
        same(protocol, "meetings_failed", now["meetings_failed"], 0)
        for fd in fds:
            same(protocol, "lane_openings", client.socket(fd)["lane_openings"], 1)
        same(protocol, "lanes_handed_back", now["lanes_handed_back"], 0)
        # An option that only the kernel serves: SO_TIMESTAMP.
        client("sockets['c1'].setsockopt(socket.SOL_SOCKET, 29, 1)")
        same(protocol, "lanes_handed_back", client.per_process()["lanes_handed_back"], 1)
        for place, fd in enumerate(fds):
            same(protocol, "lane_handbacks", client.socket(fd)["lane_handbacks"], int(place == 1))
        # What sockets that have ended have moved by rings: what both counted while they were open.
        ring = sum(client.socket(fd)["rx_ring_bytes"] + client.socket(fd)["tx_ring_bytes"] for fd in fds)
        own = client("counted")
        assert 0 < ring <= own["sent"] + own["received"]
        client("close('c0', 'c1', 'c2')")
        same(protocol, "ring_bytes_ended", client.per_process()["ring_bytes_ended"], ring)


def case_lanes():
    lanes("tcp", connect)
    lanes("udp", datagrams)


def case_regions():
    """Mapped regions less those that were left are those of the process's map."""
    def mapped(agent):
        with open(f"/proc/{agent.pid}/maps", encoding="utf-8") as file:
            return len({line.split()[4] for line in file if "/memfd:sluice-pair" in line})
    with agents({}, {}, {}) as (client, first, second):
        for number, server in enumerate((first, second)):
            connect(client, server, f"c{number}")
            stats = client.per_process()
            same("tcp", "regions_mapped", stats["regions_mapped"], number + 1)
            assert mapped(client) == number + 1
        first.end()
        client("close('c0')")
        # Those of peers that have ended go when others come.
        for number in range(8):
            connect(client, second, f"d{number}")
        stats = client.per_process()
        same("tcp", "regions_unmapped", stats["regions_unmapped"], stats["regions_mapped"] - mapped(client))
        assert stats["regions_unmapped"] == 1, stats


def case_meetings():
    """The accepting side of connections, and of datagrams, with an end that does not run under Sluice: each meeting takes a name,
    which strace sees, and gives it up when it comes to nothing."""
    for protocol in "tcp", "udp":
        with agents({}, SLUICE_LANE_AT="4", strace=f"{protocol}.log") as (agent,):
            if protocol == "tcp":
                end = socket.create_connection(("127.0.0.1", agent("listen('l')")))
                agent("accept('l', 'c')")
            else:
                port = 0
                while port == 0 or end.getsockname()[1] < port:
                    port = agent("bind('c')")[1]
                    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    end.bind(("127.0.0.1", 0))
                end.connect(("127.0.0.1", port))
                agent(f"sockets['c'].connect(('127.0.0.1', {end.getsockname()[1]}))")
            echo = threading.Thread(target=echoes, args=(end,), daemon=True)
            echo.start()
            for _ in range(200):
                agent("[send('c', 1) + receive('c', 9) for _ in range(200)][0]")
                if agent.per_process()["meetings_failed"] > 1:
                    break
            stats, real = agent.per_process(), agent.calls()
            same(protocol, "meetings_started", stats["meetings_started"], real["begun"])
            same(protocol, "meetings_failed", stats["meetings_failed"], real["ended"])
            assert stats["meetings_failed"] > 1, stats
            agent("send('c', 2)")
            echo.join()
            end.close()


def echoes(end):
    """Sends back what comes, one byte at a time, until two come."""
    while len(data := end.recv(9)) == 1:
        end.send(data)


def impostor(name):
    """Comes to a meeting with a greeting, and an epoll set that proves nothing. Its connection."""
    visitor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    visitor.connect(b"\0" + name)
    empty = select.epoll()
    hello = struct.pack("<II", 0x534C4D31, 1) + struct.pack("<Q", 7) + bytes(88)
    visitor.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [empty.fileno()]))])
    visitor.settimeout(0.05)
    return visitor


def case_impostors():
    """Each one that cannot prove that it is the other end is sent away, and counted."""
    with agents({}, SLUICE_LANE_AT="4") as (agent,):
        port = agent("listen('l')")
        with socket.create_connection(("127.0.0.1", port)) as end:
            agent("accept('l', 'c')")
            sent_away = 0
            for _ in range(3):
                end.send(b"x")
                agent("receive('c', 9)")
                agent("send('c', 1)")
                end.recv(9)
            near, far = end.getpeername(), end.getsockname()
            cookie = end.getsockopt(socket.SOL_SOCKET, 71, 8)  # SO_NETNS_COOKIE
            mapped = b"\0" * 10 + b"\xff\xff" + socket.inet_aton("127.0.0.1")
            name = b"slu1" + struct.pack("<I", near[1] << 16 | far[1]) + cookie + mapped + mapped
            for _ in range(3):
                visitor = impostor(name)
                for _ in range(2000):
                    end.send(b"x")
                    agent("receive('c', 9)")
                    agent("send('c', 1)")
                    end.recv(9)
                    if select.select([visitor], [], [], 0)[0]:
                        break
                with contextlib.suppress(ConnectionResetError):
                    while visitor.recv(1000):
                        pass
                sent_away += 1
                visitor.close()
            same("tcp", "proofs_refused", agent.per_process()["proofs_refused"], sent_away)


def case_refused():
    """Sockets that got no endpoint, since no memory could be had: those of the program that the tool does not know."""
    with agents({}) as (agent,):
        agent("listen('l')")
        made = agent("without_memory(200)")
        agent("send and 0")
        known = {holder["fd"] for row in json.loads(run("netstat", "-a", "--json"))["sockets"] if "counters" in row
                 for holder in row["holders"] if holder["pid"] == agent.pid and "fd" in holder}
        stats = agent.per_process()
        same("tcp", "endpoints_refused", stats["endpoints_refused"], len(made) + 1 - stats["endpoints_made"])
        assert stats["endpoints_refused"] > 0 and known, stats
        assert agent.told()["endpoints"] == stats["endpoints_made"]


def case_shortage():
    """A program that uses up its descriptors, those of Sluice too, which lie among them: a limit that cannot be raised."""
    with agents({}) as (agent,):
        agent("resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))")
        # The other user may not read Python's modules.
        agent("len(''.encode('idna')), os.getuid() or os.setuid(65534)")
        agent("bind('u')")
        same("tcp", "descriptor_shortages", agent.per_process()["descriptor_shortages"], 0)
        same("tcp", "descriptor_shortages", agent("shortage()"), agent.per_process()["descriptor_shortages"])


def case_resets():
    """A peer that is killed with bytes unread: the program is told of a reset, and it is counted."""
    with agents() as (client, server):
        connect(client, server)
        connect(client, server, "d")
        client("send('c', 100)")
        server.process.kill()
        server.process.wait()
        resets = [client(f"errors('{name}', lambda s: s.recv(1) or 0)") for name in ("c", "d")]
        assert resets == ["ConnectionResetError", None], resets
        same("tcp", "survivor_resets", client.per_process()["survivor_resets"], resets.count("ConnectionResetError"))


def case_awaited():
    """A connection that is given away with bytes unread, whose sender makes no call."""
    with agents() as (client, server):
        for name in "c", "d":
            connect(client, server, name)
            client(f"os.set_inheritable(sockets['{name}'].fileno(), True)")
        server("send('c', 100)")
        client("subprocess.run(['true'], close_fds=False).returncode")
        same("tcp", "peers_awaited", client.per_process()["peers_awaited"], 1)
        assert client("receive('c', 100)") == 100


def damage(agent):
    """Overwrites the words of all connections of the agent in the memory that it shares."""
    folder = f"/proc/{agent.pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            if os.readlink(f"{folder}/{name}").startswith("/memfd:sluice-pair"):
                with open(f"{folder}/{name}", "r+b", buffering=0) as file:
                    for at in range(0, 2 * 512, 256):
                        os.pwrite(file.fileno(), b"\xff" * 8, 128 + 2 * 64 * 128 + at)


def case_damaged():
    """Words that cannot be: each connection, or peer of a UDP socket, that was read with them is counted."""
    for protocol, meet in ("tcp", connect), ("udp", datagrams):
        with agents() as (client, server):
            meet(client, server)
            meet(client, server, "d")
            damage(client)
            ends = [client(f"errors('{name}', lambda s: s.recv(1, socket.MSG_DONTWAIT) and None)") for name in ("c", "d")]
            same(protocol, "damaged_words", client.per_process()["damaged_words"], 2)
            wanted = "ConnectionResetError" if protocol == "tcp" else "BlockingIOError"
            assert ends == [wanted] * 2, ends


def case_latency_forms():
    """The JSON follows the schema."""
    with agents({"SLUICE_LATENCY": "1"}, {}) as (client, server):
        connect(client, server)
        client.start("receive('c', 9)")
        client.until_asleep()
        server("send('c', 5)")
        client.finish()
        with open(schema, encoding="utf-8") as file:
            definitions = json.load(file)["$defs"]
        value = json.loads(run("latency", "--json"))
        forms.check(value, definitions["latency"], definitions)
        assert client.pid in [row["pid"] for row in value["processes"] if row["waits"]], value


def case_latency():
    """SLUICE_LATENCY: waits of each kind that slept, and such that span, beside the clocks of both programs."""
    with agents({"SLUICE_LATENCY": "1"}, {}) as (client, server):
        connect(client, server)
        datagrams(client, server, "u")
        waits.refused(stat, server)
        # Warming up may wait too.
        before = {(row["wait"], row["ended"]): row["count"] for row in waits.told(run, client)}
        area = (64 + 10 * 9744 + 4095) // 4096 * 4096
        assert waits.mapped(client) - waits.mapped(server) == area, (waits.mapped(client), waits.mapped(server))
        assert not before.keys() - {("receive", "slept"), ("datagram", "slept")}, before
    with agents({"SLUICE_LATENCY": "1"}, {}, SLUICE_LANE_AT="0") as (client, server):
        connect(client, server)
        for wait, act, after in (
                ("receive", "timed(lambda: receive('c', 9))", None), ("poll", "polled('c')", "receive('c', 9)"),
                ("epoll", "waited('c')", "receive('c', 9)")):
            none = [row for row in waits.told(run, client) if row["wait"] == wait]
            assert not none, none
            bounds = waits.let_wait(client, act, client.until_asleep, lambda: server("send('c', 5)"), after and (lambda: client(after)))
            row = waits.compare(waits.told(run, client), wait, "slept", *bounds)
        text = run("latency", str(client.pid))
        assert re.search(rf"^ *{client.pid}  .*  epoll  +slept  +{row['count']} ", text, re.M), text
        page = forms.exposition(run("prometheus"))["sluice_wait_seconds"][2]
        mine = {labels: value for labels, value in page.items() if {("pid", str(client.pid)), ("wait", "epoll")} <= set(labels)}
        counts = [value for labels, value in mine.items() if ("", "_count") in labels]
        sums = [value for labels, value in mine.items() if ("", "_sum") in labels]
        assert counts == [row["count"]] and abs(sums[0] - row["sum_ns"] / 1e9) < 1e-8, mine


def case_latency_datagrams():
    with agents({"SLUICE_LATENCY": "1"}, {}) as (client, server):
        datagrams(client, server)
        before = {(row["wait"], row["ended"]): row for row in waits.told(run, client)}
        assert not before, before
        bounds = waits.let_wait(client, "timed(lambda: receive('c', 9))", client.until_asleep, lambda: server("send('c', 5)"))
        waits.compare(waits.told(run, client), "datagram", "slept", *bounds)


def case_latency_room():
    """A send waits for room: the ring is full, and so is the kernel's buffer, to which it goes when its reader does not come."""
    with agents({"SLUICE_LATENCY": "1"}, {}) as (client, server):
        connect(client, server)
        least, most = [], []
        for milliseconds in 5, 50:
            while client("send('c', 65536, 1000, socket.MSG_DONTWAIT)"):
                pass
            filled = client("counted")["sent"]
            client.start("timed(lambda: send('c', 8000000))")
            client.until_asleep()
            begin = time.monotonic_ns()
            time.sleep(milliseconds / 1000)
            least.append(time.monotonic_ns() - begin)
            while server("take('c')")[0] or not select.select([client.process.stdout], [], [], 0.001)[0]:
                pass
            most.append(client.finish())
            server("take('c')")
            assert client("counted")["sent"] - filled == 8000000
        waits.compare(waits.told(run, client), "send", "slept", least, most)


def case_latency_spins():
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with agents({"cpu": cpus[0], "SLUICE_LATENCY": "1", "EF_SPIN_USEC": "-1", "EF_TCP_RECV_SPIN": "1", "EF_POLL_USEC": "1000"},
                {"cpu": cpus[1]}) as (client, server):
        connect(client, server)
        before = waits.told(run, client)
        bounds = waits.let_wait(client, "timed(lambda: receive('c', 9))", client.until_it_spins, lambda: server("send('c', 5)"))
        found = [row["count"] for row in before if (row["wait"], row["ended"]) == ("receive", "spun")]
        assert not found, "the way to the lane has spun"
        waits.compare(waits.told(run, client), "receive", "spun", *bounds)


def case_table():
    """Every counter has been compared, for TCP and for UDP."""
    names = {row["name"] for row in json.loads(run("tables", "counters", "--json"))["counters"]}
    with open(COMPARED, encoding="utf-8") as file:
        compared = set(file.read().splitlines())
    for name, (path, text) in ELSEWHERE.items():
        with open(f"{here}/../{path}", encoding="utf-8") as file:
            assert text in file.read(), (name, path)
        compared.add(f"tcp {name}")
    assert (TCP_ONLY | UDP_ONLY) <= names, "an exception that is no counter"
    wanted = {f"tcp {name}" for name in names - UDP_ONLY} | {f"udp {name}" for name in names - TCP_ONLY}
    assert not wanted - compared, f"no independent count: {sorted(wanted - compared)}"


globals()[f"case_{case}"]()
