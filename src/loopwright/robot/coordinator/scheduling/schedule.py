"""Schedules: which robot does which step when, and which tasks come too late.

A schedule is a belief about the future and binds nobody: what may be done now is decided by
:mod:`loopwright.robot.coordinator.moves` alone, which uses a schedule to choose among it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from loopwright.core.errors import MissingExtra
from loopwright.robot.coordinator.ability import clash
from loopwright.robot.coordinator.scheduling.situation import (
    Choice,
    Errand,
    Job,
    JobKey,
    Situation,
)

Proof = Literal["optimal", "best-found", "greedy"]
"""No schedule is better; none better was found in time; or nothing better than the greedy order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """One step in a schedule."""

    task: str
    step: str
    robot: str
    start_s: float
    """From the moment that the schedule was made for."""
    end_s: float
    holds: frozenset[str]
    running: bool = False

    @property
    def key(self) -> JobKey:
        """What names it."""
        return self.task, self.step


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Which robot does which step when."""

    made_s: float
    """Wall clock of its second 0."""
    placed: tuple[Placed, ...]
    """By start."""
    proof: Proof
    why: str = ""
    """Why it is no better than it is."""
    late_s: Mapping[str, float] = field(default_factory=dict)
    """Tasks that are expected to miss a deadline, and by how much at worst."""
    stuck: tuple[str, ...] = ()
    """Tasks with a step that nobody at work can do; when they end is not known."""

    @cached_property
    def by_key(self) -> Mapping[JobKey, Placed]:
        """Steps by what names them."""
        return {p.key: p for p in self.placed}

    @property
    def makespan_s(self) -> float:
        """Seconds until everything is done."""
        return max((p.end_s for p in self.placed), default=0.0)


def schedule(situation: Situation, *, within_s: float = 0.5) -> Schedule:
    """Return the best schedule that is found in time; never one worse than the greedy order.

    Args:
        situation: What there is to do.
        within_s: How long to search.
    """
    greedy = in_greedy_order(situation)
    if not situation.leaves_a_choice:
        return _made(situation, greedy, "optimal", "there is nothing to choose")
    try:
        from loopwright.robot.coordinator.scheduling.solver import solve

    except MissingExtra as error:
        return _made(situation, greedy, "greedy", str(error))

    def costs(placed: tuple[Placed, ...]) -> tuple[float, float]:
        return cost(situation, placed)

    begin = min((greedy, *by_rules_of_thumb(situation)), key=costs)
    answer = solve(situation, begin, within_s)
    found = begin if answer is None else min(in_order(situation, answer.order), begin, key=costs)
    if answer is not None and answer.is_proven:
        return _made(situation, found, "optimal", "")
    if found is greedy:
        return _made(situation, greedy, "greedy", f"nothing better was found in {within_s:g} s")
    return _made(
        situation, found, "best-found", f"there may be a better one: {within_s:g} s were over"
    )


def cost(situation: Situation, placed: Iterable[Placed]) -> tuple[float, float]:
    """Return what a schedule costs, the lateness first: weighted seconds, fewer are better.

    The second number is the sum of when tasks end, by weight, and when all is over.
    """
    by_task = _by_task(placed)
    ends_s = {task: max(p.end_s for p in found) for task, found in by_task.items()}
    late_s = lateness(situation, by_task)
    weights = {e.task: e.weight for e in situation.errands}
    late = sum(weights[t] * s for t, s in late_s.items() if t in weights)
    ends = sum(weights[t] * s for t, s in ends_s.items() if t in weights)
    return round(late, 6), round(ends + max(ends_s.values(), default=0.0), 6)


def lateness(situation: Situation, by_task: Mapping[str, list[Placed]]) -> dict[str, float]:
    """Return by how much tasks miss their worst deadline; only those that miss one."""
    found: dict[str, float] = {}
    dues_s = {e.task: e.due_s for e in situation.errands}
    for task, placed in by_task.items():
        misses_s = [
            p.end_s - due_s
            for p in placed
            for due_s in (dues_s.get(task), situation.by_key[p.key].due_s)
            if due_s is not None
        ]
        if misses_s and max(misses_s) > 0.0:
            found[task] = max(misses_s)
    return found


def in_greedy_order(situation: Situation) -> tuple[Placed, ...]:
    """Return what comes of taking, at each moment, the oldest task's first step that can begin."""
    placed = {job.key: _place(job, job.choices[0], 0.0) for job in situation.jobs if job.running}
    waiting = [job for job in situation.jobs if not job.running]
    now_s = 0.0
    while waiting:
        held = {r for p in placed.values() if p.end_s > now_s for r in p.holds}
        for job in list(waiting):
            before = [placed.get((job.task, a)) for a in job.after]
            if not all(b is not None and b.end_s <= now_s for b in before):
                continue
            free = next((c for c in job.choices if not clash(c.holds, held)), None)
            if free is not None:
                placed[job.key] = _place(job, free, now_s)
                held |= free.holds
                waiting.remove(job)
        if waiting:
            now_s = min(p.end_s for p in placed.values() if p.end_s > now_s)
    return _sorted(placed.values())


