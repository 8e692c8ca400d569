"""Asking the brain: each plan in a thread of its own, with patience for what may yet be seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from loopwright.robot.coordinator import moves
from loopwright.robot.coordinator.expected import ExpectedMemory
from loopwright.robot.journal.fold import FleetState
from loopwright.robot.knowledge import Brain, NoPlan, NotSeen, Problem, WorldMemory
from loopwright.robot.logic import all_met
from loopwright.robot.task import TaskGraph

AGAIN_S = 0.25
"""How long to wait before the brain is asked the same again."""

T = TypeVar("T")


class Glance(Protocol):
    """Reads the state of the fleet while nothing changes it."""

    def __call__(self, reader: Callable[[FleetState], T]) -> T:
        """Return what ``reader`` makes of the state."""
        ...


class Planning:
    """The questions to the brain that are open."""

    def __init__(
        self,
        *,
        brain: Brain,
        memory: WorldMemory,
        rules: moves.Rules,
        glance: Glance,
        look: Callable[[], None],
        deliver: Callable[[moves.AskPlan, TaskGraph | str], None],
    ) -> None:
        """Ask nothing yet.

        Args:
            brain: Who is asked.
            memory: What is believed of the world.
            rules: How patient to be.
            glance: Reads the state; from any thread.
            look: Has the robots look around; from any thread.
            deliver: Takes a graph, or why there is none; from any thread.
        """
        self._brain, self._memory, self._rules = brain, memory, rules
        self._glance, self._look, self._deliver = glance, look, deliver
        self._open: set[str] = set()
        self._tried: dict[str, tuple[object, ...]] = {}
        self._stopping = threading.Event()

    def ask(self, move: moves.AskPlan, state: FleetState) -> None:
        """Begin to think about a task, unless that goes on already; returns at once."""
        if move.task in self._open or (move.keep and self._has_tried(move.task, state)):
            return
        self._open.add(move.task)
        threading.Thread(
            target=self._think, args=(move,), name=f"plan {move.task}", daemon=True
        ).start()

    def heard(self, move: moves.AskPlan) -> None:
        """Take note that an answer has come to where it is acted on: one may ask again."""
        self._open.discard(move.task)

    def close(self) -> None:
        """Have no more patience."""
        self._stopping.set()

    def _has_tried(self, identity: str, state: FleetState) -> bool:
        """Tell whether a graph was asked for already with these robots; from now on it was."""
        task = state.tasks[identity]
        now = (frozenset(_at_work(state)), task.plans, len(task.intents))
        had = self._tried.get(identity)
        self._tried = {t.id: self._tried[t.id] for t in state.open_tasks if t.id in self._tried}
        self._tried[identity] = now
        return had == now

    def _think(self, move: moves.AskPlan) -> None:
        try:
            found = self._plan(move)
        except NoPlan as error:
            found = str(error)
        except Exception as error:  # noqa: BLE001 - a plug-in; the task must not hang on it
            found = f"the planner {self._brain.name} failed: {type(error).__name__}: {error}"
        self._deliver(move, found)

    def _plan(self, move: moves.AskPlan) -> TaskGraph:
        """Return the brain's graph; what it misses is looked for, and who is away waited for."""
        until_s = time.monotonic() + self._rules.patience_s
        while True:
            try:
                graph = self._brain.plan(self._glance(lambda state: self._problem(move, state)))
                if not self._is_being_done(graph) or self._stopping.wait(AGAIN_S):
                    return graph
            except NoPlan as error:
                may_be_seen = isinstance(error, NotSeen) and time.monotonic() < until_s
                may_return = not move.keep and self._glance(self._somebody_may_return)
                if not (may_be_seen or may_return):
                    raise
                if self._stopping.wait(AGAIN_S):
                    raise
                self._look()

    def _problem(self, move: moves.AskPlan, state: FleetState) -> Problem:
        task = state.tasks[move.task]
        running = moves.open_intents(state)
        effects = [c for i in running for c in i.contract.bound(i.robot, i.values).ensures]
        return Problem(
            instruction=task.instruction,
            goal=task.graph.goal if task.graph else (),
            robots={name: replace(state.robots[name]) for name in _at_work(state)},
            memory=ExpectedMemory(self._memory, effects),
            reason=move.reason,
        )

    def _is_being_done(self, graph: TaskGraph) -> bool:
        """Tell whether a graph has nothing to do, since what runs now is to reach its goal."""
        if graph.steps or not graph.goal:
            return False
        return self._glance(
            lambda state: (
                bool(moves.open_intents(state))
                and all_met(graph.goal, self._memory.facts()) is not True
            )
        )

    def _somebody_may_return(self, state: FleetState) -> bool:
        """Tell whether a robot fell silent so lately that it may only be beginning anew."""
        now_s = time.time()
        return any(moves.may_return(state, r, now_s, self._rules) for r in state.robots.values())


def _at_work(state: FleetState) -> list[str]:
    """Return the robots that may move."""
    return [name for name, r in state.robots.items() if r.alive and not state.is_stopped(name)]
