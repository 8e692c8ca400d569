"""The physics of the warehouse, one control step after another, in nobody's time but its own."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.body import wiring
from loopwright.simulation.warehouse.layout import MOBILE, SEEN
from loopwright.simulation.warehouse.model import (
    ARM_HOME_RAD,
    FINGER_WAY_M,
    RATE_HZ,
    TIMESTEP_S,
    arm_joints,
    arms_of,
    base_joints,
    coordinates_of,
    scene,
)
from loopwright.simulation.warehouse.state import Scene, State

_HOLD_GAIN_PER_S = 20.0
_WHOLE = mujoco.mjtState.mjSTATE_INTEGRATION
_SUBSTEPS = round(1.0 / (RATE_HZ * TIMESTEP_S))


class SimulatedRobot:
    """One robot in the shared simulation: where its numbers are, and how it stops."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, robot: str) -> None:
        """Look everything up."""
        self.robot, self._data = robot, data
        joints, self._arms = coordinates_of(robot), arms_of(robot)
        self._qpos = [model.joint(j).qposadr[0] for j in joints]
        self._dof = [model.joint(j).dofadr[0] for j in joints]
        drives = [model.actuator(j).id for j in joints]
        self._ctrl = [*drives, *(model.actuator(f"{arm}/grip").id for arm in self._arms)]
        self._pads = [
            (model.geom(f"{arm}/pad1").id, model.geom(f"{arm}/pad2").id) for arm in self._arms
        ]
        self._joints, self.size = len(joints), len(self._ctrl)
        self._brakes = np.array(wiring(robot).stop_deceleration)
        self._stands = False
        self._held_at, self._slowing = np.zeros(len(joints)), np.zeros(len(joints))

    def drive(self, applied: np.ndarray | None) -> None:
        """Let the motors follow a command, float64 ``(N,)``; None to brake and stand."""
        if applied is None:
            self._stand()
        else:
            self._stands = False
            self._data.ctrl[self._ctrl] = applied

    def _stand(self) -> None:
        """Brake, then hold the position; what is gripped stays gripped."""
        data = self._data
        if not self._stands:
            self._stands = True
            self._held_at = data.qpos[self._qpos].copy()
            self._slowing = data.qvel[self._dof].copy()
        slower = self._brakes / RATE_HZ
        self._slowing -= np.clip(self._slowing, -slower, slower)
        self._held_at += self._slowing / RATE_HZ
        error = self._held_at - data.qpos[self._qpos]
        data.ctrl[self._ctrl[: self._joints]] = self._slowing + _HOLD_GAIN_PER_S * error

    def state(self, time_s: float) -> State:
        """Return what its sensors say."""
        position, speed = np.zeros(self.size), np.zeros(self.size)
        position[: self._joints] = self._data.qpos[self._qpos]
        speed[: self._joints] = self._data.qvel[self._dof]
        touched = tuple(self._touch(pads) for pads in self._pads)
        return State(time_s=time_s, position=position, speed=speed, touched=touched)

    def stance(self) -> np.ndarray:
        """Return what it remembers between steps beside the physics, float64 ``(1 + 2 J,)``."""
        return np.concatenate([[float(self._stands)], self._held_at, self._slowing])

    def take_stance(self, stance: np.ndarray) -> None:
        """Remember what :meth:`stance` returned."""
        self._stands = bool(stance[0])
        self._held_at, self._slowing = np.split(stance[1:].copy(), 2)

    def holds(self, geom: int) -> bool:
        """Tell whether both pads of one hand touch a thing."""
        return any(geom in self._touched(pads) for pads in self._pads)

    def _touch(self, pads: tuple[int, int]) -> bool:
        """Tell whether both pads touch one thing."""
        return bool(self._touched(pads))

    def _touched(self, pads: tuple[int, int]) -> set[int]:
        """Return what both pads touch."""
        pairs = self._data.contact.geom
        touched = []
        for pad in pads:
            mine = pairs[(pairs == pad).any(axis=1)]
            touched.append(set(mine[mine != pad].tolist()))
        return touched[0] & touched[1]


