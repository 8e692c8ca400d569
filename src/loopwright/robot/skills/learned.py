"""Learned skills: a certified candidate of the loop moves the robot; the contract is a skill's.

To planner, scheduler and judge it looks like a scripted skill: only the body differs. The folder
is cleared for deployment before every attempt, so a changed file, an expired certificate or a
suspension ends the attempt before anything moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.core.errors import InvalidConfig, SafetyError
from loopwright.core.interface import Observation
from loopwright.core.policy import Candidate, Policy
from loopwright.models.registry import load_policy
from loopwright.robot.skill import GaveUp, Hands, Motion, Skill, SkillContract
from loopwright.robot.task import Value

Values = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What joins a candidate to a kind of robot."""

    folder: Path
    """The candidate."""
    clear: Callable[[Path], object]
    """Raises SafetyError unless the folder may be deployed here and now: as a rule
    :func:`~loopwright.safety.certificate.verify.open_for_deployment` with everything else bound."""
    see: Callable[[Hands, Values], Observation]
    """Returns what the policy sees, as in the scenario it was certified for."""
    command: Callable[[Hands, np.ndarray], np.ndarray]
    """Turns an action, float32 ``(A,)``, into a command of the robot, float64 ``(N,)``."""
    is_over: Callable[[Hands, Values], bool]
    """Tells whether the policy has nothing more to do; not whether it succeeded."""


def learned_skill(contract: SkillContract, learned: Learned) -> Skill:
    """Return a skill whose body is a policy.

    Args:
        contract: What it promises; its longest duration ends a policy that never comes to an end.
        learned: The policy, and how it sees and moves.
    """
    deployed = _Deployed(learned)

    def body(hands: Hands, **values: Value) -> Motion:
        policy, candidate = deployed.policy()
        ticks = _ticks_per_action(hands.rate_hz, candidate.interface.rate_hz)
        policy.reset(0)  # the same sight gives the same motion
        while not learned.is_over(hands, values):
            observation = learned.see(hands, values)
            candidate.interface.check_observation(observation)
            for action in candidate.interface.check_chunk(policy.act(observation)):
                command = learned.command(hands, action)
                for _ in range(ticks):
                    yield command
                if learned.is_over(hands, values):
                    return

    return Skill(contract, body)


class _Deployed:
    """A policy that is loaded once, and cleared before every use."""

    def __init__(self, learned: Learned) -> None:
        self._learned = learned
        self._loaded: tuple[str, Policy, Candidate] | None = None

    def policy(self) -> tuple[Policy, Candidate]:
        folder = self._learned.folder
        try:
            self._learned.clear(folder)
            candidate = Candidate.open(folder)
        except SafetyError as error:
            raise GaveUp(f"the policy may not move this robot: {error}") from error
        if self._loaded is None or self._loaded[0] != candidate.digest:
            self._loaded = (candidate.digest, load_policy(folder), candidate)
        return self._loaded[1], candidate


def _ticks_per_action(robot_hz: float, policy_hz: float) -> int:
    """Return for how many control steps of the robot an action holds.

    Raises:
        InvalidConfig: That is no whole number, so the policy would run at another rate than the
            one it was certified at.
    """
    ticks = round(robot_hz / policy_hz)
    if ticks < 1 or abs(ticks * policy_hz - robot_hz) > 1e-6 * robot_hz:
        raise InvalidConfig(
            f"the policy acts at {policy_hz:g} Hz, which does not divide the robot's {robot_hz:g}"
        )
    return ticks
