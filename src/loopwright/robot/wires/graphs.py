"""Graphs that come from outside: read strictly, checked like those of the brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from loopwright.core.errors import InvalidConfig, LoopwrightError
from loopwright.robot.brain.plan_json import graph_from
from loopwright.robot.brain.validate import check_graph
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Symbols, all_met
from loopwright.robot.memory.things import Things
from loopwright.robot.skill import SkillError
from loopwright.robot.task import Step, TaskGraph

_FIELDS: Mapping[str, tuple[type, ...]] = {
    "id": (str,),
    "skill": (str,),
    "values": (dict,),
    "robot": (str, type(None)),
    "after": (list,),
    "deadline_s": (int, float, type(None)),
}


def read_graph(
    data: Any, robots: Mapping[str, RobotState], things: Things, start: Symbols
) -> TaskGraph:
    """Return a graph in our form or RoboOS's, played through in symbols.

    Args:
        data: As it came. Steps that name no robot are left to the coordinator.
        robots: Those at work.
        things: What there is.
        start: What holds now.

    Raises:
        InvalidConfig: It is no graph.
        NoPlan: It cannot be carried out as far as contracts and symbols can tell.
    """
    if not isinstance(data, Mapping):
        raise InvalidConfig(
            f"a graph is an object with steps and a goal, not {type(data).__name__}"
        )
    steps = data.get("steps", [])
    if not isinstance(steps, list):
        raise InvalidConfig(f"'steps' is a list of steps, not {type(steps).__name__}")
    for step in steps:
        _refuse_misshapen(step)
    left_open = any(step.get("robot") is None for step in steps)
    graph = _bare(data) if left_open else graph_from(data, robots, start, _no_words)
    if not graph.steps:
        raise NoPlan("the graph has no steps")
    try:
        check_graph(_manned(graph, robots, start), robots, things, start)
    except SkillError as error:
        raise NoPlan(str(error)) from error
    return graph


def _refuse_misshapen(step: Any) -> None:
    """Refuse what must never reach the journal, where it could not be read back."""
    if not isinstance(step, Mapping):
        raise InvalidConfig(f"a step is an object, not {type(step).__name__}")
    if unknown := sorted(set(step) - set(_FIELDS)):
        raise InvalidConfig(f"a step has no {unknown}; it has {sorted(_FIELDS)}")
    for name in ("id", "skill"):
        if not step.get(name):
            raise InvalidConfig(f"a step lacks its {name!r}")
    for name, value in step.items():
        if type(value) not in _FIELDS[name]:
            raise InvalidConfig(f"step {step['id']!r}: {name} is {value!r}")
    plain = (str, int, float)
    if not all(type(v) in plain for v in step.get("values", {}).values()):
        raise InvalidConfig(f"step {step['id']!r}: values are texts and numbers")
    if not all(isinstance(a, str) for a in step.get("after", ())):
        raise InvalidConfig(f"step {step['id']!r}: 'after' names steps by their ids")


def _bare(data: Mapping[str, Any]) -> TaskGraph:
    try:
        if unknown := sorted(set(data) - {"steps", "goal", "reading"}):
            raise InvalidConfig(f"a graph has no {unknown}")
        steps = [
            {"values": {}, **step, "after": tuple(step.get("after", ()))} for step in data["steps"]
        ]
        return TaskGraph.from_json(
            {"goal": data.get("goal", ()), "reading": data.get("reading", ""), "steps": steps}
        )
    except InvalidConfig:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, LoopwrightError) as error:
        raise InvalidConfig(f"this is no graph: {type(error).__name__}: {error}") from error


def _manned(graph: TaskGraph, robots: Mapping[str, RobotState], start: Symbols) -> TaskGraph:
    """Return the graph with somebody for every step, as the coordinator could choose."""
    state, manned = start, []
    for identity in graph.order():
        step = graph.step(identity)
        robot = robots.get(step.robot or "") or _somebody(step, robots, state)
        step = replace(step, robot=step.robot or robot.name)
        manned.append(step)
        if step.skill in robot.skills:
            state = state.after(robot.skills[step.skill].bound(robot.name, step.values).ensures)
    return replace(graph, steps=tuple(manned))


def _somebody(step: Step, robots: Mapping[str, RobotState], state: Symbols) -> RobotState:
    able = [r for r in robots.values() if step.skill in r.skills]
    if not able:
        raise NoPlan(f"step {step.id}: no robot at work can {step.skill}")
    for robot in able:
        if all_met(robot.skills[step.skill].bound(robot.name, step.values).requires, state):
            return robot
    return able[0]


def _no_words(text: str, robot: RobotState, state: Symbols) -> tuple[Step, ...]:
    skills = ", ".join(sorted(robot.skills))
    raise NoPlan(
        f"{robot.name}: {text!r} calls no skill; write one as 'skill(value, ...)': {skills}"
    )
