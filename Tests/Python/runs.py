"""Runs of one module of Python's tests in a mode, each in a process and a folder of its own, watched for hangs."""
import json
import os
import shutil
import signal
import subprocess
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
DUMP = signal.SIGRTMAX - 2
MARK = "SLUICE_PYTHON_RUN"


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
    """Ids of the processes that a run has started, and of their children."""
    wanted = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if wanted in file.read().split(b"\0"):
                        yield int(entry)
            except OSError:
                pass


class Runner:
    def __init__(self, python, library, stat, work, logs, limit):
        self.python, self.library, self.stat = python, library, stat
        self.work, self.logs, self.limit = work, logs, limit

    def environment(self, mode, folder, mark):
        kept = ("PATH", "LD_LIBRARY_PATH", "USER", "LOGNAME")
        variables = {name: os.environ[name] for name in kept if name in os.environ}
        variables |= {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0", MARK: mark}
        if mode != "plain":
            variables["LD_PRELOAD"] = self.library
        if mode == "first":
            variables["SLUICE_LANE_AT"] = "0"
        elif mode.startswith("chaos:"):
            variables["SLUICE_CHAOS"] = mode[6:]
        return variables

    def run(self, module, mode, names=()):
        mark = uuid.uuid4().hex
        folder = os.path.join(self.work, mark[:12])
        os.mkdir(folder)
        outcome = Outcome()
        outcome.log = os.path.join(self.logs, f"{module}-{mode}-{mark[:6]}.log")
        results = f"{folder}.results"
        open(results, "w").close()
        start = time.monotonic()
        command = [self.python, os.path.join(HERE, "one.py"), results, module, *names]
        with open(outcome.log, "w") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, start_new_session=True,
                env=self.environment(mode, folder, mark))
        try:
            self.watch(process, results, outcome, mode)
        finally:
            outcome.seconds = time.monotonic() - start
            process.kill()
            process.wait()
            for other in list(marked(mark)):
                try:
                    os.kill(other, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def watch(self, process, path, outcome, mode):
        """Reads results until the process has ended, or nothing has come for too long."""
        started, last, asked = None, time.monotonic(), False
        with open(path, encoding="utf-8") as file:
            while True:
                ended = process.poll() is not None
                while line := file.readline():
                    last = time.monotonic()
                    result, name = line.rstrip("\n").split("\t", 1)
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
