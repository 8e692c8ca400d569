"""What a skill may ask of a robot of the warehouse: its columns, its reach, its docks."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from functools import partial

import mink
import mujoco
import numpy as np

from loopwright.core.errors import UnknownName
from loopwright.core.motion import GaveUp, Hands
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import (
    ARM_HOME_RAD,
    ARM_SPEED_RAD_S,
    BASE_SPEED,
    RATE_HZ,
    arm_joints,
    arms_of,
    base_joints,
    coordinates_of,
    scene,
)

_IK_STEPS = 120
_IK_STEP_S = 0.05
_CLOSE_M, _CLOSE_RAD = 0.002, 0.02
_STAYS_COST = 1e3
_IN_HAND_M = 0.08
_SPACING_M, _EDGE_M, _CLEAR_M = 0.09, 0.06, 0.085
_GIVES_M = 0.7
"""Distance from a shoulder up to which an arm reaches the deck of a cart."""
_HANDY_M = 0.55
"""Distance from a shoulder at which an arm works best."""


class WarehouseDriver:
    """One robot of the warehouse, as its skills see it. Holds a nominal model of its own."""

    def __init__(self, robot: str) -> None:
        """Look the robot up.

        Raises:
            UnknownName: There is none of that name.
        """
        if robot not in layout.ROBOTS:
            raise UnknownName("robot", robot, layout.ROBOTS)
        self.robot = robot
        self.arms = arms_of(robot)
        self.coordinates = (*coordinates_of(robot), *(f"{arm}/grip" for arm in self.arms))
        self.size, self.rate_hz = len(self.coordinates), RATE_HZ
        self._model = mujoco.MjModel.from_xml_string(scene((robot,), cubes=False))
        joints = coordinates_of(robot)
        self._joints = len(joints)
        self._qpos = [self._model.joint(name).qposadr[0] for name in joints]
        self._dof = [int(self._model.joint(name).dofadr[0]) for name in joints]
        self.held: dict[str, bool] = {}
        """Arm to whether its hand feels something; kept by whoever reads the hand's sensors."""
        self.speed = np.array([self._top_speed(name) for name in joints])

    def columns(self, arm: str) -> list[int]:
        """Return the columns of an arm's joints."""
        return [self.coordinates.index(joint) for joint in arm_joints(arm)]

    def grip(self, arm: str) -> int:
        """Return the column of an arm's gripper: 1 closes, -1 opens."""
        return self.coordinates.index(f"{arm}/grip")

    @property
    def base(self) -> list[int]:
        """Columns of the base: x, y, heading; none for robots that stand."""
        if "base" not in layout.PARTS[self.robot]:
            return []
        return [self.coordinates.index(joint) for joint in base_joints(self.robot)]

    def home(self) -> np.ndarray:
        """Return the joints of an arm at rest, float64 ``(7,)``."""
        return np.array(ARM_HOME_RAD)

    def dock(self, station: str) -> np.ndarray:
        """Return where the base stands at a station: x, y, heading.

        Raises:
            GaveUp: It has no place there.
        """
        pose = layout.DOCKS.get((self.robot, station))
        if pose is None:
            raise GaveUp(f"{self.robot} has no place to stand at {station}")
        return np.array(pose)

    def free_arms(self, position: np.ndarray, target_m: np.ndarray) -> list[str]:
        """Return the arms with a free hand, the one to take something with first.

        That is one that can also give it to a cart that docks beside, then the nearest one.

        Raises:
            GaveUp: No hand is free.
        """
        data = self._placed(position)
        shoulder_m = {arm: data.body(f"{arm}/mount").xpos.copy() for arm in self.arms}
        decks_m = [
            np.array(pose[:2])
            for (robot, _), pose in layout.DOCKS.items()
            if "arm" not in layout.PARTS[robot]
        ]

        def order(arm: str) -> tuple[bool, float]:
            gives = any(_apart(shoulder_m[arm][:2], deck) < _GIVES_M for deck in decks_m)
            return not gives, _apart(shoulder_m[arm], target_m)

        free = [arm for arm in self.arms if not self.held.get(arm)]
        if not free:
            raise GaveUp(f"{self.robot} has no hand free")
        return sorted(free, key=order)

    def nearest_tool(self, position: np.ndarray, target_m: np.ndarray) -> str:
        """Return the arm whose tool is nearest to a point: the one that holds what is there.

        Raises:
            GaveUp: None is near.
        """
        data = self._placed(position)
        away_m = {arm: _apart(data.site(f"{arm}/tool").xpos, target_m) for arm in self.arms}
        arm = min(away_m, key=lambda arm: away_m[arm])
        if away_m[arm] > _IN_HAND_M:
            raise GaveUp(f"no hand of {self.robot} is where the object is believed to be")
        return arm

    def tool(self, arm: str, position: np.ndarray) -> np.ndarray:
        """Return where an arm's tool is, float64 ``(3,)``, metres in the world's frame."""
        return self._placed(position).site(f"{arm}/tool").xpos.copy()

    def grips(self) -> np.ndarray:
        """Return a command that keeps still and keeps what is held, float64 ``(N,)``."""
        command = np.zeros(self.size)
        for arm in self.arms:
            command[self.grip(arm)] = 1.0 if self.held.get(arm) else -1.0
        return command

    def spots(self, hands: Hands, arm: str, surface: str) -> list[np.ndarray]:
        """Return where on a surface an arm may put down an object, the handiest first.

        Each float64 ``(3,)``; the middle of the object goes there. What lies on the surface already
        is kept clear of.

        Raises:
            GaveUp: The surface is full, or is nowhere.
        """
        top_m, turned_rad, (width, depth) = self._top(hands, surface)
        columns = np.arange(-width / 2 + _EDGE_M, width / 2 - _EDGE_M + 1e-9, _SPACING_M)
        rows = np.arange(-depth / 2 + _EDGE_M, depth / 2 - _EDGE_M + 1e-9, _SPACING_M)
        cos, sin = math.cos(turned_rad), math.sin(turned_rad)
        lift = np.array([0.0, 0.0, layout.CUBE_M / 2])
        all_m = [
            top_m + lift + [cos * x - sin * y, sin * x + cos * y, 0.0]
            for x in columns
            for y in rows
        ]
        others_m = [m for m in map(partial(_seen, hands), layout.CUBES) if m is not None]
        free = [spot for spot in all_m if all(_apart(spot, other) > _CLEAR_M for other in others_m)]
        if not free:
            raise GaveUp(f"there is no room left on {surface}")
        shoulder_m = self._placed(hands.position).body(f"{arm}/mount").xpos.copy()
        return sorted(free, key=lambda spot: abs(_apart(spot, shoulder_m) - _HANDY_M))

    def way(self, start: np.ndarray, goal: str) -> list[np.ndarray]:
        """Return the poses by which a base drives to its place at a station.

        It backs out into the aisle, goes along it, and comes in again.

        Raises:
            GaveUp: It has no place there.
        """
        end = self.dock(goal)
        aisle = [np.array([layout.AISLE_X_M, p[1], p[2]]) for p in (start, end)]
        if abs(start[1] - end[1]) < 1.0 and abs(start[0] - end[0]) < 1.0:
            return [end]
        turned = aisle[0].copy()
        turned[2] = end[2]
        return [aisle[0], turned, aisle[1], end]

    def reach(
        self, arm: str, position: np.ndarray, target_m: np.ndarray, heading_rad: float
    ) -> np.ndarray:
        """Return joints that bring an arm's tool to a point, pointing down.

        Damped differential inverse kinematics, repeated to convergence (mink; Zakka 2024).

        Args:
            arm: Which arm.
            position: All coordinates as measured, float64 ``(N,)``; the solution is near to them.
            target_m: Where to, float64 ``(3,)``, in the world's frame.
            heading_rad: About the vertical; a quarter turn more is the same to a cube.

        Raises:
            GaveUp: It is out of reach.
        """
        near = position[self.columns(arm)]
        found = [
            joints
            for turn in range(4)
            if (joints := self._solve(arm, position, target_m, heading_rad + turn * math.pi / 2))
            is not None
        ]
        if not found:
            x, y, z = target_m
            raise GaveUp(f"({x:.2f}, {y:.2f}, {z:.2f}) m is out of reach of {arm}")
        return min(found, key=lambda joints: float(np.abs(joints - near).max()))

    def _solve(
        self, arm: str, position: np.ndarray, target_m: np.ndarray, heading_rad: float
    ) -> np.ndarray | None:
        data = self._placed(position)
        configuration = mink.Configuration(self._model, q=data.qpos.copy())
        task = mink.FrameTask(f"{arm}/tool", "site", position_cost=1.0, orientation_cost=0.4)
        half = heading_rad / 2
        # Turned half about x, so that the tool's z points down, then about the vertical.
        down = np.array([0.0, math.cos(half), math.sin(half), 0.0])
        task.set_target(
            mink.SE3.from_rotation_and_translation(mink.SO3(wxyz=down), np.asarray(target_m))
        )
        limits = [mink.ConfigurationLimit(self._model)]
        columns = self.columns(arm)
        own = [self._dof[c] for c in columns]
        # The base and other arms stay: what they would do to come nearer, this arm must do itself.
        stays = np.full(self._model.nv, _STAYS_COST)
        stays[own] = 0.0
        others = mink.DampingTask(self._model, stays)
        for _ in range(_IK_STEPS):
            error = task.compute_error(configuration)
            if np.linalg.norm(error[:3]) < _CLOSE_M and np.linalg.norm(error[3:]) < _CLOSE_RAD:
                return np.array([configuration.q[self._qpos[c]] for c in columns])
            velocity = mink.solve_ik(
                configuration, [task, others], _IK_STEP_S, "daqp", damping=1e-3, limits=limits
            )
            moved = np.zeros_like(velocity)
            moved[own] = velocity[own]
            configuration.integrate_inplace(moved, _IK_STEP_S)
        return None

    def _placed(self, position: np.ndarray) -> mujoco.MjData:
        data = mujoco.MjData(self._model)
        data.qpos[self._qpos] = position[: self._joints]
        mujoco.mj_kinematics(self._model, data)
        return data

    def _top(self, hands: Hands, surface: str) -> tuple[np.ndarray, float, tuple[float, float]]:
        """Return centre, heading and size of a surface's top."""
        if surface in layout.SURFACES:
            table = layout.SURFACES[surface]
            return np.array([*table.centre_m, layout.TABLE_TOP_M]), 0.0, table.size_m
        pose = hands.where(surface)
        heading_rad = 2 * math.atan2(pose[6], pose[3])
        return pose[:3] + np.array(layout.DECK_M), heading_rad, layout.DECK_SIZE_M[:2]

    def _top_speed(self, joint: str) -> float:
        part = joint.rpartition("/")[2]
        if part in ("x", "y", "heading"):
            return BASE_SPEED[("x", "y", "heading").index(part)]
        return ARM_SPEED_RAD_S[int(part.removeprefix("joint")) - 1]


def _apart(a_m: np.ndarray, b_m: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(a_m) - np.asarray(b_m)))


def _seen(hands: Hands, entity: str) -> np.ndarray | None:
    try:
        return hands.where(entity)[:3]
    except GaveUp:
        return None
