"""Putting the warehouse where a seed of a task begins."""

from __future__ import annotations

import numpy as np

from loopwright.scenarios.warehouse.task import Goal, WarehouseTask, start_vector
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import ARM_HOME_RAD, arm_joints, arms_of, base_joints
from loopwright.simulation.warehouse.physics import Warehouse

_GRASP_M = layout.CUBE_M / 2
_SETTLE_STEPS = 20
_VARIED_JOINTS = (0, 3, 5)


def begin(task: WarehouseTask, world: Warehouse, seed: int) -> Goal:
    """Put everything where a seed begins, let it come to rest, and return what is asked for."""
    goal, start = task.goal(seed), start_vector(task, task.start(seed))
    if task.skill == "drive":
        dock = np.array(layout.DOCKS[task.robot, task.origin(seed)])
        world.place(base_joints(task.robot), (dock + start).tolist())
    centre_m = layout.SURFACES[task.surface].centre_m if task.surface else (0.0, 0.0)
    for name, (x_m, y_m, turn_rad) in task.places(seed).items():
        place_m = (centre_m[0] + x_m, centre_m[1] + y_m, layout.TABLE_TOP_M + _GRASP_M)
        world.place_object(name, np.array(place_m), turn_rad)
    hold: np.ndarray | None = None
    if task.skill == "place":
        hold = _put_in_hand(world, task.robot, goal.object, start)
    world.settle()
    for _ in range(_SETTLE_STEPS):
        world.step({task.robot: hold})
    return goal


def _put_in_hand(world: Warehouse, robot: str, name: str, offsets: np.ndarray) -> np.ndarray:
    """Let the first hand of a robot hold an object; return the command that keeps it."""
    arm = arms_of(robot)[0]
    joints = np.array(ARM_HOME_RAD)
    joints[list(_VARIED_JOINTS)] += offsets
    world.place(arm_joints(arm), joints.tolist())
    world.place((f"{arm}/finger1", f"{arm}/finger2"), (_GRASP_M, _GRASP_M))
    world.settle()
    world.place_in_tool(name, arm)
    command = np.zeros(world.robots[robot].size)
    command[len(command) - len(arms_of(robot)) :] = [
        1.0 if other == arm else -1.0 for other in arms_of(robot)
    ]
    return command
