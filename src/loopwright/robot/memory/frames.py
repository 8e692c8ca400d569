"""What a sensor says in the frame of a robot or of a place, said in that of the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.things import Things
from loopwright.robot.sighting import WORLD, Sighting


def in_world(
    sighting: Sighting, things: Things, where: Callable[[str], Estimate | None]
) -> Sighting | None:
    """Return a sighting in the frame of the world; None if nobody knows where its frame is.

    The position of the frame makes it less sure; how the frame is turned is taken as known.

    Args:
        sighting: In any frame.
        things: What there is; those that do not move are upright.
        where: Where something that moves is believed to be.
    """
    if sighting.frame == WORLD or sighting.pose is None:
        return sighting
    if sighting.frame not in things:
        return None
    fixed_m = things[sighting.frame].position_m
    if fixed_m is not None:
        position_m = np.add(fixed_m, sighting.pose[:3])
        return replace(sighting, frame=WORLD, pose=(*position_m.tolist(), *sighting.pose[3:]))
    frame = where(sighting.frame)
    if frame is None:
        return None
    turn = np.array(frame.pose[3:])
    position_m = frame.position_m + _turned(turn, np.array(sighting.pose[:3]))
    return replace(
        sighting,
        frame=WORLD,
        pose=(*position_m.tolist(), *_product(turn, np.array(sighting.pose[3:])).tolist()),
        sigma_m=math.hypot(frame.sigma_m, sighting.sigma_m),
    )


def _turned(turn: np.ndarray, offset_m: np.ndarray) -> np.ndarray:
    """Return an offset turned by a unit quaternion wxyz."""
    w, axis = turn[0], turn[1:]
    return offset_m + 2 * np.cross(axis, np.cross(axis, offset_m) + w * offset_m)


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the quaternion of turning by ``second``, then by ``first``."""
    w = first[0] * second[0] - first[1:] @ second[1:]
    axis = first[0] * second[1:] + second[0] * first[1:] + np.cross(first[1:], second[1:])
    return np.array([w, *axis])
