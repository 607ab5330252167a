"""Runs of one module of Python's tests in a mode, each in a process and a folder of its own, watched for hangs."""
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
# Tests that are left out, by a word of their ids, the modes in which they are, and the reason.
LEFT_OUT = [
    ("VSOCK", "*", "no TCP, and they hang on the plain kernel of a virtual machine whose host does not answer"),
    ("test_server.SelectorStartServerTests.test_start_server_1", "chaos*",
     "sends 5121 bytes by one non-blocking send and does not look at its count: the ring of the chaos mode has one page"),
    ("test_sslproto.SelectorStartTLSTests.test_start_tls_client", "chaos*",
     "asyncio's start_tls fails when the bytes before it do not fit at once: the ring of the chaos mode has one page"),
]
# Both ends are in their own process, so lanes must open when they are tried at the first byte.
MUST_OPEN = ["test.test_" + name for name in ("socket", "ssl", "socketserver", "httplib", "httpservers")] + ["test.test_asyncio.test_streams"]
DUMP = signal.SIGRTMAX - 2
# Which processes are ours: each has this variable, its value begins with ALL.
MARK = "SLUICE_PYTHON_RUN"
ALL = uuid.uuid4().hex


def left_out(mode):
    return [word for word, modes, _ in LEFT_OUT if fnmatch.fnmatch(mode, modes)]


def is_left_out(name, mode):
    return any(word in name for word in left_out(mode))


class Outcome:
    """What a run came to: `results` by test id; `ends`, how the process ended when that was not in order."""

    def __init__(self):
        self.results = {}
        self.ends = None
        self.log = None
        self.seconds = 0.0
        self.counters = {}

    def of(self, name):
        return self.results.get(name, "missing")


def marked(mark):
    """Ids of the processes whose mark begins so."""
    wanted = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if any(variable.startswith(wanted) for variable in file.read().split(b"\0")):
                        yield int(entry)
            except OSError:
                pass


def kill_marked(mark=ALL):
    for process in list(marked(mark)):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass


class Runner:
    def __init__(self, python, preload, stat, work, logs, limit):
        self.python, self.preload, self.stat = python, preload, stat
        self.work, self.logs, self.limit = work, logs, limit

    def environment(self, mode, folder, mark):
        kept = ("PATH", "LD_LIBRARY_PATH", "USER", "LOGNAME")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        variables |= {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", MARK: mark}
        if mode != "plain":
            variables["LD_PRELOAD"] = self.preload
        kind, _, number = mode.partition(":")
        variables |= {
            "first": {"SLUICE_LANE_AT": "0"},
            "at": {"SLUICE_LANE_AT": number},
            "chaos": {"SLUICE_LANE_AT": "0", "SLUICE_CHAOS": number},
        }.get(kind, {})
        return variables

    def run(self, module, mode, names=()):
        name = uuid.uuid4().hex[:8]
        mark = f"{ALL}-{name}"
        folder = os.path.join(self.work, name)
        os.mkdir(folder)
        outcome = Outcome()
        outcome.log = os.path.join(self.logs, f"{module}-{mode}-{name}.log")
        results = f"{folder}.results"
        open(results, "w").close()
        start = time.monotonic()
        command = [self.python, os.path.join(HERE, "one.py"), results, module, *names]
        for word in left_out(mode):
            command += ["--without", word]
        environment = self.environment(mode, folder, mark)
        with open(outcome.log, "w") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True, env=environment)
        try:
            self.watch(process, results, outcome, mode)
        finally:
            outcome.seconds = time.monotonic() - start
            process.kill()
            process.wait()
            kill_marked(mark)
            shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def watch(self, process, path, outcome, mode):
        """Reads results until the process has ended, or nothing has come for too long."""
        started, last, asked = None, time.monotonic(), False
        unread = ""
        with open(path, encoding="utf-8") as file:
            while True:
                ended = process.poll() is not None
                while line := file.readline():
                    last = time.monotonic()
                    # A line may be there in part while it is being written.
                    unread += line
                    if not unread.endswith("\n"):
                        continue
                    result, name = unread.rstrip("\n").split("\t", 1)
                    unread = ""
                    if result == "start":
                        started = name
                    elif result == "done":
                        asked = True
                        if mode != "plain":
                            outcome.counters = self.counters(process.pid)
                        process.stdin.close()
                    else:
                        started = None
                        outcome.results[name] = result
                if ended:
                    if process.returncode != 0 or not asked:
                        outcome.ends = f"crash ({process.returncode})"
                    break
                if time.monotonic() - last > self.limit:
                    outcome.ends = "hang"
                    self.look_at(process.pid, outcome.log)
                    break
                time.sleep(0.05)
        if outcome.ends and started:
            outcome.results[started] = outcome.ends

    def look_at(self, process, log):
        """Adds to the log where the threads of a process that hangs stand."""
        try:
            os.kill(process, DUMP)
            time.sleep(2)
            with open(log, "a") as file:
                subprocess.run([self.stat, "why", str(process)], stdout=file, stderr=file, timeout=60)
        except (OSError, subprocess.SubprocessError):
            pass

    def counters(self, process):
        """The process-wide counters of a process under the library, as the tool says them."""
        try:
            said = subprocess.run([self.stat, "why", "--json", str(process)], capture_output=True, timeout=60)
            return json.loads(said.stdout)["stacks"][0]["counters"]
        except (OSError, ValueError, LookupError, subprocess.SubprocessError):
            return {}
