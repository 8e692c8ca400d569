"""The four signals of a cell, as what they mean rather than as columns of numbers.

::

    policy --Request--> guard --Command--> drive --Reading--> guard, policy
                              watchdog --Line--> drive, guard

Each has one writer. The *line* is the enable line: without it no drive moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import isfinite
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from loopwright.safety.decision import Reason
from loopwright.safety.guard.exchange import (
    SignalReader,
    SignalWriter,
    create_signal,
)

Floats = tuple[float, ...]

_LONGEST_ASKED = 1024
"""A malformed request is taken for no longer than this, whatever it says of itself."""


class LineState(IntEnum):
    """What the enable line says."""

    ARMING = 0
    """No fault is open, and not everybody is there yet."""
    UP = 1
    """Drives may follow their guards."""
    DOWN = 2
    """Dropped; stays so until an operator signs its release."""
    CLOSED = 3
    """The watchdog ended in good order."""


class GuardState(IntEnum):
    """What a guard would do if the line were up."""

    READY = 0
    """Follow the policy, or rest as it asks."""
    HELD = 1
    """Stand still until what is missing is there; nobody need release it."""
    LATCHED = 2
    """Let nothing through until an operator signs a release."""
    ENDED = 3
    """Nothing: it ended in good order, with its robot in the safe state."""


class Trip(IntEnum):
    """Why a drive stopped by itself."""

    NONE = 0
    COMMAND_OLD = 1
    """The guard's last word is too old."""
    WATCHDOG_SILENT = 2
    """The watchdog's last word is too old."""
    RESTARTED = 3
    """The drive came up while the line was up already, or after an earlier drive."""
    LATE = 4
    """The drive itself slept through its time."""
    COMMAND_BROKEN = 5
    """The guard's command is not finite."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """What the policy asks for."""

    time_s: float
    count: int
    """How many numbers the policy sent; another count than N is malformed, -1 was no array."""
    resting: bool
    """The policy asks for the safe state and may be silent: nobody will miss it."""
    values: np.ndarray
    """float64 ``(N,)``; NaN where nothing was sent."""

    def to_floats(self) -> Floats:
        """Return it as numbers."""
        return (self.time_s, self.count, self.resting, *self.values)

    @classmethod
    def from_floats(cls, values: Floats) -> Self:
        """Read what :meth:`to_floats` wrote."""
        time_s, count, resting, *rest = values
        return cls(
            time_s=time_s,
            count=int(count) if isfinite(count) else -1,
            resting=bool(resting),
            values=np.array(rest, float),
        )

    @property
    def asked(self) -> np.ndarray:
        """What the filter is to judge: an array of the length that the policy sent."""
        if self.count == len(self.values):
            return self.values
        return np.full(min(max(self.count, 0), _LONGEST_ASKED), np.nan)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Command:
    """What the guard lets through to the drive."""

    time_s: float
    """When the guard began to decide this: its heartbeat, and the age of what it decided on."""
    step: int
    """Number of the record in the black box."""
    stopping: bool
    """The robot must be in its safe state; ``applied`` is ignored."""
    reason: Reason
    state: GuardState
    latches: int
    """How often it latched for a reason of its own, restarts included."""
    applied: np.ndarray
    """float64 ``(N,)``."""

    def to_floats(self) -> Floats:
        """Return it as numbers."""
        return (
            self.time_s,
            self.step,
            self.stopping,
            self.reason,
            self.state,
            self.latches,
            *self.applied,
        )

    @classmethod
    def from_floats(cls, values: Floats) -> Self:
        """Read what :meth:`to_floats` wrote."""
        time_s, step, stopping, reason, state, latches, *rest = values
        return cls(
            time_s=time_s,
            step=int(step),
            stopping=bool(stopping),
            reason=Reason(int(reason)),
            state=GuardState(int(state)),
            latches=int(latches),
            applied=np.array(rest, float),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reading:
    """What the drive measured."""

    time_s: float
    trip: Trip
    trip_raise: int
    """Which raise of the line it tripped in."""
    position: np.ndarray
    """float64 ``(N,)``."""
    speed: np.ndarray
    """float64 ``(N,)``."""

    def to_floats(self) -> Floats:
        """Return it as numbers."""
        return (self.time_s, self.trip, self.trip_raise, *self.position, *self.speed)

    @classmethod
    def from_floats(cls, values: Floats) -> Self:
        """Read what :meth:`to_floats` wrote."""
        time_s, trip, trip_raise, *rest = values
        columns = np.array(rest, float).reshape(2, -1)
        return cls(
            time_s=time_s,
            trip=Trip(int(trip)),
            trip_raise=int(trip_raise),
            position=columns[0],
            speed=columns[1],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The enable line of a cell, with the watchdog's heartbeat."""

    time_s: float
    """The watchdog's heartbeat."""
    state: LineState
    raises: int
    """How often it was raised since the watchdog started."""
    stop: int
    """Number of the newest stop in the stop log; 0 where there was none."""
    since_s: float
    """When it came into this state."""
    reason: Reason
    """Of the newest stop."""
    robot: int
    """Whose stop that was, by its place in the cell; -1 where it was nobody's."""

    def to_floats(self) -> Floats:
        """Return it as numbers."""
        return (
            self.time_s,
            self.state,
            self.raises,
            self.stop,
            self.since_s,
            self.reason,
            self.robot,
        )

    @classmethod
    def from_floats(cls, values: Floats) -> Self:
        """Read what :meth:`to_floats` wrote."""
        time_s, state, raises, stop, since_s, reason, robot = values
        return cls(
            time_s=time_s,
            state=LineState(int(state)),
            raises=int(raises),
            stop=int(stop),
            since_s=since_s,
            reason=Reason(int(reason)),
            robot=int(robot),
        )


