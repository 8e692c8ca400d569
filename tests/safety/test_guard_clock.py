from __future__ import annotations

import subprocess
import sys

import pytest

from loopwright.safety.guard.clock import ticks


class Bed:
    """A clock on which sleeping is the only thing that takes time."""

    def __init__(self) -> None:
        self.now_s = 10.0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_beats_do_not_drift_with_the_work_between_them() -> None:
    bed = Bed()
    beats = ticks(0.01, clock=bed.clock, sleep=bed.sleep)
    for number in range(1, 1001):
        tick = next(beats)
        assert tick.due_s == pytest.approx(10.0 + 0.01 * number)
        assert tick.missed == 0
        bed.now_s += 0.004


def test_beats_slept_through_are_counted_and_lateness_is_of_the_first() -> None:
    bed = Bed()
    beats = ticks(0.01, clock=bed.clock, sleep=bed.sleep)
    next(beats)
    bed.now_s += 0.035
    late = next(beats)
    assert late.missed == 2
    assert late.late_s == pytest.approx(0.025)
    after = next(beats)
    assert after.missed == 0
    assert after.due_s == pytest.approx(10.05)


PRIORITIES = """
import os, threading, time
over = threading.Event()
other = threading.Thread(target=over.wait)
other.start()
from loopwright.safety.guard.clock import take_priority
granted = take_priority(20)
here, there = os.sched_getparam(0), os.sched_getparam(other.native_id)
over.set()
print(granted[0] if granted else "", here.sched_priority, there.sched_priority, sep="|")
"""


def test_no_thread_of_ordinary_priority_stays_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRIORITIES], capture_output=True, text=True, check=True
    )
    granted, here, there = done.stdout.strip().split("|")
    if not granted.startswith("SCHED_FIFO"):
        pytest.skip("no real-time priority here")
    assert (here, there) == ("20", "19")
