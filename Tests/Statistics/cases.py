"""Cases of sluicestat's statistics, with real processes: cases.py CASE STAT LIBRARY SCHEMA [PAUSE [COPY]]

Prints nothing and exits 0 when the case holds. PAUSE is the program made of pause.c, COPY
a copy of STAT that every user may run."""
import contextlib
import copy
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import forms

case, stat, library, schema_file = sys.argv[1:5]
with open(schema_file, encoding="utf-8") as file:
    schema = json.load(file)
definitions = schema["$defs"]
here = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 60


def run(*arguments, status=0, **options):
    """What the tool writes; its exit status must be `status`, and its errors are for the user only then."""
    done = subprocess.run([stat, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, **options)
    assert done.returncode == status, (arguments, done.returncode, done.stderr)
    assert status or not done.stderr, done.stderr
    return done.stdout if status == 0 else done.stderr


def told(definition, *arguments):
    """The JSON of a command, after a look at it with its schema."""
    value = json.loads(run(*arguments, "--json"))
    forms.check(value, definitions[definition], definitions)
    return value


def rows_of(*pids):
    """The rows of these processes in netstat, after a look at them with the schema, and at a thousand others: there may be very
    many, of connections that other programs have ended lately."""
    value = json.loads(run("netstat", "-a", "--json"))
    rows = [row for row in value["sockets"] if {holder["pid"] for holder in row["holders"]} & set(pids)]
    forms.check(value | {"sockets": rows + value["sockets"][:1000]}, definitions["netstat"], definitions)
    return rows


def cells(text, first):
    """The cells of the rows whose first cells are these."""
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()]
    return [row for row in rows if row[: len(first)] == [str(cell) for cell in first]]


class Program:
    def __init__(self, *command):
        environment = dict(os.environ, LD_PRELOAD=library, SLUICE_LANE_AT="4", EF_SPIN_USEC="0")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.pid = self.process.pid

    def line(self, text=None):
        """Writes a line, where there is one, and reads one."""
        if text is not None:
            self.process.stdin.write(text + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the program has ended"
        return answer.split()

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)


@contextlib.contextmanager
def pair():
    """A client and a server with one connection, on its lane: client, server, the client's port, the server's."""
    server = Program(sys.executable, f"{here}/end.py", "serve")
    port = int(server.line()[0])
    client = Program(sys.executable, f"{here}/end.py", "connect", str(port))
    _, client_port = map(int, client.line())
    try:
        client.line("40 1000")
        yield client, server, client_port, port
    finally:
        client.end()
        server.end()


def case_schema():
    """The checker is one that finds something; everything in the schema is described."""
    def described(part, where):
        for name, member in part.get("properties", {}).items():
            assert "description" in member or "$ref" in member, f"{where}.{name}"
            described(member, f"{where}.{name}")
        if "items" in part:
            described(part["items"], where)
    for name, part in definitions.items():
        assert "description" in part, name
        described(part, name)
    assert {choice["$ref"] for choice in schema["anyOf"]} == {f"#/$defs/{name}" for name, part in definitions.items()
                                                             if "version" in part.get("properties", {})}
    good = told("stats", "stats")
    harms = [lambda v: v.pop("lanes"), lambda v: v.update(version=2), lambda v: v.update(lanes=-1), lambda v: v.update(more=1),
             lambda v: v.update(lanes="1"), lambda v: v.update(lanes=True), lambda v: v["socket_counters"].update(x="y")]
    for harm in harms:
        bad = copy.deepcopy(good)
        harm(bad)
        try:
            forms.check(bad, definitions["stats"], definitions)
        except forms.Wrong:
            continue
        raise AssertionError(f"the checker does not see {bad}")


