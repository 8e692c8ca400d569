"""What happened, in words: one line an event, the same in a terminal, on a page and in a report."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any, TypeVar

from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import IntentState
from loopwright.robot.skill import SkillContract

Item = TypeVar("Item")


@singledispatch
def sentence(event: happened.Event) -> str:
    """Return an event as one line, without time and number."""
    return event.KIND


@sentence.register
def _(event: happened.CoordinatorStarted) -> str:
    return f"coordinator {event.epoch} took over"


@sentence.register
def _(event: happened.RobotJoined) -> str:
    return f"{event.robot} reports for work"


@sentence.register
def _(event: happened.RobotLost) -> str:
    return f"{event.robot} is lost: {event.reason}"


@sentence.register
def _(event: happened.TaskAsked) -> str:
    return f"asked by {event.by}: {event.instruction}"


@sentence.register
def _(event: happened.TaskPlanned) -> str:
    steps: Any = event.graph["steps"]
    count = "one step" if len(steps) == 1 else f"{len(steps)} steps"
    because = f", because {event.reason}" if event.reason else ""
    return f"a plan of {count} by {event.planner}{because}"


@sentence.register
def _(event: happened.IntentIssued) -> str:
    return f"{event.robot}: {call(event.skill, event.values, None)}"


@sentence.register
def _(event: happened.IntentStarted) -> str:
    return "begins to move"


@sentence.register
def _(event: happened.IntentEnded) -> str:
    because = f": {event.reason}" if event.reason else ""
    return f"{event.outcome} in {event.lasted_s:.1f} s{because}"


@sentence.register
def _(event: happened.CancelAsked) -> str:
    return f"{event.by} cancels it"


@sentence.register
def _(event: happened.TaskPaused) -> str:
    return f"{event.by} pauses it"


@sentence.register
def _(event: happened.TaskResumed) -> str:
    return f"{event.by} lets it go on"


@sentence.register
def _(event: happened.TaskLate) -> str:
    if not event.late_s:
        return "expected to be in time"
    at_least = "at least " if event.proven else ""
    return f"expected to be {at_least}{event.late_s:.0f} s late"


@sentence.register
def _(event: happened.RobotHeld) -> str:
    held = f"{event.robot} may not move: {event.reason}"
    return held if event.reason else f"{event.robot} may move again"


@sentence.register
def _(event: happened.TaskEnded) -> str:
    word = "refused" if event.refused else event.outcome
    because = f": {event.reason}" if event.reason else ""
    return f"the task is over, {word}{because}"


@sentence.register
def _(event: happened.StopPressed) -> str:
    return f"stop of {event.robot or 'all robots'} by {event.by}"


@sentence.register
def _(event: happened.StopReleased) -> str:
    return f"the stop of {event.robot or 'all robots'} is released by {event.by}"


def tell(event: happened.Event, intent: IntentState | None) -> str:
    """Return an event as one line that says which robot is meant, where the event names none.

    Args:
        event: What happened.
        intent: The attempt that it is about, if it is about one.
    """
    if intent is None:
        return sentence(event)
    if isinstance(event, happened.IntentIssued):
        return f"{event.robot}: {call(event.skill, event.values, intent.contract)}"
    unnamed = isinstance(event, (happened.IntentStarted, happened.IntentEnded))
    return f"{intent.robot} {sentence(event)}" if unnamed else sentence(event)


def call(skill: str, values: Mapping[str, object], contract: SkillContract | None) -> str:
    """Return what a robot is told to do: the skill with its values, as its contract orders them."""
    return " ".join((skill, *(str(value) for value in in_order(values, contract).values())))


def in_order(values: Mapping[str, Item], contract: SkillContract | None) -> dict[str, Item]:
    """Return values as a contract orders its parameters; what is on the disk is ordered by name."""
    names = [p.name for p in contract.parameters] if contract else list(values)
    return {name: values[name] for name in names if name in values}
