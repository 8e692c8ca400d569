"""What the fleet attempted, from what it wrote down: journal, log of the world, black boxes.

All of these are on the disk before anybody acts on them, so an attempt that a crash cut short is
found here too, as far as it went. In memory are the tasks that are open, and the two logs used
last; with a mark only what is new is read at all.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.robot.fleet.flights import flights_between, read_once
from loopwright.robot.fleet.mark import Mark, began_s, entries_from
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState, TaskState
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.simulation.warehouse.model import RATE_HZ, coordinates_of
from loopwright.simulation.warehouse.worldlog import SUFFIX, Place, WorldLog, read_world_log

BEFORE_S, AFTER_S = 0.1, 0.5
"""What is kept of the time before a robot begins to move and after its last command."""
SHORTEST_S = 0.5
_KEPT = 2
_CLOCK_S = 5.0
"""By so much two clocks that tell the time of day may differ, or one be set back."""


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


def read_attempts(site: FleetSite, mark: Path | None = None) -> Iterator[Attempt]:
    """Yield every attempt that is over, or was cut short, those of a task together.

    One that a running fleet is still at is left for later. So is one of which no log of the world
    tells: it was made by a version that kept none.

    Args:
        site: The fleet's folder.
        mark: File that says how far an earlier call read; what it yielded is not yielded again. It
            is renewed when the last attempt has been dealt with, so whoever dies before gets the
            same ones again. None yields all.

    Raises:
        DamagedData: Journal or logs are not what was written.
        StorageError: The mark could not be written.
    """
    with closing(Journal(site.journal, read_only=True)) as journal:
        journal_s = began_s(journal)
        known = Mark.read(mark) if mark else None
        if known is not None and known.journal_s != journal_s:
            known = None  # of a journal that was moved away
        reading = _Reading(site, known)
        for entry in entries_from(journal, known):
            if (task := reading.take(entry)) is not None:
                yield from reading.attempts_of(task, runs=True)
    runs = is_running(site)
    for task in reading.open_tasks:
        yield from reading.attempts_of(task, runs=runs)
    if mark is not None:
        reading.mark(journal_s).write(mark)


class _Reading:
    """A journal as far as it is read; of tasks that are over nothing stays."""

    def __init__(self, site: FleetSite, mark: Mark | None) -> None:
        self._state, self._logs = FleetState(), _Logs(site.worlds, mark)
        self._number, self._time_s = mark.number if mark else 0, 0.0
        self._passed = set(mark.passed) if mark else set[str]()
        self._joins: dict[str, int] = {}
        self._join_of: dict[str, int] = {}

    def take(self, entry: Entry) -> TaskState | None:
        """Take in an event; returns the task that ended by it."""
        event, tasks = entry.event, self._state.tasks
        self._number, self._time_s = max(self._number, entry.number), entry.time_s
        if entry.task and entry.task not in tasks and not isinstance(event, happened.TaskAsked):
            return None  # an afterthought about a task that is over
        self._state.apply(entry)
        if isinstance(event, happened.RobotJoined):
            self._joins[event.robot] = entry.number
        elif isinstance(event, happened.IntentIssued):
            self._join_of[event.intent] = self._joins[event.robot]
        return tasks[event.task] if isinstance(event, happened.TaskEnded) else None

    @property
    def open_tasks(self) -> list[TaskState]:
        """Those of which attempts may still come."""
        return list(self._state.tasks.values())

    def attempts_of(self, task: TaskState, *, runs: bool) -> Iterator[Attempt]:
        """Yield the attempts of a task that were not yet yielded, and forget it if it is over."""
        for intent in task.intents:
            if intent.id in self._passed or (intent.is_open and runs):
                continue
            log = self._logs.of(intent.issued_s, intent.ended_s)
            if log is not None:
                yield _attempt(intent, task, log)
            elif runs and self._logs.may_come(intent.issued_s):
                continue
            self._passed.add(intent.id)
        if task.status == "ended" and all(i.id in self._passed for i in task.intents):
            del self._state.tasks[task.id]
            for intent in task.intents:
                del self._state.intents[intent.id], self._join_of[intent.id]
                self._passed.remove(intent.id)

    def mark(self, journal_s: float) -> Mark:
        """Return where to go on from here."""
        waiting = [i.issued_s for i in self._state.intents.values() if i.id not in self._passed]
        log, place = self._logs.place_before(min([*waiting, self._time_s]) - _CLOCK_S)
        return Mark(
            journal_s=journal_s,
            number=self._number,
            joins=tuple(sorted({*self._joins.values(), *self._join_of.values()})),
            tasks=tuple(self._state.tasks),
            passed=tuple(sorted(self._passed)),
            log=log,
            place=place,
        )


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
    from_s, until_s = attempt.log.wall_at(steps[0]), attempt.log.wall_at(steps[-1])
    for path in flights_between(site.flights, robot, from_s - _CLOCK_S, until_s + _CLOCK_S):
        flight = read_once(path)
        clock_s = flight.steps["monotonic_s"]
        inside = len(clock_s) and clock_s[0] <= times_s[-1] and clock_s[-1] >= times_s[0]
        # The machine's clock begins anew with the machine, so the time of day must fit too.
        if inside and abs(flight.utc_ns(times_s[0]) / 1e9 - from_s) < _CLOCK_S:
            rows = np.searchsorted(clock_s, times_s, side="right") - 1
            here = np.atleast_2d(flight.steps["requested"][np.maximum(rows, 0)])
            asked = here if asked is None else np.where((rows >= 0)[:, None], here, asked)
    if asked is None:
        return np.full((len(times_s), 0), np.nan)
    known = np.isfinite(asked)
    known[:, size:] = True
    return np.where(known, asked, 0.0)


class _Logs:
    """The logs of a fleet's worlds: read when they are asked for, and the last two kept."""

    def __init__(self, folder: Path, mark: Mark | None) -> None:
        first, self._begin = (mark.log, mark.place) if mark else ("", None)
        found = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        self._paths = [path for path in found if path.name >= first]
        self._first = first
        self._kept: dict[Path, tuple[int, WorldLog]] = {}
        self._spans: dict[Path, _Span] = {}

    def of(self, begin_s: float, end_s: float | None) -> WorldLog | None:
        """Return the log of the world that ran at a time of day.

        Args:
            begin_s: That time.
            end_s: Until when it is wanted, if it goes so far by now.
        """
        for path in self._paths:
            span = self._spans.get(path)
            if span is not None and not span.covers(begin_s) and path != self._paths[-1]:
                continue  # it was read before, and let go
            log = self._read(path)
            if end_s is not None and log.covers(begin_s) and not log.covers(end_s):
                log = self._read(path, newly=True)
            if log.covers(begin_s):
                return log
        return None

    def may_come(self, wall_s: float) -> bool:
        """Tell whether the newest log may still come to a time of day."""
        span = self._spans.get(self._paths[-1]) if self._paths else None
        return span is not None and span.last_s < wall_s

    def place_before(self, wall_s: float) -> tuple[str, Place | None]:
        """Return the last place, in which log, from which what comes after a time can be read."""
        for path in reversed(self._paths):
            span = self._spans.get(path)
            if span is not None and span.first_s <= wall_s:
                return path.name, span.place_before(wall_s)
        return self._first, self._begin

    def _read(self, path: Path, *, newly: bool = False) -> WorldLog:
        size, log = self._kept.pop(path, (0, None))
        if log is None or (newly and path.stat().st_size != size):
            size = path.stat().st_size
            log = read_world_log(path, self._begin if path.name == self._first else None)
            self._spans[path] = _Span.of(log)
        self._kept[path] = (size, log)
        while len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))
        return log


@dataclass(frozen=True, kw_only=True, slots=True)
class _Span:
    """What is remembered of a log that is no longer in memory."""

    first_s: float
    last_s: float
    places: tuple[tuple[float, Place], ...]
    """Wall clock and place of every state in it."""

    @classmethod
    def of(cls, log: WorldLog) -> _Span:
        first_s, last_s = (log.wall_s[0], log.wall_s[-1]) if len(log.wall_s) else (np.inf, -np.inf)
        places = tuple((log.wall_at(step), place) for step, place in log.places.items())
        return cls(first_s=first_s, last_s=last_s, places=places)

    def covers(self, wall_s: float) -> bool:
        return self.first_s <= wall_s <= self.last_s + 1.0

    def place_before(self, wall_s: float) -> Place | None:
        return next((place for at_s, place in reversed(self.places) if at_s <= wall_s), None)


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