class Warehouse:
    """The simulation."""

    def __init__(self) -> None:
        """Build it, everything at its start and at rest."""
        self.model = mujoco.MjModel.from_xml_string(scene())
        self.data = mujoco.MjData(self.model)
        for robot, start in layout.ROBOTS.items():
            if robot in MOBILE:
                self.place(base_joints(robot), start)
            for arm in arms_of(robot):
                self.place(arm_joints(arm), ARM_HOME_RAD)
                self.place((f"{arm}/finger1", f"{arm}/finger2"), (FINGER_WAY_M,) * 2)
                self.data.ctrl[self.model.actuator(f"{arm}/grip").id] = -1.0
        mujoco.mj_forward(self.model, self.data)
        self.robots = {name: SimulatedRobot(self.model, self.data, name) for name in layout.ROBOTS}

    def step(self, applied: Mapping[str, np.ndarray | None]) -> None:
        """Let one control step pass; robots that are not named stand."""
        for name, robot in self.robots.items():
            robot.drive(applied.get(name))
        mujoco.mj_step(self.model, self.data, _SUBSTEPS)

    def scene(self, time_s: float) -> Scene:
        """Return where everything is."""
        poses = {
            name: np.concatenate([self.data.body(name).xpos, self.data.body(name).xquat])
            for name in SEEN
        }
        return Scene(time_s=time_s, simulated_s=self.data.time, poses=poses)

    def moment(self) -> np.ndarray:
        """Return everything that the future depends on but commands, float64 ``(M,)``.

        The same moment and the same commands give the same future, to the last bit, with the same
        build of the physics engine on the same kind of processor.
        """
        state = np.empty(mujoco.mj_stateSize(self.model, _WHOLE))
        mujoco.mj_getState(self.model, self.data, state, _WHOLE)
        return np.concatenate([state, *(robot.stance() for robot in self.robots.values())])

    def apart(self, moment: np.ndarray, other: np.ndarray) -> float:
        """Return by how much the positions of two moments differ at most, in metres or radians."""
        positions = slice(1, 1 + self.model.nq)  # the time comes before them
        return float(np.abs(moment[positions] - other[positions]).max())

    def restore(self, moment: np.ndarray) -> None:
        """Go back to what :meth:`moment` returned.

        Raises:
            DamagedData: It is the moment of another world.
        """
        sizes = [robot.stance().size for robot in self.robots.values()]
        whole = mujoco.mj_stateSize(self.model, _WHOLE)
        if moment.shape != (whole + sum(sizes),) or not np.isfinite(moment).all():
            raise DamagedData(
                f"a moment has the shape {moment.shape}, expected ({whole + sum(sizes)},) "
                "finite numbers; it is that of another version of the warehouse"
            )
        mujoco.mj_setState(self.model, self.data, moment[:whole].copy(), _WHOLE)
        # Places and contacts follow from the state; nothing here alters what the next step does.
        mujoco.mj_fwdPosition(self.model, self.data)
        stances = np.split(moment[whole:], np.cumsum(sizes)[:-1])
        for robot, stance in zip(self.robots.values(), stances, strict=True):
            robot.take_stance(stance)

    def stands_at(self, robot: str) -> tuple[float, float, float]:
        """Return where a robot stands: x and y in metres, heading in radians."""
        if robot not in MOBILE:
            return layout.ROBOTS[robot]
        x, y, heading_rad = (float(self.data.joint(j).qpos[0]) for j in base_joints(robot))
        return x, y, heading_rad

    def place(self, joints: Sequence[str], values: Sequence[float]) -> None:
        """Put joints somewhere; call :meth:`settle` once all are where they shall be."""
        for joint, value in zip(joints, values, strict=True):
            self.data.qpos[self.model.joint(joint).qposadr[0]] = value

    def place_object(self, name: str, position_m: np.ndarray, turn_rad: float) -> None:
        """Put an object somewhere, upright."""
        half = turn_rad / 2
        address = self.model.jnt_qposadr[self.model.body(name).jntadr[0]]
        self.data.qpos[address : address + 3] = position_m
        self.data.qpos[address + 3 : address + 7] = (math.cos(half), 0.0, 0.0, math.sin(half))

    def shift_object(self, name: str, x_m: float, y_m: float) -> None:
        """Move an object a little, as it lies."""
        address = self.model.jnt_qposadr[self.model.body(name).jntadr[0]]
        self.data.qpos[address : address + 2] += (x_m, y_m)

    def place_in_tool(self, name: str, arm: str) -> None:
        """Put an object between the pads of an arm, as the hand is turned; see :meth:`settle`."""
        tool = self.data.site(f"{arm}/tool")
        address = self.model.jnt_qposadr[self.model.body(name).jntadr[0]]
        self.data.qpos[address : address + 3] = tool.xpos
        mujoco.mju_mat2Quat(self.data.qpos[address + 3 : address + 7], tool.xmat)

    def is_diverged(self) -> bool:
        """Tell whether the physics went to infinity; the engine itself only warns and resets."""
        bad = (
            mujoco.mjtWarning.mjWARN_BADQPOS,
            mujoco.mjtWarning.mjWARN_BADQVEL,
            mujoco.mjtWarning.mjWARN_BADQACC,
        )
        return any(self.data.warning[w].number for w in bad)

    def settle(self) -> None:
        """Let everything follow that depends on where things were put."""
        mujoco.mj_forward(self.model, self.data)
