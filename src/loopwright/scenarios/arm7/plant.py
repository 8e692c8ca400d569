"""The arm as a body for the filter, as a plant to simulate, and its limits.

Body and plant take the same arguments, so that one configuration makes both; the body leaves the
mismatch out, for that is what it does not know.
"""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from loopwright.safety.body import RobotEntry
from loopwright.safety.limits import Limits, limits_for
from loopwright.safety.occurrence.rules import read_rules, ruled
from loopwright.scenarios.arm7.model import JOINTS, POINTS, RATE_HZ, Mismatch, scene
from loopwright.simulation.mujoco_body import MujocoBody, MujocoPlant, Wiring

HOME_RAD = (0.0, -0.7854, 0.0, -2.3562, 0.0, 1.5708, 0.7854)
START_SPREAD_RAD = 0.3
"""Starts lie so far around the home position, joint by joint; all are within the limits."""

WIRING = Wiring(
    robot="arm7-v1",
    joints=JOINTS,
    points=POINTS,
    rate_hz=RATE_HZ,
    stop_deceleration=(7.5, 7.5, 7.5, 7.5, 10.0, 10.0, 10.0),
)


def make_body(
    *, payload_kg: float = 0.0, friction_nm: float = 0.0, delay_steps: int = 0
) -> MujocoBody:
    """Return the nominal arm; load, friction and delay are taken and left out."""
    return MujocoBody(mujoco.MjModel.from_xml_string(scene(Mismatch())), WIRING)


def make_plant(
    *, payload_kg: float = 0.0, friction_nm: float = 0.0, delay_steps: int = 0
) -> MujocoPlant:
    """Return a simulated arm.

    Args:
        payload_kg: A load in its hand that gravity compensation does not know of.
        friction_nm: Dry friction of the large joints.
        delay_steps: Control steps from a command to the drives.
    """
    mismatch = Mismatch(payload_kg=payload_kg, friction_nm=friction_nm)
    model = mujoco.MjModel.from_xml_string(scene(mismatch))
    return MujocoPlant(model, WIRING, start=_start, delay_steps=delay_steps)


def make_limits(
    profile: str = "reduced-speed", overrides: Mapping[str, Any] | None = None
) -> Limits:
    """Return the limits of the arm: what its model states, its table, a profile, overrides.

    Rules that came out of occurrences and hazards bind whatever was chosen.
    """
    body = make_body()
    chosen = limits_for(body.spec, profile, {**body.parts.stated_limits(), **(overrides or {})})
    return ruled(chosen, body.spec.robot, read_rules())


def robot_entry(**config: float) -> RobotEntry:
    """Return how another process comes by this arm."""
    module = "loopwright.scenarios.arm7.plant"
    return RobotEntry(body=f"{module}:make_body", plant=f"{module}:make_plant", config={**config})


def _start(random: np.random.Generator) -> np.ndarray:
    return np.array(HOME_RAD) + random.uniform(-START_SPREAD_RAD, START_SPREAD_RAD, 7)
