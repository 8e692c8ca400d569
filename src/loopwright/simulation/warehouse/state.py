"""What a robot's sensors say, and where everything truly is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class State:
    """What the sensors of a robot say."""

    time_s: float
    position: np.ndarray
    speed: np.ndarray
    touched: tuple[bool, ...]
    """Per arm: whether both pads touch one thing."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """Where everything that moves truly is: for eyes, cameras and judges, never for planning."""

    time_s: float
    simulated_s: float
    poses: dict[str, np.ndarray]
    """Name to float64 ``(7,)``: metres, quaternion wxyz."""


def yaw_of(pose: np.ndarray) -> float:
    """Return the heading of an upright pose, radians."""
    w, x, y, z = pose[3:]
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
