"""The state of a fleet: a fold over its journal, and nothing that is not in it.

The same events in the same order give the same state, on any machine, after any crash.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Literal

from loopwright.robot.journal import events as happened
from loopwright.robot.journal.journal import Entry
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import Outcome, Step, TaskGraph, Value

TaskStatus = Literal["planning", "running", "paused", "cancelling", "ended"]


@dataclass(slots=True)
class IntentState:
    """One attempt."""

    id: str
    task: str
    step: str
    robot: str
    epoch: int
    skill: str
    values: Mapping[str, Value]
    issued_s: float
    number: int
    """Of the event that issued it: the cause of what follows."""
    contract: SkillContract
    """What was promised when it was issued; the robot may since have come back with others."""
    started: bool = False
    outcome: Outcome | None = None
    """None while it is open."""
    reason: str = ""
    claim: str = ""
    unmet: tuple[str, ...] = ()
    ended_s: float | None = None
    """Wall clock; None while it is open."""

    @property
    def is_open(self) -> bool:
        """Whether nobody knows yet how it ended."""
        return self.outcome is None


@dataclass(slots=True)
class TaskState:
    """One task."""

    id: str
    trace: str
    instruction: str
    by: str
    asked_s: float
    number: int
    status: TaskStatus = "planning"
    graph: TaskGraph | None = None
    planner: str = ""
    plans: int = 0
    """How many graphs it has had."""
    intents: list[IntentState] = field(default_factory=list)
    outcome: Outcome | None = None
    reason: str = ""
    refused: bool = False
    cancelled: bool = False
    deadline_s: float | None = None
    """Seconds after it was asked for."""
    expected_late_s: float = 0.0
    """By how much it was last expected to miss its deadlines."""
    ended_s: float | None = None
    """Wall clock; None while it is open."""

    @property
    def due_s(self) -> float | None:
        """Wall clock of the deadline."""
        return None if self.deadline_s is None else self.asked_s + self.deadline_s

    def overdue_s(self, now_s: float) -> float:
        """Return by how much a moment is after the deadline; 0 before it or without one."""
        return 0.0 if self.due_s is None else max(0.0, now_s - self.due_s)

    @property
    def open_intents(self) -> tuple[IntentState, ...]:
        """Attempts that are not over."""
        return tuple(i for i in self.intents if i.is_open)

    def attempts(self, step: str) -> tuple[IntentState, ...]:
        """Return the attempts at a step of the present graph, the oldest first."""
        return tuple(i for i in self.intents if i.step == step)

    def is_done(self, step: str) -> bool:
        """Tell whether a step has succeeded."""
        return any(i.outcome == "succeeded" for i in self.attempts(step))

    def ready(self) -> tuple[Step, ...]:
        """Return the steps whose predecessors are done and that are neither done nor running."""
        if self.graph is None:
            return ()
        return tuple(
            s
            for s in self.graph.steps
            if not self.is_done(s.id)
            and all(self.is_done(a) for a in s.after)
            and not any(i.is_open for i in self.attempts(s.id))
        )

    @property
    def all_done(self) -> bool:
        """Whether every step has succeeded."""
        return self.graph is not None and all(self.is_done(s.id) for s in self.graph.steps)


@dataclass(slots=True)
class RobotState:
    """One robot."""

    name: str
    epoch: int
    parts: frozenset[str]
    skills: Mapping[str, SkillContract]
    alive: bool = True
    lost_because: str = ""
    lost_s: float | None = None
    """Wall clock of when it was lost; None while it is alive."""


@dataclass(slots=True)
class FleetState:
    """Everything that the coordinator knows; rebuilt by :func:`fold`."""

    epoch: int = 0
    began_s: float = 0.0
    """Wall clock of when the newest coordinator took over."""
    number: int = 0
    """Of the last event."""
    tasks: dict[str, TaskState] = field(default_factory=dict)
    robots: dict[str, RobotState] = field(default_factory=dict)
    intents: dict[str, IntentState] = field(default_factory=dict)
    stops: dict[str | None, str] = field(default_factory=dict)
    """Robots whose stop somebody pressed, with who did; None stands for the whole fleet."""
    held: dict[str, str] = field(default_factory=dict)
    """Robots that say themselves that they may not move, and why."""
    remembers: int | None = None
    """Of how many tasks that are over it keeps the state, of the last ones; None keeps all."""
    _open: dict[str, TaskState] = field(init=False)
    """Of the tasks those that are not over: deciding must not slow down with what is past."""

    _ended: deque[str] = field(init=False)
    """The others, in the order in which they ended."""

    def __post_init__(self) -> None:
        """Find the tasks that are open."""
        self._open = {name: t for name, t in self.tasks.items() if t.status != "ended"}
        self._ended = deque(name for name in self.tasks if name not in self._open)

    def apply(self, entry: Entry) -> None:
        """Take one event into account."""
        self.number = entry.number
        self._apply(entry.event, entry)

    def is_stopped(self, robot: str) -> bool:
        """Tell whether a stop holds a robot, by what was pressed or by what it says itself."""
        return bool(self.why_stopped(robot))

    def why_stopped(self, robot: str) -> str:
        """Return who stopped a robot, or what did; empty if nothing holds it."""
        return self.stops.get(robot) or self.stops.get(None) or self.held.get(robot, "")

    @property
    def open_tasks(self) -> tuple[TaskState, ...]:
        """Tasks that are not over, the oldest first."""
        return tuple(self._open.values())

    def newest_tasks(self) -> Iterator[TaskState]:
        """Yield all tasks, the newest first."""
        return reversed(self.tasks.values())

    @singledispatchmethod
    def _apply(self, event: happened.Event, entry: Entry) -> None:
        raise NotImplementedError(event.KIND)

    @_apply.register
    def _(self, event: happened.CoordinatorStarted, entry: Entry) -> None:
        self.epoch, self.began_s = event.epoch, entry.time_s

    @_apply.register
    def _(self, event: happened.RobotJoined, entry: Entry) -> None:
        contracts = [SkillContract.from_json(s) for s in event.skills]
        self.robots[event.robot] = RobotState(
            name=event.robot,
            epoch=event.epoch,
            parts=frozenset(event.parts),
            skills={c.name: c for c in contracts},
        )

    @_apply.register
    def _(self, event: happened.RobotLost, entry: Entry) -> None:
        robot = self.robots[event.robot]
        robot.alive, robot.lost_because, robot.lost_s = False, event.reason, entry.time_s

    @_apply.register
    def _(self, event: happened.TaskAsked, entry: Entry) -> None:
        self.tasks[event.task] = self._open[event.task] = TaskState(
            id=event.task,
            trace=event.trace,
            instruction=event.instruction,
            by=event.by,
            asked_s=entry.time_s,
            number=entry.number,
            deadline_s=event.deadline_s,
        )

    @_apply.register
    def _(self, event: happened.TaskPlanned, entry: Entry) -> None:
        task = self.tasks[event.task]
        task.graph = TaskGraph.from_json(event.graph)
        task.planner = event.planner
        task.plans += 1
        if task.status == "planning":
            task.status = "running"

    @_apply.register
    def _(self, event: happened.IntentIssued, entry: Entry) -> None:
        intent = IntentState(
            id=event.intent,
            task=event.task,
            step=event.step,
            robot=event.robot,
            epoch=event.epoch,
            skill=event.skill,
            values=dict(event.values),  # pyright: ignore[reportArgumentType]
            issued_s=entry.time_s,
            number=entry.number,
            contract=self.robots[event.robot].skills[event.skill],
        )
        self.intents[intent.id] = intent
        self.tasks[event.task].intents.append(intent)

    @_apply.register
    def _(self, event: happened.IntentStarted, entry: Entry) -> None:
        self.intents[event.intent].started = True

    @_apply.register
    def _(self, event: happened.IntentEnded, entry: Entry) -> None:
        intent = self.intents[event.intent]
        if intent.is_open:  # the first word stands
            intent.outcome, intent.reason = event.outcome, event.reason
            intent.claim, intent.unmet = event.claim, event.unmet
            intent.ended_s = entry.time_s

    @_apply.register
    def _(self, event: happened.CancelAsked, entry: Entry) -> None:
        task = self.tasks[event.task]
        if task.status != "ended":
            task.status = "cancelling"

    @_apply.register
    def _(self, event: happened.TaskPaused, entry: Entry) -> None:
        task = self.tasks[event.task]
        if task.status in ("planning", "running"):
            task.status = "paused"

    @_apply.register
    def _(self, event: happened.TaskResumed, entry: Entry) -> None:
        task = self.tasks[event.task]
        if task.status == "paused":
            task.status = "running" if task.graph else "planning"

    @_apply.register
    def _(self, event: happened.TaskLate, entry: Entry) -> None:
        self.tasks[event.task].expected_late_s = event.late_s

    @_apply.register
    def _(self, event: happened.TaskEnded, entry: Entry) -> None:
        task = self.tasks[event.task]
        if self._open.pop(task.id, None):
            self._ended.append(task.id)
        task.ended_s = entry.time_s
        task.status, task.outcome, task.reason = "ended", event.outcome, event.reason
        task.refused, task.cancelled = event.refused, event.cancelled
        while self.remembers is not None and len(self._ended) > self.remembers:
            self._forget(self._ended.popleft())

    def _forget(self, identity: str) -> None:
        for intent in self.tasks.pop(identity).intents:
            del self.intents[intent.id]

    @_apply.register
    def _(self, event: happened.StopPressed, entry: Entry) -> None:
        self.stops.setdefault(event.robot, event.by)

    @_apply.register
    def _(self, event: happened.StopReleased, entry: Entry) -> None:
        if event.robot is None:
            self.stops.clear()
        self.stops.pop(event.robot, None)

    @_apply.register
    def _(self, event: happened.RobotHeld, entry: Entry) -> None:
        if event.reason:
            self.held[event.robot] = event.reason
        else:
            self.held.pop(event.robot, None)


def fold(entries: Iterable[Entry], *, remembers: int | None = None) -> FleetState:
    """Return the state that a journal leads to.

    Args:
        entries: Events in order.
        remembers: Of how many tasks that are over the state is kept; None keeps all.
    """
    state = FleetState(remembers=remembers)
    for entry in entries:
        state.apply(entry)
    return state
