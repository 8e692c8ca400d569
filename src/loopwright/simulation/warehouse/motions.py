"""What arms and bases do in the warehouse: take, put down, drive; plans apart from motions.

A plan is computed from what is seen now and takes a while (inverse kinematics); a motion follows
it. Whoever runs in real time computes the plan beside the ticks.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from loopwright.core.motion import GaveUp, Hands, Motion
from loopwright.simulation.warehouse.moving import hold, move

ABOVE_M = np.array([0.0, 0.0, 0.14])
"""How far above an object, or above where it goes, an arm comes and leaves."""
OPEN, CLOSED = -1.0, 1.0
GRASP_S = 0.5
SLOW = 0.3
_SPOTS = 6
"""How many places to put something down are tried."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Approach:
    """How an arm comes to a place and leaves it again."""

    arm: str
    above: np.ndarray
    """Joints above the place, float64 ``(7,)``."""
    at: np.ndarray
    """Joints at the place, float64 ``(7,)``."""


def plan_take(hands: Hands, entity: str) -> Approach:
    """Return how an arm with a free hand comes to an object that is in sight.

    Raises:
        GaveUp: It is not seen, out of reach, or no hand is free.
    """
    pose = hands.where(entity)
    arms = hands.driver.free_arms(hands.position, pose[:3])
    return _first(lambda arm: _approach(hands, arm, [pose[:3].copy()], _heading(pose)), arms)


def take(hands: Hands, approach: Approach) -> Motion:
    """Take what the approach leads to."""
    return _visit(hands, approach, before=OPEN, after=CLOSED)


def plan_put(hands: Hands, entity: str, surface: str) -> Approach:
    """Return how the arm that holds an object comes to a free spot of a surface.

    Raises:
        GaveUp: No hand holds it, or there is no room in reach.
    """
    arm = hands.driver.nearest_tool(hands.position, hands.where(entity)[:3])
    return _approach(hands, arm, hands.driver.spots(hands, arm, surface), 0.0)


def put(hands: Hands, approach: Approach) -> Motion:
    """Put down what is held where the approach leads to."""
    return _visit(hands, approach, before=CLOSED, after=OPEN)


def go(hands: Hands, goal: str) -> Motion:
    """Drive to a station.

    Raises:
        GaveUp: The robot has no base, or no place to stand there.
    """
    columns = hands.driver.base
    if not columns:
        raise GaveUp(f"{hands.robot} has no base")
    yield from retract(hands)
    for pose in hands.driver.way(hands.position[columns], goal):
        yield from move(hands, columns, pose, keep=hands.driver.grips(), close=0.01)


def retract(hands: Hands) -> Motion:
    """Bring the arms of a robot that drives to where they are in nobody's way."""
    for arm in hands.driver.arms:
        yield from move(
            hands,
            hands.driver.columns(arm),
            hands.driver.home(),
            keep=hands.driver.grips(),
            close=0.03,
        )


def _visit(hands: Hands, approach: Approach, *, before: float, after: float) -> Motion:
    """Come down to a place with one grip, and leave it with another."""
    columns, keep = hands.driver.columns(approach.arm), hands.driver.grips()
    grip = hands.driver.grip(approach.arm)
    keep[grip] = before
    yield from move(hands, columns, approach.above, keep=keep)
    yield from move(hands, columns, approach.at, keep=keep, pace=SLOW)
    keep[grip] = after
    yield from hold(hands, GRASP_S, keep)
    yield from move(hands, columns, approach.above, keep=keep, pace=SLOW)


def _approach(hands: Hands, arm: str, spots: Sequence[np.ndarray], heading_rad: float) -> Approach:
    """Return joints above and at the first spot that is in reach."""

    def to(spot_m: np.ndarray) -> Approach:
        above = hands.driver.reach(arm, hands.position, spot_m + ABOVE_M, heading_rad)
        at = hands.driver.reach(arm, _with(hands, arm, above), spot_m, heading_rad)
        return Approach(arm=arm, above=above, at=at)

    return _first(to, spots[:_SPOTS])


def _first(plan: Callable[[T], Approach], choices: Sequence[T]) -> Approach:
    """Return the first plan that can be made.

    Raises:
        GaveUp: None can; why the last one cannot.
    """
    for choice in choices[:-1]:
        with contextlib.suppress(GaveUp):
            return plan(choice)
    return plan(choices[-1])


def _with(hands: Hands, arm: str, joints: np.ndarray) -> np.ndarray:
    """Return the measured coordinates with the joints of an arm somewhere else."""
    position = hands.position.copy()
    position[hands.driver.columns(arm)] = joints
    return position


def _heading(pose: np.ndarray) -> float:
    """Return the heading of a cube, within an eighth of a turn: four sides are alike."""
    w, x, y, z = pose[3:]
    heading_rad = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    quarter = math.pi / 2
    return heading_rad - quarter * round(heading_rad / quarter)