def by_rules_of_thumb(situation: Situation) -> tuple[tuple[Placed, ...], ...]:
    """Return what comes of simple rules: what is due first, and what is short first."""
    work_s: dict[str, float] = {}
    for job in situation.jobs:
        least_s = min(choice.lasts_s for choice in job.choices)
        work_s[job.task] = work_s.get(job.task, 0.0) + least_s

    def due_s(errand: Errand) -> float:
        return math.inf if errand.due_s is None else errand.due_s

    def shortness(errand: Errand) -> float:
        return work_s.get(errand.task, 0.0) / errand.weight

    def slack_s(errand: Errand) -> float:
        return due_s(errand) - work_s.get(errand.task, 0.0)

    return tuple(
        _by_rank(situation, rank)
        for rank in (
            lambda e: (due_s(e), shortness(e)),
            lambda e: (slack_s(e), shortness(e)),
            shortness,
        )
    )


def _by_rank(situation: Situation, rank: Callable[[Errand], Any]) -> tuple[Placed, ...]:
    """Return each step as early as it can be and by whom it is over first, task after task."""
    tasks = [e.task for e in sorted(situation.errands, key=rank)]
    placed = {job.key: _place(job, job.choices[0], 0.0) for job in situation.jobs if job.running}
    for task in tasks:
        waiting = [job for job in situation.jobs if job.task == task and not job.running]
        while waiting:
            job = next(j for j in waiting if all((task, a) in placed for a in j.after))
            ready_s = max((placed[task, a].end_s for a in job.after), default=0.0)
            placed[job.key] = min(
                (
                    _place(job, choice, _first_gap_s(choice, ready_s, placed.values()))
                    for choice in job.choices
                ),
                key=lambda p: p.end_s,
            )
            waiting.remove(job)
    return _sorted(placed.values())


def in_order(situation: Situation, order: Iterable[tuple[JobKey, Choice]]) -> tuple[Placed, ...]:
    """Return each step as early as it can be, those earlier in the order first.

    Args:
        situation: What there is to do.
        order: Every step that does not run with who does it, none before one that it waits for.
    """
    placed = {job.key: _place(job, job.choices[0], 0.0) for job in situation.jobs if job.running}
    for key, choice in order:
        job = situation.by_key[key]
        ready_s = max((placed[job.task, a].end_s for a in job.after), default=0.0)
        placed[key] = _place(job, choice, _first_gap_s(choice, ready_s, placed.values()))
    return _sorted(placed.values())


def _first_gap_s(choice: Choice, ready_s: float, placed: Iterable[Placed]) -> float:
    """Return the first moment from which on nothing else needs what a step holds."""
    start_s = ready_s
    others = (p for p in placed if p.end_s > ready_s and clash(choice.holds, p.holds))
    for other in sorted(others, key=lambda p: p.start_s):
        if start_s + choice.lasts_s <= other.start_s:
            break
        start_s = max(start_s, other.end_s)
    return start_s


def _place(job: Job, choice: Choice, start_s: float) -> Placed:
    return Placed(
        task=job.task,
        step=job.step,
        robot=choice.robot,
        start_s=start_s,
        end_s=start_s + choice.lasts_s,
        holds=choice.holds,
        running=job.running,
    )


def _made(situation: Situation, placed: tuple[Placed, ...], proof: Proof, why: str) -> Schedule:
    late_s = lateness(situation, _by_task(placed))
    return Schedule(
        made_s=situation.made_s,
        placed=placed,
        proof=proof,
        why=why,
        late_s=late_s,
        stuck=situation.stuck,
    )


def _by_task(placed: Iterable[Placed]) -> dict[str, list[Placed]]:
    found: dict[str, list[Placed]] = {}
    for one in placed:
        found.setdefault(one.task, []).append(one)
    return found


def _sorted(placed: Iterable[Placed]) -> tuple[Placed, ...]:
    return tuple(sorted(placed, key=lambda p: (p.start_s, p.task, p.step)))
