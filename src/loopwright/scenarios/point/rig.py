"""The point as a robot with a safety filter: the smallest rig there is, for tests and guides.

Shapes: N = 2 coordinates, P = 1 watched point, K steps of a forecast.
"""

from __future__ import annotations

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.safety.body import BodySpec, Forecast, Measured, Places, RobotEntry
from loopwright.safety.ladder.filter import SafetyFilter
from loopwright.safety.limits import Limits
from loopwright.scenarios.point.world import RATE_HZ, SPEED_M_S, PointWorld

SPEC = BodySpec(
    robot="point-v1",
    coordinates=("x", "y"),
    units=("m", "m"),
    kinds=("speed", "speed"),
    points=("point",),
    rate_hz=RATE_HZ,
    safe_state="zero-speed",
    build=digest_json("kinematic point, 1"),
)
LIMITS = Limits(
    position_low=(-0.95, -0.95),
    position_high=(0.95, 0.95),
    speed=(SPEED_M_S, SPEED_M_S),
    point_speed_m_s=2.2,
    deceleration=(15.0, 15.0),
    point_deceleration_m_s2=15.0,
    slew=(30.0, 30.0),
    reaction_s=0.001,
    position_margin=0.01,
    distance_margin_m=0.01,
    headroom=1.0,
    overspeed_gain=10.0,
    stale_s=0.3,
    forecast_hold_steps=1,
    forecast_brake_steps=2,
    servo_lag_s=0.001,
    residual=(1.0, 1.0),
    residual_s=0.3,
)
"""Choices for a toy; no machine has them."""


class PointBody:
    """The point moves as commanded, at once."""

    spec = SPEC

    def place(self, position: np.ndarray) -> Places:
        """Return where the point is: at its coordinates."""
        jacobian = np.zeros((1, 3, 2))
        jacobian[0, 0, 0] = jacobian[0, 1, 1] = 1.0
        return Places(position_m=np.array([[*position, 0.0]]), jacobian=jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        """Return a straight line, and then a stand."""
        speed = np.zeros((hold_steps + brake_steps, 2))
        speed[:hold_steps] = command
        position = measured.position + np.cumsum(speed, axis=0) / RATE_HZ
        points = np.concatenate([position, np.zeros((len(position), 1))], axis=1)
        return Forecast(position=position, speed=speed, points_m=points[:, None])


class WatchedPoint:
    """The plane with limits: kept with the filter, counted with and without it."""

    def __init__(self, *, filtered: bool, image_px: int) -> None:
        """Build the plane; ``filtered`` puts the ladder between policy and point."""
        self._world = PointWorld(body="robot", image_px=image_px)
        self._filtered = filtered
        self._filter = SafetyFilter(PointBody(), LIMITS)
        self._steps = 0
        self.violations = self.trips = 0

    def reset(self, seed: int) -> Observation:
        """Start over, with a released brake and nothing counted."""
        observation = self._world.reset(seed)
        self._steps = self.violations = self.trips = 0
        self._filter.release()
        self._filter.reset(self._measured(np.zeros(2)))
        self._speed = np.zeros(2)
        return observation

    def step(self, action: np.ndarray) -> WorldStep:
        """Move by what may be applied, and look whether a limit is broken."""
        applied = np.asarray(action, np.float64) * SPEED_M_S
        if self._filtered:
            now = self._measured(self._speed)
            decision = self._filter.step(applied, now.time_s, now)
            applied = decision.applied
            self.trips = int(self._filter.latched is not None)
        before = self._world.position_m
        step = self._world.step((applied / SPEED_M_S).astype(np.float32))
        self._steps += 1
        self._speed = (self._world.position_m - before) * RATE_HZ
        self.violations += self._is_beyond()
        return step

    def close(self) -> None:
        """Release the plane."""
        self._world.close()

    def _measured(self, speed: np.ndarray) -> Measured:
        return Measured(
            position=self._world.position_m.copy(), speed=speed, time_s=self._steps / RATE_HZ
        )

    def _is_beyond(self) -> bool:
        position, allowance = self._world.position_m, 1e-6
        return bool(
            np.any(position < np.array(LIMITS.position_low) - allowance)
            or np.any(position > np.array(LIMITS.position_high) + allowance)
            or np.linalg.norm(self._speed) > LIMITS.point_speed_m_s + allowance
        )


class PointRig:
    """The point with its filter."""

    spec = SPEC
    entry = RobotEntry(body="loopwright.scenarios.point.rig:PointBody")

    def __init__(self, image_px: int = 16) -> None:
        """Choose the side of the image, as for the scenario."""
        self._image_px = image_px
        self.filter = SafetyFilter(PointBody(), LIMITS).digest

    def make_world(self, *, filtered: bool) -> WatchedPoint:
        """Build the plane with the filter on or off."""
        return WatchedPoint(filtered=filtered, image_px=self._image_px)
