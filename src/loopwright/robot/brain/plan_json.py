"""Plans as JSON: our own form, and the one that RoboOS's planners answer with.

Ours::

    {"goal": ["on(red-cube, tray)"],
     "steps": [{"id": "s1", "robot": "arm-1", "skill": "pick", "values": {...}, "after": []}]}

RoboOS's (Tan et al. 2025): subtasks in words, in groups of one order that run side by side::

    {"reasoning_explanation": "...",
     "subtask_list": [{"robot_name": "arm-1", "subtask": "pick the red cube", "subtask_order": 1}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from loopwright.core.errors import LoopwrightError
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition, Fact, Symbols, conditions
from loopwright.robot.task import Step, TaskGraph

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["goal", "steps"],
    "properties": {
        "goal": {"type": "array", "items": {"type": "string"}},
        "refusal": {"type": "string"},
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "robot", "skill", "values", "after"],
                "properties": {
                    "id": {"type": "string"},
                    "robot": {"type": "string"},
                    "skill": {"type": "string"},
                    "values": {"type": "object"},
                    "after": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}
"""What an endpoint is asked to keep to, as a JSON schema."""

_FENCED = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_CALL = re.compile(r"\s*([\w-]+)\s*\((.*)\)\s*")

GroundSubtask = Callable[[str, RobotState, Symbols], tuple[Step, ...]]
"""Makes steps of one robot out of a subtask in words, from how the world stands by then."""


def json_in(text: str) -> Any:
    """Return the JSON object in a reply: bare, fenced, or with words around it.

    Raises:
        NoPlan: There is none.
    """
    fenced = _FENCED.search(text)
    begin, end = text.find("{"), text.rfind("}")
    for candidate in (text, fenced[1] if fenced else "", text[begin : end + 1]):
        try:
            found = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    raise NoPlan(f"the planner's reply holds no JSON object: {text[:200]!r}")


def graph_from(
    data: Mapping[str, Any],
    robots: Mapping[str, RobotState],
    start: Symbols,
    ground: GroundSubtask,
) -> TaskGraph:
    """Read a plan in either form; one without a goal is to bring about what its steps ensure.

    Args:
        data: The object.
        robots: Those at work.
        start: What holds now.
        ground: What RoboOS's subtasks in words become.

    Raises:
        NoPlan: It is none, or names what is not there.
    """
    try:
        if "subtask_list" in data:
            return _from_roboos(data, robots, start, ground)
        graph = TaskGraph(
            steps=tuple(
                Step.from_json({"deadline_s": None, "after": (), "values": {}, **step})
                for step in data["steps"]
            ),
            goal=conditions(*data["goal"]),
        )
        return graph if graph.goal else replace(graph, goal=_brought_about(graph, robots))
    except NoPlan:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, LoopwrightError) as error:
        raise NoPlan(f"the planner's reply is no plan: {type(error).__name__}: {error}") from error


def _brought_about(graph: TaskGraph, robots: Mapping[str, RobotState]) -> tuple[Condition, ...]:
    """Return what holds after all steps because of them."""
    last: dict[Fact, Condition] = {}
    for identity in graph.order():
        for effect in _ensures(graph.step(identity), robots):
            last[effect.fact] = effect
    return tuple(last.values())


def _ensures(step: Step, robots: Mapping[str, RobotState]) -> tuple[Condition, ...]:
    robot = robots[step.robot or ""]
    return robot.skills[step.skill].bound(robot.name, step.values).ensures


def _from_roboos(
    data: Mapping[str, Any],
    robots: Mapping[str, RobotState],
    start: Symbols,
    ground: GroundSubtask,
) -> TaskGraph:
    groups: dict[int, list[tuple[str, str]]] = {}
    for subtask in data["subtask_list"]:
        order = int(subtask["subtask_order"])
        groups.setdefault(order, []).append((subtask["robot_name"], str(subtask["subtask"])))
    steps: list[Step] = []
    state = start
    waits: tuple[str, ...] = ()
    for order in sorted(groups):
        ends = []
        for number, (name, text) in enumerate(groups[order], start=1):
            if name not in robots:
                raise NoPlan(f"the plan names the robot {name!r}; at work: {sorted(robots)}")
            after = waits
            robot = robots[name]
            found = _called(text, robot) or ground(text, robot, state)
            for place, step in enumerate(found, start=1):
                identity = f"s{order}.{number}.{place}"
                step = replace(step, id=identity, robot=name, after=after)
                steps.append(step)
                state = state.after(_ensures(step, robots))
                after = (identity,)
            ends += after
        waits = tuple(dict.fromkeys(ends))
    graph = TaskGraph(steps=tuple(steps), reading=str(data.get("reasoning_explanation", "")))
    return replace(graph, goal=_brought_about(graph, robots))


def _called(text: str, robot: RobotState) -> tuple[Step, ...]:
    """Return the step of ``"skill(value, ...)"`` or of a bare skill name; nothing for words."""
    match = _CALL.fullmatch(text)
    name = (match[1] if match else text.strip()).replace("_", "-")
    contract = robot.skills.get(name)
    if contract is None:
        return ()
    given = [v.strip().strip("'\"") for v in match[2].split(",") if v.strip()] if match else []
    if len(given) != len(contract.parameters):
        return ()
    values: dict[str, str | float] = {
        p.name: float(v) if p.kind == "number" else v
        for p, v in zip(contract.parameters, given, strict=True)
    }
    return (Step(id="s", skill=name, values=values),)
