"""Motions that jerk-limited trajectories are made of: some coordinates to a goal, the rest still.

Trajectories by ruckig (Berscheid & Kroeger 2021, "Jerk-limited Real-time Trajectory Generation with
Arbitrary Target States"); followed with the trajectory's speed and a correction of position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from loopwright.core.errors import MissingExtra
from loopwright.core.motion import GaveUp, Hands, Motion

GAIN_PER_S = 6.0
"""How fast an error of position is corrected."""
SETTLE_S = 1.0
"""How long a motion may take to arrive once its trajectory is over."""


def move(
    hands: Hands,
    columns: Sequence[int],
    goal: np.ndarray,
    *,
    pace: float = 0.7,
    close: float = 0.01,
    keep: np.ndarray | None = None,
) -> Motion:
    """Move some coordinates to a goal and stop there.

    Args:
        hands: The robot.
        columns: Which coordinates.
        goal: Where to, float64 ``(len(columns),)``.
        pace: Share of the top speed.
        close: How near counts as there, in the units of the coordinates.
        keep: What is commanded to all others, float64 ``(N,)`` (an effort of the gripper).

    Raises:
        GaveUp: It did not arrive: something holds it, or it was slowed down too much.
    """
    columns = list(columns)
    plan_s, sample = _trajectory(hands, columns, goal, pace)
    command = np.zeros(hands.driver.size) if keep is None else keep.copy()
    steps = math.ceil(plan_s * hands.rate_hz)
    for step in range(steps + round(SETTLE_S * hands.rate_hz)):
        position, speed = sample(min((step + 1) / hands.rate_hz, plan_s))
        error = position - hands.position[columns]
        command[columns] = speed + GAIN_PER_S * error
        there = np.abs(goal - hands.position[columns]).max() < close
        if step >= steps and there:
            return
        yield command
    off = np.abs(goal - hands.position[columns]).max()
    raise GaveUp(f"it did not get there: {off:.3f} off after {plan_s + SETTLE_S:.1f} s")


def _trajectory(hands: Hands, columns: list[int], goal: np.ndarray, pace: float):
    try:
        import ruckig
    except ImportError as error:
        raise MissingExtra("ruckig", "robot", "moving without jerks") from error
    top = hands.driver.speed[columns] * pace
    wanted = ruckig.InputParameter(len(columns))
    wanted.current_position = hands.position[columns].tolist()
    wanted.current_velocity = [0.0] * len(columns)
    wanted.current_acceleration = [0.0] * len(columns)
    wanted.target_position = np.asarray(goal).tolist()
    wanted.target_velocity = [0.0] * len(columns)
    wanted.max_velocity = top.tolist()
    wanted.max_acceleration = (2.0 * top).tolist()
    wanted.max_jerk = (12.0 * top).tolist()
    trajectory = ruckig.Trajectory(len(columns))
    result = ruckig.Ruckig(len(columns)).calculate(wanted, trajectory)
    if result not in (ruckig.Result.Working, ruckig.Result.Finished):
        raise GaveUp(f"there is no trajectory to {np.round(goal, 3).tolist()}: {result}")

    def sample(time_s: float) -> tuple[np.ndarray, np.ndarray]:
        position, speed, *_ = trajectory.at_time(time_s)
        return np.array(position), np.array(speed)

    return trajectory.duration, sample


def hold(hands: Hands, seconds: float, keep: np.ndarray) -> Motion:
    """Command the same for a while."""
    for _ in range(round(seconds * hands.rate_hz)):
        yield keep
