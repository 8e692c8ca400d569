"""The account of one task: everything that happened to it, in order, with causes.

It is read off the journal alone: the state before each event says why the next was possible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from loopwright.core.errors import UnknownName
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState, TaskState
from loopwright.robot.journal.journal import Entry
from loopwright.robot.journal.words import call, sentence, tell
from loopwright.robot.task import TaskGraph

_OF_THE_FLEET = (
    happened.CoordinatorStarted,
    happened.RobotJoined,
    happened.RobotLost,
    happened.RobotHeld,
    happened.StopPressed,
    happened.StopReleased,
)
"""What happens to every task that is open at the time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One thing that happened."""

    number: int
    """Of the event in the journal."""
    time_s: float
    """Wall clock."""
    cause: int | None
    """Number of the event that led to it."""
    says: str
    details: tuple[str, ...] = ()
    """What stood behind it."""
    ended: IntentState | None = None
    """The attempt that was over then."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the attempt."""
        return {
            "number": self.number,
            "time_s": self.time_s,
            "cause": self.cause,
            "says": self.says,
            "details": list(self.details),
            "intent": self.ended.id if self.ended else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Everything that happened to a task."""

    task: TaskState
    """As it stands at the end."""
    lines: tuple[Line, ...]


@dataclass(slots=True)
class _Reading:
    task: str
    state: FleetState = field(default_factory=FleetState)
    lines: list[Line] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        was_open = self._is_open()
        details = self._details(entry.event)
        self.state.apply(entry)
        intent = self._intent(entry.event)
        own = getattr(entry.event, "task", None) == self.task or intent is not None
        if not own and not (was_open and isinstance(entry.event, _OF_THE_FLEET)):
            return
        ended = isinstance(entry.event, happened.IntentEnded)
        self.lines.append(
            Line(
                number=entry.number,
                time_s=entry.time_s,
                cause=entry.cause,
                says=self._says(entry.event, intent),
                details=details,
                ended=intent if ended else None,
            )
        )

    def _is_open(self) -> bool:
        task = self.state.tasks.get(self.task)
        return task is not None and task.status != "ended"

    def _intent(self, event: happened.Event) -> IntentState | None:
        intent = self.state.intents.get(getattr(event, "intent", ""))
        return intent if intent and intent.task == self.task else None

    def _says(self, event: happened.Event, intent: IntentState | None) -> str:
        if isinstance(event, happened.IntentIssued):
            again = len(self.state.tasks[self.task].attempts(event.step))
            which = f"step {event.step}" + (f", try {again}" if again > 1 else "")
            assert intent is not None
            told = call(event.skill, event.values, intent.contract)
            return f"{which}: {event.robot} is told to {told}"
        if intent is not None:
            return f"step {intent.step}: {tell(event, intent)}"
        return sentence(event)

    def _details(self, event: happened.Event) -> tuple[str, ...]:
        """Return what stood behind an event, by the state before it."""
        if isinstance(event, happened.TaskAsked) and event.task == self.task:
            return (f"trace {event.trace}",)
        if isinstance(event, happened.TaskPlanned) and event.task == self.task:
            return _of_a_plan(TaskGraph.from_json(event.graph), self.state)
        if isinstance(event, happened.IntentIssued) and event.task == self.task:
            return self._of_an_order(event)
        if isinstance(event, happened.IntentEnded) and self._intent(event):
            return self._of_an_end(event)
        return ()

    def _of_an_order(self, event: happened.IntentIssued) -> tuple[str, ...]:
        graph = self.state.tasks[self.task].graph
        step = next((s for s in graph.steps if s.id == event.step), None) if graph else None
        named = step is not None and step.robot == event.robot
        others = [
            f"{r.name} ({why})"
            for r in self.state.robots.values()
            if r.name != event.robot and (why := self._why_not(r.name, event.skill))
        ]
        free = ", ".join(others) or "no other robot"
        why = "the plan names it" if named else f"it could, and was free; others: {free}"
        if step is None:
            why = "its attempt failed, and its skill says that this may help"
        contract = self.state.robots[event.robot].skills[event.skill]
        bound = contract.bound(event.robot, dict(event.values))  # pyright: ignore[reportArgumentType]
        return (
            f"why {event.robot}: {why}",
            "held before, as far as was seen: "
            + (", ".join(map(str, bound.requires)) or "nothing was asked"),
            "is to hold after: " + (", ".join(map(str, bound.ensures)) or "nothing is promised"),
            f"attempt {event.intent}, order of robot epoch {event.epoch}, "
            f"coordinator epoch {self.state.epoch}",
        )

    def _why_not(self, name: str, skill: str) -> str:
        robot = self.state.robots[name]
        if skill not in robot.skills:
            return f"knows no {skill}"
        if not robot.alive:
            return f"lost: {robot.lost_because}"
        if why := self.state.why_stopped(name):
            return f"stopped: {why}"
        busy = any(i.robot == name for t in self.state.open_tasks for i in t.open_intents)
        return "busy" if busy else "could as well"

    def _of_an_end(self, event: happened.IntentEnded) -> tuple[str, ...]:
        claim = f"the robot says: {event.claim}" if event.claim else "the robot could say nothing"
        intent = self.state.intents[event.intent]
        ensures = intent.contract.bound(intent.robot, intent.values).ensures
        seen = [str(c) for c in ensures if str(c) not in event.unmet]
        world = []
        if seen:
            world.append("so it is: " + ", ".join(seen))
        if event.unmet:
            world.append("not so, or not seen: " + ", ".join(event.unmet))
        return (claim, *(f"the world was looked at; {text}" for text in world))


def account_of(entries: Iterable[Entry], task: str) -> Account:
    """Return everything that happened to a task.

    Args:
        entries: What :meth:`Journal.beside` yields of the task, or more.
        task: Which.

    Raises:
        UnknownName: There is no such task; near ones are suggested.
    """
    reading = _Reading(task)
    for entry in entries:
        reading.take(entry)
    if task not in reading.state.tasks:
        raise UnknownName("task", task, reading.state.tasks)
    return Account(task=reading.state.tasks[task], lines=tuple(reading.lines))


def _of_a_plan(graph: TaskGraph, state: FleetState) -> tuple[str, ...]:
    contracts = {name: c for robot in state.robots.values() for name, c in robot.skills.items()}
    steps = [
        f"step {step.id}: {step.robot or 'any robot'}: "
        + call(step.skill, step.values, contracts.get(step.skill))
        + (f", after {', '.join(step.after)}" if step.after else "")
        for step in graph.steps
    ]
    goal = ", ".join(str(c) for c in graph.goal)
    return (
        *([f"read as: {graph.reading}"] if graph.reading else []),
        *([f"goal: {goal}"] if goal and goal != graph.reading else []),
        *steps,
    )
