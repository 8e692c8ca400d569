"""Does a skill keep its contract? For authors of skills: run it against a world of one's own."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from loopwright.robot.agent.agent import Runner
from loopwright.robot.logic import Condition, Facts, all_met, unmet
from loopwright.robot.messages import RunSkill
from loopwright.robot.skill import Skill, SkillContract, SkillError
from loopwright.robot.task import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class SkillReport:
    """What :func:`check_skill` found."""

    skill: str
    runs: int
    slowest_s: float
    slowest_cancel_s: float


def check_skill(
    skill: Skill,
    *,
    robot: str,
    values: dict[str, Value],
    begin: Callable[[], tuple[Runner, Callable[[], Facts]]],
    runs: int = 3,
    cancel_within_s: float = 1.0,
) -> SkillReport:
    """Run a skill from a start where it may run, whole and cut short, and check its promises.

    Args:
        skill: What to check.
        robot: Name of the robot that runs it.
        values: Its parameters.
        begin: Sets the world up anew; returns the runner and who observes the facts.
        runs: How often it is run to its end, and how often it is cancelled.
        cancel_within_s: A cancelled skill must be over within.

    Raises:
        SkillError: A promise does not hold; the message says which, and in which run.
    """
    contract = skill.contract
    bound = contract.bound(robot, values)
    _refuse_empty(contract)
    slowest_s = slowest_cancel_s = 0.0
    for number in range(runs):
        runner, observe = begin()
        if missing := unmet(bound.requires, observe()):
            raise SkillError(f"{contract.name}: the start does not meet {_said(missing)}")
        claim, reason, lasted_s = _run(runner, contract, values, cut_after_s=None)
        slowest_s = max(slowest_s, lasted_s)
        if claim != "finished":
            raise SkillError(f"{contract.name}, run {number + 1}: {claim}: {reason}")
        if lasted_s > contract.longest_s:
            raise SkillError(
                f"{contract.name}, run {number + 1}: it took {lasted_s:.2f} s, "
                f"its contract says at most {contract.longest_s:g} s"
            )
        if all_met(bound.ensures, observe()) is not True:
            missing = unmet(bound.ensures, observe())
            raise SkillError(
                f"{contract.name}, run {number + 1}: it says it is done, yet not {_said(missing)}"
            )
    for number in range(runs):
        runner, _ = begin()
        cut_after_s = slowest_s * (number + 1) / (runs + 1)
        claim, reason, lasted_s = _run(runner, contract, values, cut_after_s=cut_after_s)
        late_s = lasted_s - cut_after_s
        slowest_cancel_s = max(slowest_cancel_s, late_s)
        if claim not in ("cancelled", "finished"):
            raise SkillError(f"{contract.name}, cancelled after {cut_after_s:.2f} s: {reason}")
        if late_s > cancel_within_s:
            raise SkillError(
                f"{contract.name}, cancelled after {cut_after_s:.2f} s, went on for {late_s:.2f} s"
            )
    return SkillReport(
        skill=contract.name, runs=runs, slowest_s=slowest_s, slowest_cancel_s=slowest_cancel_s
    )


def _refuse_empty(contract: SkillContract) -> None:
    if not contract.ensures:
        raise SkillError(
            f"{contract.name} ensures nothing, so nobody can tell whether it was done; "
            "state what will hold"
        )


def _said(missing: tuple[Condition, ...]) -> str:
    return ", ".join(map(str, missing))


def _run(
    runner: Runner,
    contract: SkillContract,
    values: dict[str, Value],
    *,
    cut_after_s: float | None,
) -> tuple[str, str, float]:
    cancelled = threading.Event()
    limit_s = contract.longest_s * 2 if cut_after_s is None else cut_after_s
    timer = threading.Timer(limit_s, cancelled.set)
    timer.daemon = True
    timer.start()
    began_s = time.monotonic()
    order = RunSkill(
        coordinator_epoch=0,
        robot_epoch=0,
        intent=f"check-{uuid.uuid4().hex[:8]}",
        trace="check",
        skill=contract.name,
        values=values,
        longest_s=contract.longest_s,
    )
    try:
        claim, reason = runner.run(order, cancelled)
    finally:
        timer.cancel()
    return claim, reason, time.monotonic() - began_s
