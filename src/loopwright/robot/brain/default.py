"""The default brain: understands plain instructions, plans in symbols; no key, no network."""

from __future__ import annotations

from loopwright.robot.brain.language.meaning import goal_of
from loopwright.robot.brain.symbolic import plan_for
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.memory.things import Things
from loopwright.robot.task import TaskGraph


class SymbolicBrain:
    """Controlled language and a symbolic planner; also repairs the plans of other brains."""

    name = "symbolic"

    def __init__(self, things: Things, *, within_s: float = 10.0) -> None:
        """Know the things of a world.

        Args:
            things: What there is.
            within_s: How long to search for a plan.
        """
        self._things, self._within_s = things, within_s

    def plan(self, problem: Problem) -> TaskGraph:
        """Return a graph from how the world stands now.

        A goal that was understood once is kept: a plan that failed is not read anew.

        Raises:
            NoPlan: It was not understood, is ambiguous, impossible or not allowed.
        """
        facts = problem.memory.facts()
        goal = problem.goal or goal_of(problem.instruction, self._things, facts)
        if not problem.robots:
            raise NoPlan("no robot is at work")
        return plan_for(
            goal,
            problem.robots,
            self._things,
            problem.memory.symbols(),
            within_s=self._within_s,
            reading=" and ".join(str(c) for c in goal),
        )
