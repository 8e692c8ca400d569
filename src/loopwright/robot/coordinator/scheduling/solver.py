"""The search for a good schedule: a job shop with a choice of robots, given to CP-SAT.

An interval for every step and every robot that could do it, of which one is present; what holds
one resource does not overlap; lateness counts before everything else. Perron and Didier, OR-Tools.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from loopwright.core.errors import MissingExtra
from loopwright.robot.coordinator.ability import WHOLE
from loopwright.robot.coordinator.scheduling.schedule import Placed
from loopwright.robot.coordinator.scheduling.situation import Choice, Job, JobKey, Situation

try:
    from ortools.sat.python import cp_model
except ModuleNotFoundError as error:
    raise MissingExtra("ortools", "robot", "schedules better than the greedy order") from error

TICK_S = 0.1
"""Time is counted in these; finer than anybody can foretell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search found."""

    order: tuple[tuple[JobKey, Choice], ...]
    """Steps with who does them, by start."""
    is_proven: bool
    """Whether no other order is better."""


@dataclass(frozen=True, slots=True)
class _Option:
    choice: Choice
    interval: Any
    chosen: Any


@dataclass(frozen=True, slots=True)
class _Variables:
    job: Job
    start: Any
    end: Any
    options: tuple[_Option, ...]


def solve(situation: Situation, hint: Iterable[Placed], within_s: float) -> Answer | None:
    """Return the best order that is found in time; None if none is.

    Args:
        situation: What there is to do.
        hint: A schedule to begin with.
        within_s: How long to search, wall time.
    """
    model = _Model(situation)
    model.begin_with(hint)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = within_s
    # One thread: the robots' own processes need the others more.
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    # Bounds by linear programming cost more here than they save.
    solver.parameters.linearization_level = 0
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    return Answer(tuple(model.order(solver)), status == cp_model.OPTIMAL)


class _Model:
    def __init__(self, situation: Situation) -> None:
        self.model = cp_model.CpModel()
        longest_s = sum(max(c.lasts_s for c in job.choices) for job in situation.jobs)
        self._horizon = _ticks(longest_s) + len(situation.jobs)
        self._jobs = {job.key: self._add(job) for job in situation.jobs}
        self._keep_orders()
        self._keep_resources()
        self._minimise(situation)

    def begin_with(self, hint: Iterable[Placed]) -> None:
        for placed in hint:
            found = self._jobs[placed.key]
            if found.job.running:
                continue
            self.model.add_hint(found.start, _ticks(placed.start_s))
            for option in found.options:
                if len(found.options) > 1:
                    self.model.add_hint(option.chosen, option.choice.robot == placed.robot)

    def order(self, solver: Any) -> list[tuple[JobKey, Choice]]:
        waiting = [found for found in self._jobs.values() if not found.job.running]
        waiting.sort(key=lambda found: (solver.value(found.start), solver.value(found.end)))
        return [
            (found.job.key, next(o.choice for o in found.options if solver.value(o.chosen)))
            for found in waiting
        ]

    def _add(self, job: Job) -> _Variables:
        start = (
            self.model.new_constant(0)
            if job.running
            else self.model.new_int_var(0, self._horizon, "")
        )
        end = self.model.new_int_var(0, self._horizon, "")
        several = len(job.choices) > 1
        options = []
        for choice in job.choices:
            chosen = self.model.new_bool_var("") if several else self.model.new_constant(1)
            interval = self.model.new_optional_fixed_size_interval_var(
                start, _ticks(choice.lasts_s), chosen, ""
            )
            options.append(_Option(choice, interval, chosen))
        if several:
            self.model.add_exactly_one(o.chosen for o in options)
        lasts = sum(_ticks(o.choice.lasts_s) * o.chosen for o in options)
        self.model.add(end == start + lasts)
        return _Variables(job, start, end, tuple(options))

    def _keep_orders(self) -> None:
        for found in self._jobs.values():
            for before in found.job.after:
                self.model.add(found.start >= self._jobs[found.job.task, before].end)

    def _keep_resources(self) -> None:
        options = [o for found in self._jobs.values() for o in found.options]
        named = {r for o in options for r in o.choice.holds}
        taken: set[tuple[int, ...]] = set()
        for resource in sorted(named):
            users = tuple(n for n, o in enumerate(options) if _holds(o.choice, resource))
            # Two names for the same exclusion need be said once.
            if len(users) > 1 and users not in taken:
                taken.add(users)
                self.model.add_no_overlap([options[n].interval for n in users])

    def _minimise(self, situation: Situation) -> None:
        makespan = self._latest(self._jobs.values())
        ends, lates = [], []
        for errand in situation.errands:
            own = [found for found in self._jobs.values() if found.job.task == errand.task]
            if not own:
                continue
            end = self._latest(own)
            ends.append(errand.weight * end)
            dues = [(end, errand.due_s), *((found.end, found.job.due_s) for found in own)]
            late = self._late([(e, due_s) for e, due_s in dues if due_s is not None])
            lates.append(errand.weight * late)
        # So much that no second of lateness is ever traded for anything.
        first = 1 + self._horizon * (1 + sum(e.weight for e in situation.errands))
        self.model.minimize(first * sum(lates) + sum(ends) + makespan)

    def _latest(self, found: Iterable[_Variables]) -> Any:
        latest = self.model.new_int_var(0, self._horizon, "")
        for one in found:
            self.model.add(latest >= one.end)
        return latest

    def _late(self, dues: list[tuple[Any, float]]) -> Any:
        if not dues:
            return 0
        floors = [math.floor(due_s / TICK_S) for _, due_s in dues]
        late = self.model.new_int_var(0, self._horizon + max(0, -min(floors)), "")
        for (end, _), due in zip(dues, floors, strict=True):
            self.model.add(late >= end - due)
        return late


def _holds(choice: Choice, resource: str) -> bool:
    """Tell whether a choice takes a resource: one that takes the whole robot takes its parts."""
    robot, mark, _ = resource.partition("/")
    return resource in choice.holds or (bool(mark) and f"{robot}/{WHOLE}" in choice.holds)


def _ticks(time_s: float) -> int:
    return math.ceil(time_s / TICK_S - 1e-6)
