"""The robots of the warehouse as bodies for the safety filter, with their limits."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import mujoco

from loopwright.safety.body import RobotEntry
from loopwright.safety.limits import Limits, Wall
from loopwright.simulation.mujoco_body import MujocoBody, Wiring
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import RATE_HZ, arms_of, coordinates_of, scene

_ARM_BRAKES = (6.0, 6.0, 6.0, 6.0, 8.0, 8.0, 8.0)
_BASE_BRAKES = (1.5, 1.5, 2.0)
_GRIP_PER_S = 200.0
_LOWEST_HAND_M = 0.33
"""A hand never goes lower: the cart's deck is the lowest thing that anything lies on."""
HAND_SPEED_M_S = 1.2
"""How fast a hand may go; a base in motion carries its arm along."""


def make_body(*, robot: str) -> MujocoBody:
    """Return the nominal model of one robot."""
    model = mujoco.MjModel.from_xml_string(scene((robot,), cubes=False))
    return MujocoBody(model, wiring(robot))


def entry(robot: str) -> RobotEntry:
    """Return how a process comes by a robot's body."""
    return RobotEntry(
        body="loopwright.simulation.warehouse.body:make_body", config={"robot": robot}
    )


def wiring(robot: str) -> Wiring:
    """Return which joints a robot is commanded by, and which points of it are watched."""
    base = _BASE_BRAKES if "base" in layout.PARTS[robot] else ()
    arms = arms_of(robot)
    return Wiring(
        robot=f"warehouse-{robot}-v1",
        joints=coordinates_of(robot),
        points=tuple(f"{arm}/{site}" for arm in arms for site in ("elbow", "tool"))
        or (f"{robot}/middle",),
        rate_hz=RATE_HZ,
        stop_deceleration=(*base, *(_ARM_BRAKES * len(arms))),
        safe_state="hold-position",
        efforts=tuple(f"{arm}/grip" for arm in arms),
    )


def limits_of(robot: str) -> Limits:
    """Return the limits of a robot: what its model states, the table tops, and own choices."""
    parts = make_body(robot=robot).parts
    stated = parts.stated_limits()
    arms, efforts = len(arms_of(robot)), len(wiring(robot).efforts)
    base = _BASE_BRAKES if "base" in layout.PARTS[robot] else ()
    brakes = (*base, *(_ARM_BRAKES * arms))
    spare = (_GRIP_PER_S,) * efforts
    return Limits(
        position_low=stated["position_low"],
        position_high=stated["position_high"],
        speed=stated["speed"],
        point_speed_m_s=HAND_SPEED_M_S,
        walls=(Wall(point_m=(0.0, 0.0, _LOWEST_HAND_M), inward=(0.0, 0.0, 1.0)),) if arms else (),
        deceleration=(*(0.5 * b for b in brakes), *spare),
        point_deceleration_m_s2=2.0,
        slew=(*(2.0 * b for b in brakes), *spare),
        reaction_s=0.03,
        position_margin=0.02,
        distance_margin_m=0.005,
        headroom=0.95,
        overspeed_gain=2.0,
        stale_s=2.5,
        forecast_hold_steps=4,
        forecast_brake_steps=8,
        servo_lag_s=0.02,
        residual=(*(0.25 for _ in brakes), *spare),
        residual_s=0.1,
    )
