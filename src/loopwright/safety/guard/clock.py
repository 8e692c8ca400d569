"""Keeping time: a tick that does not drift, and the little priority a process can ask for."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_PR_SET_TIMERSLACK = 29
_SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """One beat of a loop."""

    due_s: float
    """When it should have begun, by ``time.monotonic``."""
    now_s: float
    """When it begins."""
    missed: int
    """Beats that were slept through before it."""

    @property
    def late_s(self) -> float:
        """How long after its time it begins."""
        return self.now_s - self.due_s


def ticks(
    period_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Tick]:
    """Yield a beat every period, for ever, on a fixed grid of times.

    A late beat does not move the later ones. Beats that were slept through whole are counted and
    not made up for; lateness counts from the first of them.
    """
    due_s = clock() + period_s
    while True:
        while (left_s := due_s - clock()) > 0:
            sleep(left_s)
        now_s = clock()
        missed = int((now_s - due_s) / period_s)
        yield Tick(due_s=due_s, now_s=now_s, missed=missed)
        due_s += (missed + 1) * period_s


def take_priority(level: int) -> tuple[str, ...]:
    """Ask the kernel to run this process soon and keep its memory; return what was granted.

    Nothing of it is required: where it is refused, the loop runs as any process does, and stops
    the robot more often. Other threads of the process come right below this one: a thread of
    ordinary priority that was put aside while it held the interpreter's lock would hold up the
    loop for as long as the machine is busy (seen: 20 to 40 ms, several times in ten minutes).

    Args:
        level: Priority among real-time threads, 2 to 99; 0 asks for nothing.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    if level == 0:
        return ()
    granted: list[str] = []
    try:
        for thread in threading.enumerate():
            if thread.native_id not in (None, threading.get_native_id()):
                os.sched_setscheduler(thread.native_id, os.SCHED_FIFO, os.sched_param(level - 1))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(level))
        granted.append(f"SCHED_FIFO {level}")
    except (OSError, AttributeError):
        with contextlib.suppress(OSError):
            granted.append(f"nice {os.nice(-10)}")
    return (*granted, *_hold_memory())


def _hold_memory() -> tuple[str, ...]:
    """Lock the pages of the process and sharpen its timers, where there is a libc that can."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
        locked = libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0
    except (OSError, AttributeError):
        return ()
    return ("memory locked",) if locked else ()
