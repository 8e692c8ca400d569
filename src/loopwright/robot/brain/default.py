"""The default brain: understands plain instructions, plans in symbols; no key, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from loopwright.robot.brain.language.meaning import Ambiguous, doers, goal_of
from loopwright.robot.brain.language.wish import NotAllowed, NotUnderstood
from loopwright.robot.brain.symbolic import plan_for
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan, NotSeen, Problem
from loopwright.robot.logic import Fact, Facts
from loopwright.robot.memory.things import Things
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import TaskGraph


class SymbolicBrain:
    """Controlled language and a symbolic planner; also repairs the plans of other brains."""

    name = "symbolic"

    def __init__(self, things: Things, *, within_s: float = 30.0) -> None:
        """Know the things of a world.

        Args:
            things: What there is.
            within_s: How long to search for a plan; a fraction of it is the rule.
        """
        self._things, self._within_s = things, within_s

    def plan(self, problem: Problem) -> TaskGraph:
        """Return a graph from how the world stands now.

        A goal that was understood once is kept: a plan that failed is not read anew.

        Raises:
            NoPlan: It was not understood, is ambiguous, impossible or not allowed.
            NotSeen: There is none as far as is known, and nobody knows where something is.
        """
        facts = problem.memory.facts()
        try:
            return self._plan(problem, facts)
        except (NotUnderstood, NotAllowed, Ambiguous):
            raise
        except NoPlan as error:
            if unseen := self._unseen(facts):
                raise NotSeen(f"{error}; nobody has seen {', '.join(unseen)}") from error
            raise

    def _plan(self, problem: Problem, facts: Facts) -> TaskGraph:
        goal = problem.goal or goal_of(problem.instruction, self._things, facts)
        if not problem.robots:
            raise NoPlan("no robot is at work")
        return plan_for(
            goal,
            _only(problem.robots, doers(problem.instruction, self._things, facts)),
            self._things,
            problem.memory.symbols(),
            within_s=self._within_s,
            reading=" and ".join(str(c) for c in goal),
        )

    def _unseen(self, facts: Facts) -> list[str]:
        """Return the things of which nobody can say where they are."""
        stations = self._things.of_kind("station")
        return [
            thing.name
            for thing in self._things
            if thing.kind != "station"
            and _is_unknown(
                facts,
                *(Fact("on", (thing.name, c.name)) for c in self._things.carriers)
                if thing.kind == "object"
                else (Fact("at", (thing.name, s.name)) for s in stations),
            )
        ]


def _only(robots: Mapping[str, RobotState], doers: frozenset[str]) -> dict[str, RobotState]:
    """Return robots of which only those that were named handle things; anybody, if none was."""
    if not doers:
        return dict(robots)
    return {
        name: robot if name in doers else replace(robot, skills=_without_hands(robot))
        for name, robot in robots.items()
    }


def _without_hands(robot: RobotState) -> dict[str, SkillContract]:
    return {n: c for n, c in robot.skills.items() if "gripper" not in c.needs}


def _is_unknown(facts: Facts, *either: Fact) -> bool:
    """Tell whether none of some facts is known to hold, and one may."""
    truths = [facts(fact) for fact in either]
    return True not in truths and None in truths
