"""The point as a robot with limits: the smallest rig there is, for tests and guides.

Shapes: N = 2 coordinates, P = 1 watched point, K steps of a forecast.
"""

from __future__ import annotations

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.core.interface import Observation
from loopwright.core.scenario import Scenario
from loopwright.safety.body import BodySpec, Forecast, Measured, Places, RobotEntry
from loopwright.safety.limits import Limits
from loopwright.scenarios.point.world import RATE_HZ, SPEED_M_S
from loopwright.scenarios.watched import Rig

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


class PointCoupling:
    """Actions are shares of the top speed; speeds are differences of positions."""

    def __init__(self) -> None:
        """Begin before the first observation."""
        self._last: Measured | None = None

    def measure(self, observation: Observation, *, starts: bool) -> Measured:
        """Return where the point is and how it came there."""
        position = observation.proprio[:2].astype(np.float64)
        last = None if starts else self._last
        speed = np.zeros(2) if last is None else (position - last.position) * RATE_HZ
        self._last = Measured(position=position, speed=speed, time_s=observation.time_s)
        return self._last

    def request(self, action: object) -> object:
        """Return the speed that an action asks for."""
        return action * SPEED_M_S if isinstance(action, np.ndarray) else action

    def action(self, command: np.ndarray) -> np.ndarray:
        """Return the action of a speed."""
        return (command / SPEED_M_S).astype(np.float32)


def make_body() -> PointBody:
    """Return the point."""
    return PointBody()


def make_rig(scenario: Scenario) -> Rig:
    """Return the point in the plane of a scenario, with its limits."""
    return Rig(
        spec=SPEC,
        entry=RobotEntry(body="loopwright.scenarios.point.safety:make_body"),
        body=PointBody(),
        limits=LIMITS,
        world=scenario.make_world,
        coupling=PointCoupling,
    )
