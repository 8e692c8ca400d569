"""Planning without any model: contracts become a STRIPS problem, Fast Downward solves it.

Helmert 2006, "The Fast Downward Planning System", JAIR 26; called through unified-planning
(Micheli et al. 2025). The plan comes back as a partial order, so that robots work side by side
where nothing orders them.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from loopwright.core.errors import MissingExtra
from loopwright.robot.brain.symbols import KINDS, kinds_of
from loopwright.robot.brain.validate import check_graph
from loopwright.robot.brain.why_not import why_not
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan
from loopwright.robot.logic import Condition, Fact, Symbols
from loopwright.robot.memory.things import Things
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import Step, TaskGraph

_ALONE = threading.Lock()
"""unified-planning keeps what it makes in one place for all threads, without a lock of its own."""


def plan_for(
    goal: tuple[Condition, ...],
    robots: Mapping[str, RobotState],
    things: Things,
    start: Symbols,
    *,
    within_s: float = 10.0,
    reading: str = "",
) -> TaskGraph:
    """Return the shortest graph that reaches a goal, if it is found in time; else a longer one.

    Args:
        goal: What must hold in the end.
        robots: Those at work, with their skills.
        things: What there is.
        start: What holds now.
        within_s: How long to search.
        reading: Kept in the graph.

    Raises:
        NoPlan: There is none, or none was found in time.
        MissingExtra: The planner is not installed.
    """
    if not [c for c in goal if c.truth(start) is not True]:
        return TaskGraph(steps=(), goal=goal, reading=reading)
    with _ALONE:
        order = _Translation(robots, things, start).solve(goal, within_s)
    steps = tuple(
        Step(id=identity, skill=skill, robot=robot, values=values, after=after)
        for identity, (robot, skill, values, after) in order.items()
    )
    graph = TaskGraph(steps=steps, goal=goal, reading=reading)
    check_graph(graph, robots, things, start)
    return graph


_SHORTEST_SHARE = 0.4
"""Of the time for planning, for a plan that is certainly the shortest."""


class _Translation:
    """One problem in the words of unified-planning."""

    def __init__(self, robots: Mapping[str, RobotState], things: Things, start: Symbols) -> None:
        try:
            import unified_planning.shortcuts as up
        except ImportError as error:
            raise MissingExtra("unified-planning", "robot", "planning without a model") from error
        up.get_environment().credits_stream = None
        self.up, self.robots, self.things, self.start = up, robots, things, start
        self.thing = up.UserType("thing")
        self.problem = up.Problem("fleet")
        self.objects = {t.name: up.Object(f"o:{t.name}", self.thing) for t in things}
        self.problem.add_objects(self.objects.values())
        self.fluents: dict[str, Any] = {}
        self._state_what_holds()
        for robot in robots.values():
            for contract in robot.skills.values():
                self._add_action(robot, contract)

    def solve(
        self, goal: tuple[Condition, ...], within_s: float
    ) -> dict[str, tuple[str, str, dict[str, str], tuple[str, ...]]]:
        """Return step id to robot, skill, values and predecessors."""
        for condition in goal:
            self.problem.add_goal(self._expression(condition, {}))
        plan = self._search(goal, within_s)
        with _quiet():
            partial = plan.convert_to(self.up.PlanKind.PARTIAL_ORDER_PLAN, self.problem)
        names = {a: f"s{n}" for n, a in enumerate(plan.actions, start=1)}
        before: dict[str, list[str]] = {name: [] for name in names.values()}
        for action, later in partial.get_adjacency_list.items():
            for successor in later:
                before[_named(successor, names)].append(_named(action, names))
        return {
            names[action]: (*self._said(action), tuple(sorted(before[names[action]])))
            for action in plan.actions
        }

    def _search(self, goal: tuple[Condition, ...], within_s: float) -> Any:
        """Return the shortest plan, or after a while of looking for that, any."""
        began_s = time.monotonic()
        for engine, share in (("fast-downward-opt", _SHORTEST_SHARE), ("fast-downward", 1.0)):
            left_s = began_s + within_s * share - time.monotonic()
            with _quiet(), self.up.OneshotPlanner(name=engine) as planner:
                _keep_to_itself(planner)
                result = planner.solve(self.problem, timeout=max(left_s, 0.1))
            if result.plan is not None:
                return result.plan
            if result.status.name.startswith("UNSOLVABLE"):
                break
        if time.monotonic() - began_s >= within_s:
            raise NoPlan(f"no plan was found in {within_s:g} s")
        raise NoPlan(self._no_way(goal))

    def _no_way(self, goal: tuple[Condition, ...]) -> str:
        missing = why_not(goal, self.robots, self.things, self.start)
        return (
            f"there is no way to get to {' and '.join(map(str, goal))} "
            f"with {', '.join(sorted(self.robots))}" + (f": {missing}" if missing else "")
        )

    def _state_what_holds(self) -> None:
        arities = {name: len(kinds) for name, kinds in KINDS.items()}
        for robot in self.robots.values():
            for contract in robot.skills.values():
                for condition in (*contract.requires, *contract.ensures):
                    arities.setdefault(condition.fact.name, len(condition.fact.args))
        for name, arity in arities.items():
            fluent = self.up.Fluent(f"p:{name}", **{f"a{n}": self.thing for n in range(arity)})
            self.problem.add_fluent(fluent, default_initial_value=False)
            self.fluents[name] = fluent
        for kind in sorted({k for t in self.things for k in kinds_of(t)}):
            fluent = self.up.Fluent(f"k:{kind}", a0=self.thing)
            self.problem.add_fluent(fluent, default_initial_value=False)
            self.fluents[f"kind {kind}"] = fluent
        for thing in self.things:
            for kind in kinds_of(thing):
                fluent = self.fluents[f"kind {kind}"](self.objects[thing.name])
                self.problem.set_initial_value(fluent, True)
        for fact in self.start.true:
            if fact.name in self.fluents and all(a in self.objects for a in fact.args):
                self.problem.set_initial_value(self._ground(fact, {}), True)

    def _add_action(self, robot: RobotState, contract: SkillContract) -> None:
        if robot.name not in self.objects or not contract.ensures:
            return  # what ensures nothing can bring nothing about
        if any(p.kind in ("number", "text") for p in contract.parameters):
            return  # nothing here could choose them
        action = self.up.InstantaneousAction(
            f"{robot.name} {contract.name}", **{p.name: self.thing for p in contract.parameters}
        )
        values = {p.name: action.parameter(p.name) for p in contract.parameters}
        values["robot"] = self.objects[robot.name]
        for name, kind in self._narrowed(contract):
            action.add_precondition(self.fluents[f"kind {kind}"](values[name]))
        for condition in contract.requires:
            action.add_precondition(self._expression(condition, values))
        for condition in contract.ensures:
            action.add_effect(self._ground(condition.fact, values), condition.holds)
        self.problem.add_action(action)

    def _narrowed(self, contract: SkillContract) -> Iterator[tuple[str, str]]:
        parameters = {p.name for p in contract.parameters}
        seen: set[tuple[str, str]] = set()
        for condition in (*contract.requires, *contract.ensures):
            kinds = KINDS.get(condition.fact.name, ())
            for argument, kind in zip(condition.fact.args, kinds, strict=False):
                name = argument.removeprefix("?")
                if name in parameters and (name, kind) not in seen:
                    seen.add((name, kind))
                    yield name, kind

    def _expression(self, condition: Condition, values: Mapping[str, Any]) -> Any:
        fact = self._ground(condition.fact, values)
        return fact if condition.holds else self.up.Not(fact)

    def _ground(self, fact: Fact, values: Mapping[str, Any]) -> Any:
        if fact.name not in self.fluents:
            raise NoPlan(f"nothing here changes or tells {fact}")
        return self.fluents[fact.name](
            *(values[a[1:]] if a.startswith("?") else self.objects[a] for a in fact.args)
        )

    def _said(self, action: Any) -> tuple[str, str, dict[str, str]]:
        robot, _, skill = action.action.name.partition(" ")
        values = {
            p.name: str(value.object().name).removeprefix("o:")
            for p, value in zip(action.action.parameters, action.actual_parameters, strict=True)
        }
        return robot, skill, values


def _named(action: Any, names: Mapping[Any, str]) -> str:
    return names[action]


def _keep_to_itself(planner: Any) -> None:
    """Have Fast Downward write between its own files, not where this process happens to stand.

    There it would write ``output.sas``, and of two that plan side by side, in whatever process, one
    would solve the problem of the other.
    """
    command = planner._get_cmd

    def of_its_own(domain: str, problem: str, plan: str) -> list[Any]:
        interpreter, script, *rest = command(domain, problem, plan)
        return [interpreter, script, "--sas-file", f"{plan}.sas", *rest]

    planner._get_cmd = of_its_own


@contextmanager
def _quiet() -> Iterator[None]:
    """The planner's wrapper warns of its own deprecated calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
