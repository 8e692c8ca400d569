"""What can happen to a fleet, one class each; the journal keeps nothing else.

``task``, ``step`` and ``intent`` are ids. An intent is one attempt of one robot at one step: it is
written down before the robot hears of it, and closed by exactly one :class:`IntentEnded`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData
from loopwright.robot.task import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened."""

    KIND: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :func:`event_from_json` reads back equal."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class CoordinatorStarted(Event):
    """A coordinator took over; whoever holds an older epoch may command nothing any more."""

    KIND: ClassVar[str] = "coordinator-started"
    epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotJoined(Event):
    """A robot reported for work."""

    KIND: ClassVar[str] = "robot-joined"
    robot: str
    epoch: int
    """Counts the times it joined; an order for an older epoch is refused by the robot."""
    parts: tuple[str, ...]
    """What it has (``"arm"``, ``"gripper"``, ``"base"``)."""
    skills: tuple[Mapping[str, Json], ...]
    """Its contracts, as plain data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotLost(Event):
    """A robot was not heard of for too long, or said goodbye."""

    KIND: ClassVar[str] = "robot-lost"
    robot: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskAsked(Event):
    """Somebody asked for something."""

    KIND: ClassVar[str] = "task-asked"
    task: str
    trace: str
    """Follows the instruction down to the last joint command."""
    instruction: str
    by: str
    deadline_s: float | None = None
    """Seconds after it was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlanned(Event):
    """A brain proposed a graph and it passed validation; a later one replaces what is not done."""

    KIND: ClassVar[str] = "task-planned"
    task: str
    graph: Mapping[str, Json]
    planner: str
    reason: str = ""
    """Why an earlier graph was replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IntentIssued(Event):
    """A robot is about to be told to run a skill."""

    KIND: ClassVar[str] = "intent-issued"
    task: str
    step: str
    intent: str
    robot: str
    epoch: int
    skill: str
    values: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntentStarted(Event):
    """The robot has begun to move."""

    KIND: ClassVar[str] = "intent-started"
    intent: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IntentEnded(Event):
    """An attempt is over, and the world was looked at."""

    KIND: ClassVar[str] = "intent-ended"
    intent: str
    outcome: Outcome
    reason: str
    claim: str = ""
    """What the robot itself said; empty where it could say nothing."""
    unmet: tuple[str, ...] = ()
    """Conditions of ``ensures`` that were false or unknown."""
    lasted_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelAsked(Event):
    """Somebody wants a task to stop."""

    KIND: ClassVar[str] = "cancel-asked"
    task: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPaused(Event):
    """No further step of a task is to begin; steps that run go on to their end."""

    KIND: ClassVar[str] = "task-paused"
    task: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResumed(Event):
    """A paused task goes on."""

    KIND: ClassVar[str] = "task-resumed"
    task: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskLate(Event):
    """A task is expected to miss its deadlines, or no longer."""

    KIND: ClassVar[str] = "task-late"
    task: str
    late_s: float
    """By how much at worst; 0 when it is expected to be in time again."""
    proven: bool
    """Whether no schedule does better by what is known; else it is the best that was found."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskEnded(Event):
    """A task is over; its goal was looked at, unless it was refused."""

    KIND: ClassVar[str] = "task-ended"
    task: str
    outcome: Outcome
    reason: str
    refused: bool = False
    """Nothing was begun: it was not understood, impossible, or not allowed."""
    cancelled: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class StopPressed(Event):
    """An emergency stop: latched until it is released."""

    KIND: ClassVar[str] = "stop-pressed"
    robot: str | None
    """None for the whole fleet."""
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StopReleased(Event):
    """A stop was released by somebody who may."""

    KIND: ClassVar[str] = "stop-released"
    robot: str | None
    by: str
    signature: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotHeld(Event):
    """A robot says that it may not move, or that it may again."""

    KIND: ClassVar[str] = "robot-held"
    robot: str
    reason: str
    """A latched stop of its own, or of its guard; empty: it may move again."""


EVENTS: dict[str, type[Event]] = {
    event.KIND: event
    for event in (
        CoordinatorStarted,
        RobotJoined,
        RobotLost,
        TaskAsked,
        TaskPlanned,
        IntentIssued,
        IntentStarted,
        IntentEnded,
        CancelAsked,
        TaskPaused,
        TaskResumed,
        TaskLate,
        TaskEnded,
        StopPressed,
        StopReleased,
        RobotHeld,
    )
}


def event_from_json(kind: str, data: Mapping[str, Any]) -> Event:
    """Read what :meth:`Event.to_json` wrote.

    Raises:
        DamagedData: There is no such event, or its fields are others.
    """
    event = EVENTS.get(kind)
    if event is None:
        raise DamagedData(f"the journal holds an unknown event {kind!r}; a newer version wrote it?")
    known = {f.name: f for f in fields(event)}
    if unknown := sorted(set(data) - set(known)):
        raise DamagedData(f"an event {kind!r} of the journal has the unknown fields {unknown}")
    listed = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    try:
        return event(**listed)
    except TypeError as error:
        raise DamagedData(f"an event {kind!r} of the journal is incomplete: {error}") from error
