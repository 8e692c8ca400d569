"""What a policy of a warehouse robot sees and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.simulation.warehouse.model import (
    ARM_RANGES,
    ARM_SPEED_RAD_S,
    BASE_SPEED,
    RATE_HZ,
    arms_of,
    coordinates_of,
)

if TYPE_CHECKING:
    from loopwright.simulation.warehouse.physics import Warehouse

CAMERA = "shoulder"
HOLD = 5
"""Control steps of the robot for which a command holds: policies act at 20 Hz, guards at 100."""
_BASE_LOW, _BASE_HIGH = (-2.0, -2.0, -6.3), (7.0, 7.0, 6.3)


def interface_of(robot: str, image_px: int) -> Interface:
    """Return the interface of a robot.

    Proprioception is the position of every joint (a base: its pose) and, for every arm, whether
    its hand feels something and where its tool is. An action is what its drive takes: the speed
    of every joint and the grip of every hand.

    Raises:
        InvalidConfig: The side of the image is odd, below 16 px or above 480 px.
    """
    if image_px > 480:
        raise InvalidConfig(f"image_px is {image_px}; worlds draw at most 480 px")
    joints, arms = coordinates_of(robot), arms_of(robot)
    low, high, speed = (np.array(rows) for rows in zip(*map(_range, joints), strict=True))
    felt = tuple(f"{arm}/felt" for arm in arms)
    tools = tuple(f"{arm}/tool_{axis}" for arm in arms for axis in "xyz")
    margin = 0.05 * (high - low)
    return Interface(
        cameras=(CameraSpec(name=CAMERA, height_px=image_px, width_px=image_px),),
        proprio=VectorSpec(
            names=(*joints, *felt, *tools),
            units=(*map(_unit, joints), *("1" for _ in felt), *("m" for _ in tools)),
            low=(*(low - margin).tolist(), *(0.0 for _ in felt), *(-3.0 for _ in tools)),
            high=(*(high + margin).tolist(), *(1.0 for _ in felt), *(8.0 for _ in tools)),
        ),
        action=VectorSpec(
            names=(*joints, *(f"{arm}/grip" for arm in arms)),
            units=(*(f"{_unit(joint)}/s" for joint in joints), *("1" for _ in arms)),
            low=(*(-speed).tolist(), *(-1.0 for _ in arms)),
            high=(*speed.tolist(), *(1.0 for _ in arms)),
        ),
        rate_hz=RATE_HZ / HOLD,
    )


def proprio_of(world: Warehouse, robot: str) -> np.ndarray:
    """Return what a robot feels, float32 ``(P,)``."""
    state = world.robots[robot].state(0.0)
    joints = state.position[: len(coordinates_of(robot))]
    tools = [world.data.site(f"{arm}/tool").xpos for arm in arms_of(robot)]
    return np.concatenate([joints, np.array(state.touched, float), *tools]).astype(np.float32)


def _range(joint: str) -> tuple[float, float, float]:
    """Return the lowest and highest position and the largest speed of a joint."""
    part = joint.rpartition("/")[2]
    if part in ("x", "y", "heading"):
        axis = ("x", "y", "heading").index(part)
        return _BASE_LOW[axis], _BASE_HIGH[axis], BASE_SPEED[axis]
    number = int(part.removeprefix("joint")) - 1
    return *ARM_RANGES[number], ARM_SPEED_RAD_S[number]


def _unit(joint: str) -> str:
    return "m" if joint.endswith(("/x", "/y")) else "rad"
