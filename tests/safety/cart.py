"""A body made of NumPy alone: a tool on two rails with a gripper, and two watched points.

All numbers are sums of powers of two, so that limits can be met exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from loopwright.safety.body import BodySpec, Forecast, Measured, Places
from loopwright.safety.ladder.situation import Situation
from loopwright.safety.limits import Limits

RATE_HZ = 64.0
PERIOD_S = 1 / RATE_HZ
TAIL_M = 1.0
"""From the tip to the tail along y; along x the tail moves twice as fast."""


class Cart:
    """x and y are commanded by speed, the grip by effort; the model follows at once."""

    spec = BodySpec(
        robot="cart-v1",
        coordinates=("x", "y", "grip"),
        units=("m", "m", "1"),
        kinds=("speed", "speed", "effort"),
        points=("tip", "tail"),
        rate_hz=RATE_HZ,
        safe_state="hold-position",
        build="numpy",
    )

    def __init__(self) -> None:
        self.asked: list[tuple[np.ndarray, int, int]] = []
        self.shift_m = np.zeros(3)
        """Added to every forecast place."""

    def place(self, position: np.ndarray) -> Places:
        x, y, _ = position
        jacobian = np.array([np.eye(3), np.diag([2.0, 1.0, 1.0])])
        jacobian[:, :, 2] = 0.0
        points = np.array([[x, y, 0.0], [2 * x, y + TAIL_M, 0.0]])
        return Places(position_m=points, jacobian=jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        self.asked.append((command.copy(), hold_steps, brake_steps))
        steps = hold_steps + brake_steps
        speed = np.zeros((steps, 3))
        speed[:hold_steps, :2] = command[:2]
        position = measured.position + np.cumsum(speed, 0) * PERIOD_S
        points = np.array([self.place(p).position_m for p in position]) + self.shift_m
        return Forecast(position=position, speed=speed, points_m=points)


def limits(**changes: Any) -> Limits:
    values: dict[str, Any] = {
        "position_low": (-8.0, -8.0, 0.0),
        "position_high": (8.0, 8.0, 0.0),
        "speed": (4.0, 4.0, 2.0),
        "point_speed_m_s": 64.0,
        "deceleration": (4.0, 4.0, 1.0),
        "point_deceleration_m_s2": 2.0,
        "slew": (8.0, 8.0, 1.0),
        "reaction_s": 0.25,
        "position_margin": 0.5,
        "distance_margin_m": 0.25,
        "headroom": 0.5,
        "overspeed_gain": 2.0,
        "stale_s": 0.125,
        "forecast_hold_steps": 2,
        "forecast_brake_steps": 4,
        "servo_lag_s": 0.03125,
        "residual": (0.5, 0.5, 1.0),
        "residual_s": 0.0625,
    }
    return Limits(**(values | changes))


def measured(
    x: float = 0.0, y: float = 0.0, *, vx: float = 0.0, vy: float = 0.0, time_s: float = 0.0
) -> Measured:
    return Measured(position=np.array([x, y, 0.0]), speed=np.array([vx, vy, 0.0]), time_s=time_s)


def situation(its_limits: Limits, where: Measured, previous: Any = (0.0, 0.0, 0.0)) -> Situation:
    now = Situation(Cart.spec, its_limits)
    now.update(where, Cart().place(where.position))
    now.previous[:] = previous
    return now