def case_forms():
    """The output of each command follows the schema, and what a table says is in it too."""
    with pair() as (client, server, *_):
        ours = rows_of(client.pid, server.pid)
        assert len(ours) == len({row["inode"] for row in ours}) == len({row["cookie"] for row in ours}) == 3, ours
        why = told("why", "why", str(client.pid))
        assert why["under_sluice"] and [row["lane"] for row in why["sockets"]] == ["loopback"], why
        told("env", "env", str(client.pid))
        told("stacks", "stacks")
        told("latency", "latency")
        told("stats", "stats")
        told("stats", "stats", str(server.pid))
        counters = told("describe_stats", "describe-stats")["counters"]
        assert told("tables", "tables", "counters")["counters"] == counters
        assert told("describe_stats", "describe_stats")["counters"] == counters
        stats = told("stats", "stats", str(client.pid))
        for scope in "process", "socket":
            assert {row["name"] for row in counters if row["per"] == scope} == set(stats[f"{scope}_counters"])
        listed = run("describe-stats")
        assert all([row["name"], row["per"], row["unit"], row["description"]] in cells(listed, [row["name"]]) for row in counters)
        for table in "settings", "reasons":
            rows = told("tables", "tables", table)[table]
            names = re.findall(r"^(\w+) \(", run("tables", table), re.M)
            assert names == [row["name"] for row in rows], names
        run("tables", "reasons", "--json", "--roff", status=64)


def case_stacks():
    """A line for each process; its bytes are those that the programs count."""
    with pair() as (client, server, *_):
        sent, received = map(int, client.line("100 5000"))
        lines = {row["pid"]: row for row in told("stacks", "stacks")["stacks"]}
        text = run("stacks")
        assert cells(text, ["Pid", "User", "Command", "Endpoints", "Lanes", "Ring-bytes", "Kernel-bytes"])
        for program, endpoints in (client, 1), (server, 2):
            line = lines[program.pid]
            assert line["ring_bytes"] + line["kernel_bytes"] == sent + received, (line, sent, received)
            assert line["ring_bytes"] >= 200 * 5000 and 0 < line["kernel_bytes"] <= 40000, line
            assert (line["endpoints"], line["lanes"], line["pids"]) == (endpoints, 1, [program.pid]), line
            assert cells(text, [program.pid]) == [[str(cell) for cell in (
                program.pid, line["user"], line["command"], endpoints, 1, line["ring_bytes"], line["kernel_bytes"])]]


def case_stats():
    """All counters of a process, by name; the sums of all are no less than those of two."""
    with pair() as (client, server, *_):
        client.line("100 5000")
        ours = [told("stats", "stats", str(program.pid)) for program in (client, server)]
        for program, stats in zip((client, server), ours):
            why = told("why", "why", str(program.pid))
            assert stats["process_counters"] == why["stacks"][0]["counters"]
            for name, value in stats["socket_counters"].items():
                values = [row["counters"][name] for row in why["sockets"]]
                assert value == (max(values) if name == "send_spin_max" else sum(values)), name
        assert ours[0]["socket_counters"]["tx_packets"] >= 100 and ours[0]["process_counters"]["lanes_opened"] == 1
        total = told("stats", "stats")
        assert "pid" not in total and total["stacks"] >= 2
        assert all(total["process_counters"][name] >= sum(stats["process_counters"][name] for stats in ours)
                   for name in ("endpoints_made", "lanes_opened"))
        text = run("stats", str(client.pid))
        for scope in "process", "socket":
            for name, value in ours[0][f"{scope}_counters"].items():
                assert [row[:3] for row in cells(text, [name, scope])] == [[name, scope, str(value)]], (name, text)


def case_reset():
    """A socket that its peer has reset is in none of the kernel's lists: a row of its own tells what is known, and no more."""
    with pair() as (client, *_):
        numbers = set(map(int, client.line("reset 3")))
        rows = [row for row in rows_of(client.pid) for holder in row["holders"] if holder.get("fd") in numbers]
        assert len(rows) == 3 and not any("inode" in row or "cookie" in row for row in rows), rows
        assert [row["lane"] for row in rows] == ["kernel"] * 3, rows