class _Signal(Protocol):
    def to_floats(self) -> Floats: ...

    @classmethod
    def from_floats(cls, values: Floats) -> Self: ...


S = TypeVar("S", bound=_Signal)

_COUNTS: dict[type, tuple[int, int]] = {
    Request: (3, 1),
    Command: (6, 1),
    Reading: (3, 2),
    Line: (7, 0),
}
"""Fixed columns of a signal, and columns per coordinate."""


def _label(kind: type, size: int) -> tuple[str, int]:
    fixed, per_coordinate = _COUNTS[kind]
    return f"{kind.__name__}/v1", fixed + per_coordinate * size


class Writer(Generic[S]):
    """The one writer of a signal."""

    def __init__(self, path: Path, kind: type[S], size: int = 0) -> None:
        """Take over the signal at a path; see :class:`SignalWriter`."""
        self._writer = SignalWriter(path, *_label(kind, size))
        last = self._writer.last
        self.last: S | None = None if last is None else kind.from_floats(last.values)
        """What an earlier writer left, or None."""

    def write(self, signal: S) -> None:
        """Publish it."""
        self._writer.write(signal.to_floats())

    def close(self) -> None:
        """Let go of the signal; idempotent."""
        self._writer.close()


class Reader(Generic[S]):
    """A reader of a signal."""

    def __init__(self, path: Path, kind: type[S], size: int = 0) -> None:
        """Map the signal at a path; see :class:`SignalReader`."""
        self._reader, self._kind = SignalReader(path, *_label(kind, size)), kind

    def read(self) -> S | None:
        """Return what it says last, or None where it says nothing whole."""
        sample = self._reader.read()
        return None if sample is None else self._kind.from_floats(sample.values)

    def close(self) -> None:
        """Unmap it; idempotent."""
        self._reader.close()


@dataclass(frozen=True, slots=True)
class SignalPaths:
    """Where the signals of a cell lie."""

    folder: Path

    def request(self, robot: str) -> Path:
        """Written by the policy."""
        return self.folder / f"{robot}.request"

    def command(self, robot: str) -> Path:
        """Written by the guard."""
        return self.folder / f"{robot}.command"

    def reading(self, robot: str) -> Path:
        """Written by the drive."""
        return self.folder / f"{robot}.reading"

    @property
    def line(self) -> Path:
        """Written by the watchdog."""
        return self.folder / "line"

    def create(self, sizes: dict[str, int]) -> None:
        """Make what is missing, for robots by name and number of coordinates.

        Raises:
            StorageError: It could not be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        create_signal(self.line, *_label(Line, 0))
        for robot, size in sizes.items():
            create_signal(self.request(robot), *_label(Request, size))
            create_signal(self.command(robot), *_label(Command, size))
            create_signal(self.reading(robot), *_label(Reading, size))
