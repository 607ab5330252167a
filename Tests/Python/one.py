"""Runs one module of Python's own tests and writes a line for each test: its result, a tab, its id.

usage: one.py RESULTS MODULE [--without WORD]... [ID...]
    only the tests with these ids, when there are any; none whose id has one of the words

Results are pass, fail, error, skip, expected-failure and unexpected-success; a line `start` precedes each. At the end it
writes `done` and waits for its standard input to end, so that others can look at the process.
"""
import argparse
import faulthandler
import os
import random
import signal
import socket
import sys
import time
import traceback
import unittest

# What the tests may use: nothing that needs the Internet, a sound card or much memory.
RESOURCES = ["cpu", "subprocess", "walltime", "decimal", "tzdata"]
# They ask for a network and use this host only.
LOCAL = ["test.test_socketserver", "test.test_timeout"]


class Results(unittest.TestResult):
    """Writes what a test came to when it has ended. A child that a test forked writes nothing."""

    # Of several (parts of one test, its cleanup), the worst counts.
    RANKS = ["pass", "expected-failure", "skip", "unexpected-success", "fail", "error"]

    def __init__(self, path):
        super().__init__()
        self.process = os.getpid()
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        self.current = None
        self.result = None

    def line(self, result, name):
        if os.getpid() == self.process:
            os.write(self.file, f"{result}\t{name}\n".encode("utf-8", "backslashreplace"))

    def came_to(self, test, result, error=None, text=None):
        if error is not None:
            text = "".join(traceback.format_exception(*error))
        if text is not None:
            print(f"== {result} {test.id()}\n{text}", flush=True)
        if self.current is None:
            # The set-up of a class or a module.
            self.line(result, test.id())
        elif self.result is None or self.RANKS.index(result) > self.RANKS.index(self.result):
            self.result = result

    def startTest(self, test):
        super().startTest(test)
        self.current, self.result, self.began = test.id(), None, time.monotonic()
        self.line("start", self.current)

    def stopTest(self, test):
        super().stopTest(test)
        self.line(self.result or "pass", self.current)
        seconds = time.monotonic() - self.began
        if seconds > 0.05 and os.getpid() == self.process:
            print(f"== {seconds:.2f} s {self.current}", flush=True)
        self.current = None

    def addSuccess(self, test):
        self.came_to(test, "pass")

    def addError(self, test, err):
        self.came_to(test, "error", err)

    def addFailure(self, test, err):
        self.came_to(test, "fail", err)

    def addSkip(self, test, reason):
        self.came_to(test, "skip", text=reason)

    def addExpectedFailure(self, test, err):
        self.came_to(test, "expected-failure")

    def addUnexpectedSuccess(self, test):
        self.came_to(test, "unexpected-success")

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.came_to(subtest, "fail" if issubclass(err[0], test.failureException) else "error", err)


def selected(suite, names, left_out):
    """The suite with only the tests that have one of the names, if any, and are not left out, in the same order."""
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(selected(test, names, left_out))
        elif (not names or test.id() in names) and not any(word in test.id() for word in left_out):
            kept.addTest(test)
    return kept


def stay_here():
    """Where test_timeout asks for a host in the Internet, which connects and says nothing, it gets one here."""
    from test import test_timeout

    listener = socket.create_server(("127.0.0.1", 0))
    test_timeout.resolve_address = lambda host, port: listener.getsockname()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", action="append", default=[])
    for name, count in (("results", None), ("module", None), ("names", "*")):
        parser.add_argument(name, nargs=count)
    options = parser.parse_args()
    # Tests may look at the arguments.
    del sys.argv[1:]
    module = options.module
    faulthandler.enable()
    faulthandler.register(signal.SIGRTMAX - 2, all_threads=True)
    random.seed(1)
    from test import support

    support.use_resources = RESOURCES + ["network"] * (module in LOCAL)
    support.verbose = 0
    if module == "test.test_timeout":
        stay_here()
    results = Results(options.results)
    try:
        suite = unittest.defaultTestLoader.loadTestsFromName(module)
    except unittest.SkipTest as reason:
        print(reason)
        results.line("skip", module)
        suite = unittest.TestSuite()
    selected(suite, set(options.names), options.without).run(results)
    support.gc_collect()
    results.line("done", module)
    os.read(0, 1)


if __name__ == "__main__":
    main()
