"""How long calls wait (SLUICE_LATENCY): what sluicestat tells of them, beside the clocks of the program that waits, around its
calls, and of the one that lets it wait, between the moment when it sees the other asleep (or spinning) and its own call. Used by
counts.py."""
import json
import math
import subprocess
import time

# A bucket ends 1/32 above its begin; percentiles are told by its middle, to two digits.
RESOLUTION = 1.06
STEPS = [0, 1, 2, 3, 5, 8, 13, 40]


def percentile(times, percent):
    """As HdrHistogram counts."""
    return sorted(times)[max(1, math.ceil(len(times) * percent / 100)) - 1]


def compare(rows, wait, ended, least, most):
    """The row of these waits: as many, and each percentile between what the two programs have measured."""
    found = [row for row in rows if (row["wait"], row["ended"]) == (wait, ended)]
    assert len(found) == 1, (wait, ended, rows)
    row = found[0]
    assert row["count"] == len(most), (row, len(most))
    assert sum(least) <= row["sum_ns"] <= sum(most), (row, least, most)
    assert max(least) <= row["maximum_ns"] <= max(most), (row, least, most)
    for name, percent in ("p50_ns", 50), ("p90_ns", 90), ("p99_ns", 99), ("p999_ns", 99.9):
        assert percentile(least, percent) / RESOLUTION <= row[name] <= percentile(most, percent) * RESOLUTION, (name, row, least, most)
    return row


def let_wait(waiter, act, seen, go, after=None):
    """Lets a program wait for some milliseconds each time; the least that its calls can have waited, and what it measured itself."""
    least, most = [], []
    for milliseconds in STEPS:
        waiter.start(act)
        seen()
        begin = time.monotonic_ns()
        time.sleep(milliseconds / 1000)
        least.append(time.monotonic_ns() - begin)
        go()
        most.append(waiter.finish())
        if after:
            after()
    return least, most


def told(run, agent):
    return json.loads(run("latency", str(agent.pid), "--json"))["processes"][0]["waits"]


def refused(stat, agent):
    """The tool says that this process keeps no times."""
    done = subprocess.run([stat, "latency", str(agent.pid)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "SLUICE_LATENCY=1" in done.stderr, done


def mapped(agent):
    """How many bytes of its stack it has mapped."""
    with open(f"/proc/{agent.pid}/maps", encoding="utf-8") as file:
        ranges = [line.split()[0].split("-") for line in file if "/memfd:sluice (deleted)" in line]
    return sum(int(end, 16) - int(begin, 16) for begin, end in ranges)