def case_peer():
    """Who is at the other end: its process and descriptor, and how many more hold it."""
    with pair() as (client, server, client_port, port):
        for program, other in (client, server), (server, client):
            why = told("why", "why", str(program.pid))["sockets"]
            assert len(why) == (1 if program is client else 2) and sum("peer" in row for row in why) == 1, why
            peer = next(row["peer"] for row in why if "peer" in row)
            theirs = [row for row in told("why", "why", str(other.pid))["sockets"] if row["inode"] == peer["inode"]]
            assert len(theirs) == 1 and peer["holders"] == theirs[0]["holders"], (peer, theirs)
        command = theirs[0]["holders"][0]["command"]
        row = [f"127.0.0.1.{port}", f"127.0.0.1.{client_port}", "ESTABLISHED"]
        seen = [line[1:] for line in cells(run("why", str(server.pid)), []) if line[1:4] == row]
        assert [line[-1] for line in seen] == [f"{client.pid} ({command})"], seen
        client.line("fork")
        assert f"Peer            {client.pid} ({command}) +1\n" in run("why", f"{server.pid}:4")


def case_privilege():
    """Who is not root sees what he may; a line says what he does not see. Of a peer that he may not read he sees the user."""
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}

    def ask(*arguments):
        return subprocess.run([sys.argv[6], *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False, **nobody)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with subprocess.Popen([sys.argv[5], str(listener.getsockname()[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              **nobody) as client:
            with listener.accept()[0]:
                for option, missing in ([], "packets"), (["-k"], "sockets"):
                    done = ask("netstat", *option)
                    assert done.returncode == 0 and re.fullmatch(
                        rf"sluicestat: [1-9]\d* processes could not be read \(root sees all\): their {missing} are not shown\n",
                        done.stderr), done
                done = ask("netstat", "--json")
                assert not done.stderr and json.loads(done.stdout)["unreadable_processes"] > 0, done
                client.stdout.readline()
                mine = [line for line in ask("why", str(client.pid)).stdout.splitlines() if "ESTABLISHED" in line]
                assert len(mine) == 1 and mine[0].endswith("  of root"), mine
                client.stdin.close()


def case_fork():
    """A child that makes a socket has a line of its own, and its own counters; so has the parent."""
    with pair() as (client, *_):
        child = int(client.line("fork")[0])
        lines = {row["pid"]: row for row in told("stacks", "stacks")["stacks"]}
        assert lines[client.pid]["pids"] == [client.pid, child] and lines[child]["pids"] == [child], lines
        assert lines[client.pid]["nonce"] != lines[child]["nonce"]
        made = [told("stats", "stats", str(pid))["process_counters"]["endpoints_made"] for pid in (client.pid, child)]
        assert made == [1, 1], made


def case_absent():
    """Each failure has its exit status and its words."""
    plain = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        assert "does not run under Sluice" in run("stats", str(plain.pid), status=1)
        assert "there is no process" in run("stats", "2147483647", status=1)
        for wrong in "0", "-1", "x":
            run("stats", "--", wrong, status=64)
        for wrong in ["--count", "0"], ["--interval", "0"], ["--interval", "nan"]:
            run("watch", *wrong, status=64)
        run("prometheus", "--output", "a", "--listen", "b", status=64)
    finally:
        plain.stdin.close()
        plain.wait()


def case_prometheus():
    """The page is one that Prometheus reads, and says what stats says; of odd names too."""
    with pair() as (client, *_):
        client.line('name a"\\b')
        page = forms.exposition(run("prometheus"))
        stats = told("stats", "stats", str(client.pid))

        def value(name):
            found = [(dict(labels), value) for labels, value in page[name][2].items() if ("pid", str(client.pid)) in labels]
            assert len(found) == 1 and found[0][0].keys() == {"pid", "user", "command"}, (name, found)
            assert found[0][0]["command"] == 'a"\\b', found
            return found[0][1]
        for name, count in stats["process_counters"].items():
            assert page[f"sluice_{name}_total"][0] == "counter" and value(f"sluice_{name}_total") == count, name
        for name, count in stats["socket_counters"].items():
            assert page[f"sluice_open_{name}"][0] == "gauge" and value(f"sluice_open_{name}") == count, name
        for name in "endpoints", "lanes":
            assert value(f"sluice_{name}") == stats[name]
        assert value("sluice_ring_bytes_total") == stats["ring_bytes"] >= 30000
        for row in told("describe_stats", "describe-stats")["counters"]:
            name = f"sluice_{row['name']}_total" if row["per"] == "process" else f"sluice_open_{row['name']}"
            assert page[name][1].startswith(row["description"])
        assert page["sluice_sockets"][2][(("lane", "loopback"), ("reason", "none"))] >= 2
        whole = forms.exposition(run("prometheus", "--sum"))
        assert list(whole["sluice_lanes"][2]) == [()] and whole["sluice_lanes"][2][()] >= 2
        assert set(whole) == set(page)


def case_output():
    """A file is put in its place whole, by rename; what cannot be written leaves nothing behind."""
    with pair() as (client, *_):
        with open("page.prom", "w+", encoding="utf-8") as before:
            before.write("before\n")
            before.flush()
            run("prometheus", "--output", "page.prom")
            before.seek(0)
            assert before.read() == "before\n", "the old file was written over"
        with open("page.prom", encoding="utf-8") as after:
            assert any(("pid", str(client.pid)) in labels for labels in forms.exposition(after.read())["sluice_lanes"][2])
        assert os.listdir() == ["page.prom"], os.listdir()
        os.mkdir("folder")
        assert "cannot write" in run("prometheus", "-o", "folder", status=2)
        assert "cannot write" in run("prometheus", "-o", "nowhere/page.prom", status=2)
        assert sorted(os.listdir()) == ["folder", "page.prom"], os.listdir()


@contextlib.contextmanager
def listening():
    """The tool, listening on the socket `s`."""
    tool = subprocess.Popen([stat, "prometheus", "--listen", "s"], stderr=subprocess.PIPE, text=True)
    try:
        while tool.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect("s")
                break
        yield tool
    finally:
        if tool.poll() is None:
            tool.terminate()
        tool.communicate(timeout=PATIENCE)


def ask(*parts):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect("s")
        with contextlib.suppress(BrokenPipeError):
            for part in parts:
                connection.sendall(part)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(1 << 16):
                answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


def case_listen():
    """One answer of HTTP for each connection, what is so then; strange clients harm nothing; its name goes with it."""
    with pair() as (client, *_):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind("s")
        with listening() as tool:
            for request in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.0\n\n":
                head, body = ask(request)
                assert head.startswith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), head
                assert f"Content-Length: {len(body.encode())}\r\n" in head, head
                before = forms.exposition(body)["sluice_ring_bytes_total"][2]
            client.line("10 1000")
            _, body = ask(b"GET /met", b"rics HTTP/1.1\r\n\r", b"\n")
            after = forms.exposition(body)["sluice_ring_bytes_total"][2]
            mine = [labels for labels in after if ("pid", str(client.pid)) in labels]
            assert len(mine) == 1 and after[mine[0]] - before[mine[0]] == 20000, (before, after)
            assert ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")[1] == ""
            for request, status in (b"POST /metrics HTTP/1.1\r\n\r\n", 405), (b"GET /x HTTP/1.1\r\n\r\n", 404), (b"hello\n\n", 400), (
                    b"x" * 10000, 400):
                head, _ = ask(request)
                assert head.startswith(f"HTTP/1.1 {status} ") or request[:1] == b"x" and not head, (request[:20], head)
            with socket.socket(socket.AF_UNIX) as leaver:
                leaver.connect("s")
                leaver.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            assert ask(b"GET / HTTP/1.1\r\n\r\n")[1]
            assert "cannot listen" in run("prometheus", "--listen", "s", status=2)
            tool.terminate()
            assert tool.wait(PATIENCE) == -signal.SIGTERM and not os.path.exists("s")
        with open("s", "w", encoding="utf-8"):
            assert "cannot listen" in run("prometheus", "--listen", "s", status=2) and os.path.exists("s")
        assert "too long" in run("prometheus", "--listen", "x" * 200, status=2)


def case_watch():
    """Frames as text and as JSON lines: the rates are those of the traffic, the fastest connection first."""
    with pair() as (client, server, client_port, port), pair() as (other, *_):
        tool = subprocess.Popen([stat, "watch", "--json", "--interval", "0.2"], stdout=subprocess.PIPE, text=True)
        total, frames = 0.0, 0
        try:
            # What was moved before the first frame begins is in no frame: traffic starts when one is there.
            json.loads(tool.stdout.readline())
            client.line("200 10000")
            other.line("1 10")
            while round(total) < 200 * 20000 and frames < 500:
                frame = json.loads(tool.stdout.readline())
                forms.check(frame, definitions["watch"], definitions)
                rates = [row["rx_bytes_per_second"] + row["tx_bytes_per_second"] for row in frame["connections"]]
                assert rates == sorted(rates, reverse=True), rates
                mine = [row for row in frame["connections"] if row["pid"] == client.pid]
                assert len(mine) == 1 and (mine[0]["local"]["port"], mine[0]["remote"]["port"]) == (client_port, port), mine
                total += (mine[0]["rx_bytes_per_second"] + mine[0]["tx_bytes_per_second"]) * frame["seconds"]
                frames += 1
            assert round(total) == 200 * 20000, total
        finally:
            tool.kill()
            tool.communicate()
        text = run("watch", "--count", "2", "--interval", "0.1")
        assert text.count("Local Address") == 2 and len(cells(text, [f"127.0.0.1.{client_port}", f"127.0.0.1.{port}"])) == 2, text
        assert "\x1b" not in text and cells(text, [f"127.0.0.1.{port}", f"127.0.0.1.{client_port}"])[0][7] == str(server.pid), text
        with subprocess.Popen([stat, "watch", "--interval", "0.1"], stdout=subprocess.PIPE) as piped:
            piped.stdout.readline()
            piped.stdout.close()
            assert piped.wait(PATIENCE) == -signal.SIGPIPE


def on_terminal(act, status):
    """Watches on a terminal, does `act(process, keys)` when the first frame is there, and looks at what is left behind."""
    keys, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    before = termios.tcgetattr(terminal)
    tool = subprocess.Popen([stat, "watch"], stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
                            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    shown = b""
    end = time.monotonic() + PATIENCE

    def read_until(done):
        nonlocal shown
        while not done():
            assert select.select([keys], [], [], max(0, end - time.monotonic()))[0], shown
            shown += os.read(keys, 1 << 16)
    try:
        read_until(lambda: b"Command\x1b[K" in shown)
        assert termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON) == 0
        act(tool, keys)
        read_until(lambda: b"\x1b[?1049l" in shown)
        assert tool.wait(PATIENCE) == status, tool.returncode
        assert termios.tcgetattr(terminal) == before
        for enter, leave in (b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h"), (b"\x1b[?7l", b"\x1b[?7h"):
            assert shown.count(enter) == shown.count(leave) == 1 and shown.index(enter) < shown.index(leave), shown
    finally:
        tool.kill()
        tool.wait()
        os.close(keys)
        os.close(terminal)


def case_terminal():
    """On a terminal q, Ctrl-C and signals end it, and the terminal is as it was."""
    with pair():
        on_terminal(lambda tool, keys: os.write(keys, b"xq"), 0)
        on_terminal(lambda tool, keys: os.write(keys, b"\x03"), 0)
        on_terminal(lambda tool, keys: tool.terminate(), -signal.SIGTERM)


def case_churn():
    """While connections come and go, each stands in one row, with its addresses."""
    program = Program(sys.executable, f"{here}/churn.py")
    try:
        port = int(program.line()[0])
        strange = []
        for _ in range(2):
            rows = json.loads(run("netstat", "-a", "-P", "tcp", "--json"))["sockets"]
            rows = [row for row in rows if port in (row["local"]["port"], row["remote"]["port"])
                    or program.pid in (holder["pid"] for holder in row["holders"])]
            assert len(rows) > 1
            strange += [row for row in rows if not row["local"]["port"]]
            for key in "inode", "cookie":
                known = [row[key] for row in rows if key in row]
                assert len(known) == len(set(known)), sorted(known)
        # The kernel's list may leave out one that it has, when others go meanwhile.
        assert len(strange) <= 1, strange
    finally:
        program.end()


def case_many():
    """Many processes: each has one line in stacks, one in netstat, one series in prometheus."""
    programs = [Program(sys.argv[5]) for _ in range(30)]
    try:
        for program in programs:
            program.line()
        ours = {program.pid for program in programs}
        lines = [row["pid"] for row in told("stacks", "stacks")["stacks"] if row["pid"] in ours]
        assert sorted(lines) == sorted(ours)
        rows = [row["holders"][0]["pid"] for row in rows_of(*ours)]
        assert sorted(rows) == sorted(ours), len(rows)
        page = forms.exposition(run("prometheus"))["sluice_endpoints"][2]
        assert sorted(int(dict(labels)["pid"]) for labels in page if int(dict(labels)["pid"]) in ours) == sorted(ours)
    finally:
        for program in programs:
            program.end()


def switches(pid):
    """How often a process has been on a processor and left it."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return re.findall(r"ctxt_switches:\s+(\d+)", file.read())


def case_thousand():
    """A thousand processes under Sluice: no command takes long (the limit is for the busiest machine; `sluicebench --only
    sluicestat` has the times), none of the processes runs meanwhile, and none is written to."""
    programs = [Program(sys.argv[5])]
    try:
        # Each talks to the one before: `why` then finds two peers among all.
        for _ in range(999):
            programs.append(Program(sys.argv[5], programs[-1].line()[1]))
            programs[-2].line("")
        programs[-1].line()
        ours = {program.pid for program in programs}
        one = programs[500].pid
        before = {pid: switches(pid) for pid in ours}
        for command in (["netstat", "-u"], ["netstat", "-a", "--json"], ["stacks"], ["stacks", "--json"], ["stats"], ["stats", "--json"],
                        ["prometheus"], ["prometheus", "--sum"], ["why", str(one)], ["why", f"{one}:3"], ["why", str(one), "--json"],
                        ["env", str(one)], ["stats", str(one)], ["watch", "--count", "1", "--interval", "0.05"]):
            begin = time.monotonic()
            said = run(*command)
            seconds = time.monotonic() - begin
            assert said and seconds < 10, (command, seconds)
            assert {pid: switches(pid) for pid in ours} == before, f"{command} made processes run"
        lines = [row["pid"] for row in json.loads(run("stacks", "--json"))["stacks"]]
        assert len(ours & set(lines)) == 1000
        peers = {row["peer"]["holders"][0]["pid"] for row in json.loads(run("why", str(one), "--json"))["sockets"] if "peer" in row}
        assert peers == {programs[499].pid, programs[501].pid}, peers
    finally:
        for program in programs:
            program.end()


def case_manual():
    """The manual page has every command with every option."""
    with open(f"{os.path.dirname(schema_file)}/../man/sluicestat.1", encoding="utf-8") as file:
        page = re.sub(r"\\f[BIR]|^\.\S+ |\\(?=-)", "", file.read(), flags=re.M)
    commands = re.findall(r"^  (\S+?),? .*", run("--help").partition("SUBCOMMANDS:")[2], re.M)
    assert len(commands) >= 8, commands
    options = 0
    for command in set(commands) - {"See"}:
        assert re.search(rf"^{command}\b|sluicestat {command}\b", page, re.M), command
        for option in re.findall(r"^  (-\w|--[a-z-]+)(?:, (--[a-z-]+))?", run(command, "--help"), re.M):
            names = [name for name in option if name and name not in ("-h", "--help", "--version")]
            assert not names or any(re.search(rf"(?<![\w-]){name}\b", page) for name in names), (command, option)
            options += len(names)
    assert options > 10, options


globals()[f"case_{case}"]()
