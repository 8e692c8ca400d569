"""Putting everything where it was, to draw it."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np

from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import FINGER_WAY_M, arms_of, coordinates_of

Frame = tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, tuple[bool, ...]]]
"""Poses of what moves, coordinates of the robots, and what their hands touch, by name."""
_GRASP_M = layout.CUBE_M / 2


def place(model: object, data: object, frame: Frame) -> None:
    """Put everything where it was in one frame."""
    poses, positions, touched = frame
    for cube in layout.CUBES:
        start = model.body(cube).jntadr[0]
        address = model.jnt_qposadr[start]
        data.qpos[address : address + 7] = poses[cube]
    for robot, position in positions.items():
        joints = coordinates_of(robot)
        for joint, value in zip(joints, position, strict=False):
            data.qpos[model.joint(joint).qposadr[0]] = value
        for arm, holds in zip(arms_of(robot), touched[robot], strict=True):
            for finger in (1, 2):
                opening = _GRASP_M if holds else FINGER_WAY_M
                data.qpos[model.joint(f"{arm}/finger{finger}").qposadr[0]] = opening
