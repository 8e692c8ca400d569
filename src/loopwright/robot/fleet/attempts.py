"""What the fleet attempted, from what it wrote down: journal, log of the world, black boxes.

All of these are on the disk before anybody acts on them, so an attempt that a crash cut short is
found here too, as far as it went.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.robot.fleet.flights import read_once
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal.fold import IntentState, TaskState, fold
from loopwright.robot.journal.journal import Journal
from loopwright.simulation.warehouse.model import RATE_HZ, coordinates_of
from loopwright.simulation.warehouse.worldlog import SUFFIX, WorldLog, read_world_log

BEFORE_S, AFTER_S = 0.1, 0.5
"""What is kept of the time before a robot begins to move and after its last command."""
SHORTEST_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Attempt:
    """One attempt of one robot at a skill, and where in the log of the world it is."""

    intent: IntentState
    task: TaskState
    log: WorldLog
    begin: int
    """First step of the log."""
    end: int
    """One after the last."""
    censored: str | None = None
    """Why it ends early, if it does."""


def read_attempts(site: FleetSite) -> Iterator[Attempt]:
    """Yield every attempt that is over, or was cut short, the oldest first.

    One that a running fleet is still at is left for later. So is one of which no log of the world
    tells: it was made by a version that kept none.

    Raises:
        DamagedData: Journal or logs are not what was written.
    """
    with closing(Journal(site.journal, read_only=True)) as journal:
        state = fold(journal.entries())
    runs, logs = is_running(site), _Logs(site.worlds)
    for intent in state.intents.values():
        if intent.is_open and runs:
            continue
        log = logs.of(intent.issued_s)
        if log is not None:
            yield _attempt(intent, state.tasks[intent.task], log)


def is_running(site: FleetSite) -> bool:
    """Tell whether a fleet runs in a folder."""
    lock = site.folder / "fleet.lock"
    if not lock.exists():
        return False
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def requested_in(site: FleetSite, attempt: Attempt) -> np.ndarray:
    """Return what the skill asked of the guard before each step, float64 ``(steps, N)``.

    It stands still where it asked for nothing, or for what is no command.

    Raises:
        DamagedData: A flight of that time cannot be read.
    """
    robot, steps = attempt.intent.robot, range(attempt.begin, attempt.end)
    times_s = np.array([attempt.log.monotonic_at(step) for step in steps])
    size = len(coordinates_of(robot))
    asked: np.ndarray | None = None
    for path in sorted(site.flights.glob(f"{robot}-*T*Z.flight")):
        flight = read_once(path)
        clock_s = flight.steps["monotonic_s"]
        inside = len(clock_s) and clock_s[0] <= times_s[-1] and clock_s[-1] >= times_s[0]
        # The machine's clock begins anew with the machine, so the time of day must fit too.
        if inside and abs(flight.utc_ns(times_s[0]) / 1e9 - attempt.log.wall_at(steps[0])) < 5.0:
            rows = np.searchsorted(clock_s, times_s, side="right") - 1
            asked = np.atleast_2d(flight.steps["requested"][np.maximum(rows, 0)])
    if asked is None:
        return np.full((len(times_s), 0), np.nan)
    known = np.isfinite(asked)
    known[:, size:] = True
    return np.where(known, asked, 0.0)


class _Logs:
    """The logs of a fleet's worlds, each read once."""

    def __init__(self, folder: Path) -> None:
        self._unread = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        self._read: list[WorldLog] = []

    def of(self, wall_s: float) -> WorldLog | None:
        """Return the log of the world that ran at a time of day."""
        for log in self._read:
            if log.covers(wall_s):
                return log
        while self._unread:
            self._read.append(read_world_log(self._unread.pop(0)))
            if self._read[-1].covers(wall_s):
                return self._read[-1]
        return None


def _attempt(intent: IntentState, task: TaskState, log: WorldLog) -> Attempt:
    ended_s, censored = intent.ended_s, None
    if ended_s is None:
        ended_s, censored = log.wall_s[-1], "the fleet ended before the attempt did"
    elif not log.covers(ended_s):
        ended_s, censored = log.wall_s[-1], "the world ended before the attempt did"
    begin, end = _moving(log, intent.robot, log.step_at(intent.issued_s), log.step_at(ended_s) + 1)
    return Attempt(intent=intent, task=task, log=log, begin=begin, end=end, censored=censored)


def _moving(log: WorldLog, robot: str, begin: int, end: int) -> tuple[int, int]:
    """Return the stretch in which a robot moved, and stood afterwards; a short one if it did not.

    It ends before the robot moves again for something else.
    """
    after = round(AFTER_S * RATE_HZ)
    joints = len(coordinates_of(robot))
    moves = [
        step
        for step, commands in enumerate(log.commands_at(begin, min(log.end, end + after)), begin)
        if (command := commands.get(robot)) is not None and command[:joints].any()
    ]
    own, next_ = [m for m in moves if m < end], [m for m in moves if m >= end]
    first = max(begin, own[0] - round(BEFORE_S * RATE_HZ)) if own else begin
    last = own[-1] + 1 + after if own else first + round(SHORTEST_S * RATE_HZ)
    return first, min([last, log.end, *next_])
