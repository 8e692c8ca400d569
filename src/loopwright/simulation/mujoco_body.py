"""Any MuJoCo model whose joints are driven by speed actuators, as a body and as a plant.

The :class:`MujocoBody` is what the safety filter asks: it holds a nominal model of its own and
never sees the simulation. The :class:`MujocoPlant` is the simulation: it may differ from the
nominal model by a load, friction or delay that the filter does not know of.

Shapes: N coordinates (the joints, then the efforts), P points, K samples.
"""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, WorldError
from loopwright.core.seeds import generator
from loopwright.safety.body import BodySpec, Forecast, Measured, Places, SafeState
from loopwright.simulation.faults import SimulationDiverged

MOST_DELAY_STEPS = 64
_FORECAST_STEP_S = 0.01
_HOLD_GAIN_PER_S = 20.0
"""How fast a held position is regained; a velocity servo alone would sag under load."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wiring:
    """Which parts of a model are coordinates and watched points."""

    robot: str
    joints: tuple[str, ...]
    """Each a hinge or slide with one velocity actuator."""
    points: tuple[str, ...]
    """Names of sites."""
    rate_hz: float
    stop_deceleration: tuple[float, ...]
    """Of the joints, with which the safe state brakes."""
    safe_state: SafeState = "hold-position"
    efforts: tuple[str, ...] = ()
    """Names of further actuators that are commanded directly."""


class MujocoParts:
    """A wiring looked up in a model: addresses, and the limits that the model states."""

    def __init__(self, model: mujoco.MjModel, wiring: Wiring) -> None:
        """Look everything up.

        Raises:
            UnknownName: The model has no such joint, site or actuator.
            InvalidConfig: A joint is no hinge or slide, or is not driven by one speed actuator.
        """
        self.wiring, self.model = wiring, model
        joints = [_named(model, mujoco.mjtObj.mjOBJ_JOINT, "joint", n) for n in wiring.joints]
        sites = [_named(model, mujoco.mjtObj.mjOBJ_SITE, "site", n) for n in wiring.points]
        self.joints, self.site_numbers, self.sites = joints, sites, _run(sites)
        self.qpos = _run([int(model.jnt_qposadr[j]) for j in joints])
        self.dof = _run([int(model.jnt_dofadr[j]) for j in joints])
        drives = [_drive(model, joint) for joint in joints]
        efforts = [
            _named(model, mujoco.mjtObj.mjOBJ_ACTUATOR, "actuator", n) for n in wiring.efforts
        ]
        self.actuators, self.drives = _run(drives + efforts), _run(drives)
        if len(wiring.stop_deceleration) != len(joints):
            raise InvalidConfig(
                f"{wiring.robot}: {len(joints)} joints, but stop_deceleration has "
                f"{len(wiring.stop_deceleration)} numbers"
            )
        self.num_joints = len(joints)
        slides = [model.jnt_type[j] == mujoco.mjtJoint.mjJNT_SLIDE for j in joints]
        self.spec = BodySpec(
            robot=wiring.robot,
            coordinates=wiring.joints + wiring.efforts,
            units=tuple("m" if s else "rad" for s in slides) + ("1",) * len(efforts),
            kinds=("speed",) * len(joints) + ("effort",) * len(efforts),
            points=wiring.points,
            rate_hz=wiring.rate_hz,
            safe_state=wiring.safe_state,
            build=_build_digest(model),
        )

    def stated_limits(self) -> dict[str, tuple[float, ...]]:
        """Return the ranges and speeds that the model itself states, as fields of ``Limits``.

        Raises:
            InvalidConfig: A joint or actuator has no range.
        """
        model = self.model
        actuators = np.arange(model.nu)[self.actuators]
        for name, joint in zip(self.wiring.joints, self.joints, strict=True):
            if not model.jnt_limited[joint]:
                raise InvalidConfig(f"joint {name!r} has no range; state position_low and _high")
        for name, actuator in zip(self.spec.coordinates, actuators, strict=True):
            if not model.actuator_ctrllimited[actuator]:
                raise InvalidConfig(f"the drive of {name!r} has no ctrlrange; state its speed")
        spare = (0.0,) * len(self.wiring.efforts)
        ranges = model.jnt_range[self.joints]
        top = np.abs(model.actuator_ctrlrange[actuators]).min(1)
        return {
            "position_low": (*ranges[:, 0].tolist(), *spare),
            "position_high": (*ranges[:, 1].tolist(), *spare),
            "speed": tuple(top.tolist()),
        }

    def measure(self, data: mujoco.MjData) -> Measured:
        """Read the coordinates of a simulation; efforts read 0."""
        position, speed = np.zeros(self.spec.size), np.zeros(self.spec.size)
        position[: self.num_joints] = data.qpos[self.qpos]
        speed[: self.num_joints] = data.qvel[self.dof]
        return Measured(position=position, speed=speed, time_s=data.time)


class MujocoBody:
    """A nominal model of its own, asked by the filter."""

    def __init__(self, model: mujoco.MjModel, wiring: Wiring) -> None:
        """Copy the model; contacts are no part of the nominal motion."""
        self.parts = MujocoParts(model, wiring)
        self.spec = self.parts.spec
        self._model = copy.copy(model)
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
        self._data = mujoco.MjData(self._model)
        # Views of the simulation's own arrays: looking them up costs as much as reading them.
        self._qpos, self._qvel, self._ctrl = self._data.qpos, self._data.qvel, self._data.ctrl
        self._site_m = self._data.site_xpos
        self._jacobian = np.zeros((len(wiring.points), 3, self._model.nv))
        self._deceleration = np.array(wiring.stop_deceleration)

    def place(self, position: np.ndarray) -> Places:
        """Return where the watched points are at a position, float64 ``(N,)``."""
        parts, data = self.parts, self._data
        self._qpos[parts.qpos] = position[: parts.num_joints]
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_comPos(self._model, data)
        for jacobian, site in zip(self._jacobian, parts.site_numbers, strict=True):
            mujoco.mj_jacSite(self._model, data, jacobian, None, site)
        jacobian = np.zeros((len(parts.site_numbers), 3, self.spec.size))
        jacobian[..., : parts.num_joints] = self._jacobian[..., parts.dof]
        return Places(position_m=self._site_m[parts.sites].copy(), jacobian=jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        """Return what the nominal model does with a command held, and then braking to rest.

        Sampled every greatest common divisor of the two numbers of steps.
        """
        parts, data, n = self.parts, self._data, self.parts.num_joints
        every = math.gcd(hold_steps, brake_steps)
        samples, held = (hold_steps + brake_steps) // every, hold_steps // every
        spacing_s = every / self.spec.rate_hz
        substeps = math.ceil(spacing_s / _FORECAST_STEP_S - 1e-9)
        self._model.opt.timestep = spacing_s / substeps

        position, speed = np.zeros((samples, self.spec.size)), np.zeros((samples, self.spec.size))
        points_m = np.zeros((samples, len(parts.site_numbers), 3))
        self._qpos[parts.qpos] = measured.position[:n]
        self._qvel[:] = 0.0
        self._qvel[parts.dof] = measured.speed[:n]
        self._ctrl[parts.actuators] = command
        wanted, slower = command[:n], self._deceleration * spacing_s
        for sample in range(samples):
            if sample >= held:
                most = slower * (sample - held + 0.5)
                self._ctrl[parts.drives] = wanted - np.minimum(np.maximum(wanted, -most), most)
            mujoco.mj_step(self._model, data, substeps)
            mujoco.mj_kinematics(self._model, data)
            position[sample, :n] = self._qpos[parts.qpos]
            speed[sample, :n] = self._qvel[parts.dof]
            points_m[sample] = self._site_m[parts.sites]
        return Forecast(position=position, speed=speed, points_m=points_m)


class MujocoPlant:
    """A simulated robot, saved and put back with the full state of its integration."""

    def __init__(
        self,
        model: mujoco.MjModel,
        wiring: Wiring,
        *,
        start: Callable[[np.random.Generator], np.ndarray],
        delay_steps: int = 0,
    ) -> None:
        """Simulate a model.

        Args:
            model: It is not copied; the plant owns it.
            wiring: Its coordinates and points.
            start: Draws the positions ``(N,)`` of a start.
            delay_steps: Control steps from a command to the drives.

        Raises:
            InvalidConfig: The control period is no multiple of the model's time step, or the
                delay is impossible.
        """
        if not 0 <= delay_steps < MOST_DELAY_STEPS:
            raise InvalidConfig(f"delay_steps is {delay_steps}; expected 0 to {MOST_DELAY_STEPS}")
        self.parts = MujocoParts(model, wiring)
        self.spec = self.parts.spec
        self.model, self.data = model, mujoco.MjData(model)
        # MuJoCo would silently put a robot back that blew up.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        substeps = 1.0 / (wiring.rate_hz * model.opt.timestep)
        self._substeps = round(substeps)
        if self._substeps < 1 or abs(substeps - self._substeps) > 1e-6:
            raise InvalidConfig(
                f"{wiring.robot}: {substeps:.4f} simulator steps per control step; expected a "
                "whole number"
            )
        self._start, self._delay_steps = start, delay_steps
        self._on_the_way = np.zeros((MOST_DELAY_STEPS, self.spec.size))
        self._stop_at = np.zeros((2, self.parts.num_joints))
        self._is_stopping = np.zeros(1)
        self._deceleration = np.array(wiring.stop_deceleration)

    def reset(self, seed: int) -> Measured:
        """Start over at rest; the seed alone fixes the start."""
        mujoco.mj_resetData(self.model, self.data)
        start = self._start(generator(seed, "mujoco-start", self.spec.robot))
        self.data.qpos[self.parts.qpos] = start[: self.parts.num_joints]
        for kept in (self._on_the_way, self._stop_at, self._is_stopping):
            kept[:] = 0.0
        return self.parts.measure(self.data)

    def step(self, command: np.ndarray) -> Measured:
        """Hold a command, float64 ``(N,)``, for one control step.

        Raises:
            WorldError: The command is no vector of N finite numbers.
            SimulationDiverged: Physics went to infinity.
        """
        command = np.asarray(command, dtype=np.float64)
        if command.shape != (self.spec.size,) or not np.isfinite(command).all():
            raise WorldError(f"command is {command!r}, expected {self.spec.size} finite numbers")
        self._is_stopping[0] = 0.0
        return self._drive(command)

    def stop(self) -> Measured:
        """Let one control step pass in the declared safe state."""
        parts, data, period_s = self.parts, self.data, 1.0 / self.spec.rate_hz
        position, speed = self._stop_at
        if not self._is_stopping[0]:
            self._is_stopping[0] = 1.0
            position[:], speed[:] = data.qpos[parts.qpos], data.qvel[parts.dof]
        slower = self._deceleration * period_s
        speed -= np.clip(speed, -slower, slower)
        position += speed * period_s
        command = self._on_the_way[0].copy()
        if self.spec.safe_state == "power-off":
            command[: parts.num_joints] = data.qvel[parts.dof]
        elif self.spec.safe_state == "zero-speed":
            command[: parts.num_joints] = speed
        else:
            error = position - data.qpos[parts.qpos]
            command[: parts.num_joints] = speed + _HOLD_GAIN_PER_S * error
        # The drives stop by themselves: nothing is on its way to them any more.
        self._on_the_way[:] = command
        return self._drive(command)

    def save(self) -> bytes:
        """Return the state of the integration, and what is on its way to the drives."""
        state = np.zeros(mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(self.model, self.data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        kept = (state, self._on_the_way.ravel(), self._stop_at.ravel(), self._is_stopping)
        return np.concatenate(kept).tobytes()

    def load(self, state: bytes) -> Measured:
        """Put a saved state back, bit-exactly.

        Raises:
            DamagedData: It was not saved from such a plant.
        """
        size = mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_INTEGRATION)
        expected = size + self._on_the_way.size + self._stop_at.size + 1
        if len(state) != 8 * expected:
            raise DamagedData(
                f"a saved state of {self.spec.robot} has {8 * expected} bytes, this {len(state)}"
            )
        numbers = np.frombuffer(state).copy()
        mujoco.mj_setState(
            self.model, self.data, numbers[:size], mujoco.mjtState.mjSTATE_INTEGRATION
        )
        rest = np.split(numbers[size:], np.cumsum([self._on_the_way.size, self._stop_at.size]))
        for kept, values in zip(
            (self._on_the_way, self._stop_at, self._is_stopping), rest, strict=True
        ):
            kept[:] = values.reshape(kept.shape)
        return self.parts.measure(self.data)

    def hold_newest(self) -> None:
        """Forget the commands before the newest: nothing else arrives for as long as the delay.

        A plant that is loaded with the state of a prompter one would otherwise obey again what has
        been obeyed already, which no drive that becomes late can do.
        """
        self._on_the_way[:] = self._on_the_way[0]

    def close(self) -> None:
        """Do nothing: no renderer, no file."""

    def _drive(self, command: np.ndarray) -> Measured:
        """Pass one control step with a command that goes through the delay."""
        self._on_the_way[1:] = self._on_the_way[:-1]
        self._on_the_way[0] = command
        self.data.ctrl[self.parts.actuators] = self._on_the_way[self._delay_steps]
        mujoco.mj_step(self.model, self.data, self._substeps)
        measured = self.parts.measure(self.data)
        if not np.isfinite(measured.position).all():
            raise SimulationDiverged(
                f"{self.spec.robot}: physics diverged at {self.data.time:.3f} s"
            )
        return measured


def _run(numbers: list[int]) -> slice | list[int]:
    """Return consecutive numbers as a slice, which reads arrays several times faster."""
    first, count = (numbers[0] if numbers else 0), len(numbers)
    if numbers == list(range(first, first + count)):
        return slice(first, first + count)
    return numbers


def _named(model: mujoco.MjModel, kind: int, word: str, name: str) -> int:
    """Return the number of a named part."""
    number = mujoco.mj_name2id(model, kind, name)
    if number < 0:
        counts = {"joint": model.njnt, "site": model.nsite, "actuator": model.nu}
        known = [mujoco.mj_id2name(model, kind, i) or "" for i in range(counts[word])]
        raise UnknownName(word, name, known)
    return number


def _drive(model: mujoco.MjModel, joint: int) -> int:
    """Return the number of the speed actuator of a joint."""
    name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, joint)
    if model.jnt_type[joint] not in (mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE):
        raise InvalidConfig(f"joint {name!r} is no hinge or slide; it has no single speed")
    drives = [
        actuator
        for actuator in range(model.nu)
        if model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT
        and model.actuator_trnid[actuator, 0] == joint
    ]
    if len(drives) != 1 or not _is_velocity_servo(model, drives[0]):
        raise InvalidConfig(f"joint {name!r} must be driven by one velocity actuator")
    return drives[0]


def _is_velocity_servo(model: mujoco.MjModel, actuator: int) -> bool:
    """Tell whether an actuator's force is a gain times (command less speed)."""
    gain = model.actuator_gainprm[actuator, 0]
    return gain > 0 and np.array_equal(model.actuator_biasprm[actuator, :3], [0.0, 0.0, -gain])


def _build_digest(model: mujoco.MjModel) -> str:
    """Return the digest of a compiled model and of the simulator's version."""
    buffer = np.zeros(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return digest_bytes(mujoco.__version__.encode() + buffer.tobytes())
