"""Putting the warehouse where a seed of a task begins."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import numpy as np

from loopwright.scenarios.warehouse.task import PARAMETERS, Goal, WarehouseTask, start_vector
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import ARM_HOME_RAD, arm_joints, arms_of, base_joints
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.state import yaw_of

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


def start_of(world: Warehouse, robot: str, goal: Goal) -> dict[str, float]:
    """Return where in a task's domain, or beyond it, a world is: the inverse of :func:`begin`."""
    if goal.skill == "drive":
        x, y, heading_rad = world.stands_at(robot)
        docks = [np.array(d) for (name, _), d in layout.DOCKS.items() if name == robot]
        values = min((np.array([x, y, heading_rad]) - d for d in docks), key=np.linalg.norm)
    elif goal.skill == "pick":
        body, (centre_x, centre_y) = world.data.body(goal.object), _centre_m(world, goal.surface)
        turn_rad = yaw_of(np.concatenate([body.xpos, body.xquat]))
        values = np.array([body.xpos[0] - centre_x, body.xpos[1] - centre_y, turn_rad])
    else:
        tools = {arm: world.data.site(f"{arm}/tool").xpos for arm in arms_of(robot)}
        middle_m = world.data.body(goal.object).xpos
        arm = min(tools, key=lambda arm: float(np.linalg.norm(tools[arm] - middle_m)))
        joints = [float(world.data.joint(joint).qpos[0]) for joint in arm_joints(arm)]
        values = (np.array(joints) - ARM_HOME_RAD)[list(_VARIED_JOINTS)]
    return dict(zip(PARAMETERS[goal.skill], values.tolist(), strict=True))


def nudge(world: Warehouse, robot: str, goal: Goal, x_m: float, y_m: float) -> None:
    """Move what lies free, or the base of a robot that is to drive, a little."""
    if goal.skill == "drive":
        x, y, heading_rad = world.stands_at(robot)
        world.place(base_joints(robot), (x + x_m, y + y_m, heading_rad))
        return
    for name in layout.CUBES:
        geom = world.model.geom(name).id
        if not any(other.holds(geom) for other in world.robots.values()):
            world.shift_object(name, x_m, y_m)


def _centre_m(world: Warehouse, surface: str) -> tuple[float, float]:
    if surface in layout.SURFACES:
        return layout.SURFACES[surface].centre_m
    x, y, _ = world.stands_at(surface)
    return x, y


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
