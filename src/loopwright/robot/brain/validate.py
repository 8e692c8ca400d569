"""Does a graph hold? Checked against contracts and played through in symbols beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from loopwright.core.errors import LoopwrightError
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition, Symbols, unmet
from loopwright.robot.memory.predicates import check_fact
from loopwright.robot.memory.things import Things
from loopwright.robot.skill import BoundContract
from loopwright.robot.task import Step, TaskGraph


def check_graph(
    graph: TaskGraph, robots: Mapping[str, RobotState], things: Things, start: Symbols
) -> None:
    """Refuse a graph that cannot be carried out as far as contracts and symbols can tell.

    Args:
        graph: Every step names its robot.
        robots: Those at work.
        things: What there is.
        start: What holds now.

    Raises:
        NoPlan: A step names an unknown robot, skill or thing; the goal is nothing that could be
            observed; a step would begin before what it requires holds; two steps without an order
            disturb each other; or the goal would not be reached.
    """
    bound = {step.id: _bound(step, robots, things) for step in graph.steps}
    _refuse_unobservable(graph.goal, robots, things)
    state = start
    for identity in graph.order():
        missing = unmet(bound[identity].requires, state)
        if missing:
            raise NoPlan(
                f"step {identity} ({_said(graph.step(identity))}) would begin "
                f"although not {', '.join(map(str, missing))}"
            )
        state = state.after(bound[identity].ensures)
    _refuse_races(graph, bound, start)
    if missing := unmet(graph.goal, state):
        raise NoPlan(f"the plan would end without {', '.join(map(str, missing))}")


def _bound(step: Step, robots: Mapping[str, RobotState], things: Things) -> BoundContract:
    robot = robots.get(step.robot or "")
    if robot is None:
        raise NoPlan(f"step {step.id} names the robot {step.robot!r}; at work: {sorted(robots)}")
    contract = robot.skills.get(step.skill)
    if contract is None:
        raise NoPlan(f"{robot.name} cannot {step.skill}; it can {', '.join(sorted(robot.skills))}")
    try:
        bound = contract.bound(robot.name, step.values)
    except LoopwrightError as error:
        raise NoPlan(f"step {step.id}: {error}") from error
    for parameter in contract.parameters:
        value = str(step.values[parameter.name])
        if parameter.kind in ("object", "place", "robot") and value not in things:
            known = ", ".join(sorted(t.name for t in things))
            raise NoPlan(f"step {step.id} names {value!r}, which does not exist; there is: {known}")
    return bound


def _refuse_unobservable(
    goal: Iterable[Condition], robots: Mapping[str, RobotState], things: Things
) -> None:
    contracts = [c for robot in robots.values() for c in robot.skills.values()]
    felt = {c.fact.name for contract in contracts for c in (*contract.requires, *contract.ensures)}
    for condition in goal:
        try:
            check_fact(condition.fact, things, felt=felt)
        except LoopwrightError as error:
            raise NoPlan(f"the goal {condition} cannot be observed: {error}") from error


def _refuse_races(graph: TaskGraph, bound: Mapping[str, BoundContract], start: Symbols) -> None:
    """Refuse pairs of steps without an order of which one spoils what the other needs or does."""
    before = _ancestors(graph)
    for a, b in combinations(bound, 2):
        if a in before[b] or b in before[a]:
            continue
        for one, other in ((a, b), (b, a)):
            undone = {(c.fact, not c.holds) for c in bound[one].ensures}
            touched = {(c.fact, c.holds) for c in (*bound[other].requires, *bound[other].ensures)}
            if clash := undone & touched:
                fact, _ = min(clash)
                raise NoPlan(f"steps {a} and {b} have no order, but {one} undoes {fact}")
            brought = set(unmet(bound[one].ensures, start))
            if needed := brought & set(bound[other].requires):
                raise NoPlan(
                    f"steps {a} and {b} have no order, but {other} needs {min(needed)} of {one}"
                )


def _ancestors(graph: TaskGraph) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for identity in graph.order():
        after = graph.step(identity).after
        found[identity] = set(after).union(*(found[a] for a in after))
    return found


def _said(step: Step) -> str:
    return f"{step.robot}: {step.skill} {', '.join(map(str, step.values.values()))}"


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps that each wait for the one before."""
    found: list[Step] = []
    for step in steps:
        after = (found[-1].id,) if found else ()
        found.append(
            Step(id=step.id, skill=step.skill, values=step.values, robot=step.robot, after=after)
        )
    return tuple(found)
