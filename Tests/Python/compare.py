"""Compares the result of every single test of some modules of Python's own tests under Sluice with its result on the plain
kernel, and says a line for each module and mode.

usage: compare.py --python FILE --preload FILE --stat FILE --work FOLDER --logs FOLDER --modes MODE,...
       [--jobs N] [--limit SECONDS] MODULE[=MODE,...]...

A mode is default, first (lanes at the first byte), at:MESSAGES (lanes after these), or chaos:SEED (lanes at the first byte,
handed back at random; rings of one page). A module (or one class of it) may name modes of its own. Tests that are left out,
and modules of which a lane must open in the mode first, are listed in runs.py.

The rule. A module runs once on the plain kernel and once in each mode. A test whose result in a mode is another one than on
the plain kernel is looked at again in that mode, five times: alone (with the others that differ), and in the whole module,
in turns. When no such turn shows a result that the plain kernel has not shown, it was seen once: each is said, and more than
three in all are a failure (a busy machine makes one now and then, and so does a rare fault: look at its log). Else the
plain kernel gets five such turns too: the test differs unless it shows there every result that it shows in the mode.
A hang (nothing ends for --limit seconds) and a crash of the interpreter are failures at once, wherever they are seen.
"""
import argparse
import concurrent.futures
import os
import signal
import threading

import runs

TURNS = 5
SEEN_ONCE = 3
speaking = threading.Lock()


def say(*lines):
    with speaking:
        for line in lines:
            print(line, flush=True)


class Module:
    def __init__(self, name, runner, modes):
        self.name, self.runner, self.modes = name, runner, modes
        self.plain = None
        self.seen = {}  # results on the plain kernel, by test
        self.lanes, self.ring_bytes = 0, 0
        self.lines = []
        self.passed = self.failed = self.once = 0

    def ok(self, text):
        self.passed += 1
        self.lines.append(f"ok   {text}")

    def not_ok(self, text, *more):
        self.failed += 1
        self.lines.append(f"FAIL {text}")
        self.lines += [f"     {line}" for line in more]

    def run_plain(self, names=()):
        outcome = self.runner.run(self.name, "plain", names)
        for name, result in outcome.results.items():
            self.seen.setdefault(name, set()).add(result)
        return outcome

    def ended_badly(self, title, outcome):
        if not outcome.ends:
            return False
        where = [name for name, result in outcome.results.items() if result == outcome.ends]
        self.not_ok(f"{title}: {outcome.ends} in {where[0] if where else 'no test'}", f"log: {outcome.log}", *tail(outcome.log))
        return True

    def run(self):
        self.plain = self.run_plain()
        title = f"{self.name}, plain kernel"
        if self.ended_badly(title, self.plain):
            return
        if not any(result == "pass" for result in self.plain.results.values()):
            self.not_ok(f"{title}: no test passes", f"log: {self.plain.log}", *tail(self.plain.log))
            return
        for mode in self.modes:
            self.compare(mode)

    def differing(self, outcome, names):
        """Tests with a result that the plain kernel has not shown, and that result."""
        found = {}
        for name in names:
            if outcome.of(name) not in self.seen.get(name, {"missing"}):
                found[name] = outcome.of(name)
        return found

    def compare(self, mode):
        title = f"{self.name}, {mode}"
        outcome = self.runner.run(self.name, mode)
        lanes, ring_bytes = outcome.counters.get("lanes_opened", 0), outcome.counters.get("ring_bytes_ended", 0)
        self.lanes, self.ring_bytes = self.lanes + lanes, self.ring_bytes + ring_bytes
        if self.ended_badly(title, outcome):
            return
        if mode == "first" and self.name in runs.MUST_OPEN and min(lanes, ring_bytes) == 0:
            self.not_ok(f"{title}: {lanes} lane ends, {ring_bytes} bytes by ring", f"log: {outcome.log}")
        names = {name for name in self.plain.results if not runs.is_left_out(name, mode)}
        found = self.differing(outcome, names | set(outcome.results))
        logs = {name: outcome.log for name in found}
        again = {}
        if found:
            if not self.look_again(mode, title, found, again, logs):
                return
        for name, result in found.items():
            if name not in again:
                self.once += 1
                self.lines.append(f"     {title}: {name}: {result} was seen once; log: {logs[name]}")
        if again:
            self.not_ok(f"{title}: {len(again)} of {len(self.plain.results)} tests differ")
            for name, result in again.items():
                kernel = " or ".join(sorted(self.seen.get(name, {"missing"})))
                self.lines.append(f"     {name}: {result}, on the plain kernel {kernel}; log: {logs[name]}")
        else:
            count = len(outcome.results)
            self.ok(f"{title}: {count} tests as on the plain kernel; {lanes} lane ends, {ring_bytes} bytes ({outcome.seconds:.0f} s)")

    def look_again(self, mode, title, found, again, logs):
        """The rule above. Fills `again`; false when a run hung or crashed."""
        for turn in range(TURNS):
            outcome = self.runner.run(self.name, mode, self.names(turn, found))
            if self.ended_badly(title, outcome):
                return False
            for name, result in self.differing(outcome, found).items():
                again[name] = result
                logs[name] = outcome.log
            if len(again) == len(found):
                break
        for turn in range(TURNS):
            if not again:
                break
            outcome = self.run_plain(self.names(turn, again))
            if self.ended_badly(f"{self.name}, plain kernel", outcome):
                return False
            for name in list(again):
                if again[name] in self.seen.get(name, ()):
                    del again[name]
        return True

    def names(self, turn, found):
        """Of the tests to run in a turn: an empty list for all. Set-ups of classes and modules cannot be run alone."""
        return sorted(found) if turn % 2 == 0 and all(name.startswith(self.name) for name in found) else []


def tail(path):
    with open(path, errors="replace") as file:
        return file.read().splitlines()[-40:]


def stop(number, frame):
    """Nothing stays behind when the suite is ended from outside."""
    runs.kill_marked()
    os._exit(128 + number)


def main():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    parser = argparse.ArgumentParser()
    for option in ("--python", "--preload", "--stat", "--work", "--logs", "--modes"):
        parser.add_argument(option, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("modules", nargs="+")
    options = parser.parse_args()
    runner = runs.Runner(options.python, options.preload, options.stat, options.work, options.logs, options.limit)
    modules = []
    for word in options.modules:
        name, _, modes = word.partition("=")
        modules.append(Module(name, runner, (modes or options.modes).split(",")))

    def run(module):
        module.run()
        say(*module.lines)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, modules))
    lanes = sum(module.lanes for module in modules)
    ring_bytes = sum(module.ring_bytes for module in modules)
    failed = sum(module.failed for module in modules)
    passed = sum(module.passed for module in modules)
    if lanes > 0 and ring_bytes > 0:
        passed += 1
        say(f"ok   {lanes} lane ends were opened, {ring_bytes} bytes went into or out of rings")
    else:
        failed += 1
        say(f"FAIL bytes by ring: {lanes} lane ends, {ring_bytes} bytes")
    once = sum(module.once for module in modules)
    if once > SEEN_ONCE:
        failed += 1
        say(f"FAIL {once} results were seen once, at most {SEEN_ONCE} may be")
    say(f"{passed} passed, {failed} failed, 0 skipped")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
