"""A real arm behind a guard: the motors of any robot with LeRobot's interface.

LeRobot's arms (SO-100, SO-101, Koch and many others) are position servos: they are told where to
be, ``{"shoulder_pan.pos": 12.0}``. The rooms above command speeds, so the goal runs ahead of the
arm by the commanded speed, and by no more than a leash: an arm that is held back does not wind up
a goal that it jumps to when it comes free. The safe state is to hold the position measured when
the stop began; servos without power would let the arm fall.

LeRobot itself is no dependency. Name a function that returns the robot, in the environment that
has it::

    actuators = Part(
        entry="loopwright.robot.drivers.lerobot_arm:make_actuators",
        config={"make": "my_arm:make_robot", "motors": ["shoulder_pan", "elbow_flex"],
                "per_unit": [57.29578, 57.29578]},
    )

What is asked of it: ``connect()``, ``get_observation()``, ``send_action(goals)`` and
``disconnect()``, as LeRobot's ``Robot`` has them (0.4).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from loopwright.core.errors import InvalidConfig, SafetyError
from loopwright.core.stage import resolve_entry
from loopwright.safety.body import Measured, RobotEntry


class PositionRobot(Protocol):
    """What is used of LeRobot's ``Robot``."""

    def connect(self) -> None:
        """Open the port."""
        ...

    def get_observation(self) -> Mapping[str, Any]:
        """Return, among others, ``MOTOR.pos`` of every motor."""
        ...

    def send_action(self, action: dict[str, float]) -> Any:
        """Set the goal ``MOTOR.pos`` of every motor."""
        ...

    def disconnect(self) -> None:
        """Close the port."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class MotorMap:
    """How N coordinates of the body are motors of the arm."""

    motors: tuple[str, ...]
    """LeRobot's names, in the order of the coordinates."""
    per_unit: tuple[float, ...]
    """The motor's units for one unit of the coordinate: 57.3 for degrees and radians. Negative
    where they turn in opposite senses."""
    zero: tuple[float, ...]
    """What the motor says where the coordinate is 0, in its units."""
    leash: float
    """How far a goal may be ahead of the arm, in the coordinate's unit."""

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, and a motor that never moves."""
        lengths = {len(self.motors), len(self.per_unit), len(self.zero)}
        if len(lengths) != 1 or not self.motors or 0.0 in self.per_unit:
            raise InvalidConfig(
                f"{len(self.motors)} motors need as many per_unit (not 0) and zero, "
                f"got {self.per_unit} and {self.zero}"
            )
        if not self.leash > 0:
            raise InvalidConfig(f"leash is {self.leash}; expected more than 0")


class LeRobotActuators:
    """The motors of one arm; an :class:`~loopwright.safety.guard.actuators.Actuators`."""

    def __init__(self, robot: PositionRobot, motors: MotorMap, rate_hz: float) -> None:
        """Connect, and hold the arm where it is.

        Args:
            robot: Not connected yet.
            motors: Which they are.
            rate_hz: How often commands come.

        Raises:
            SafetyError: A motor does not answer, or says something that is no number.
        """
        self._robot, self._motors, self._period_s = robot, motors, 1.0 / rate_hz
        self._scale, self._zero = np.array(motors.per_unit), np.array(motors.zero)
        self._closed = False
        robot.connect()
        self._position, self._read_s = self._read()
        self._speed = np.zeros(len(motors.motors))
        self._goal, self._held = self._position.copy(), False

    def measure(self) -> Measured:
        """Return positions, and speeds by the difference to the reading before."""
        position, read_s = self._read()
        if read_s > self._read_s:
            self._speed = (position - self._position) / (read_s - self._read_s)
        self._position, self._read_s = position, read_s
        return Measured(position=position.copy(), speed=self._speed.copy(), time_s=read_s)

    def write(self, applied: np.ndarray) -> None:
        """Follow a speed, float64 ``(N,)``, until the next one."""
        if self._held:
            self._goal, self._held = self._position.copy(), False
        ahead = self._goal + applied * self._period_s - self._position
        leash = self._motors.leash
        self._goal = self._position + np.clip(ahead, -leash, leash)
        self._send()

    def stop(self) -> None:
        """Hold the position at which the stop began."""
        if not self._held:
            self._goal, self._held = self._position.copy(), True
        self._send()

    def close(self) -> None:
        """End holding the position; idempotent."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(Exception):  # a port that is gone cannot be closed better
                self.stop()
            self._robot.disconnect()

    def _read(self) -> tuple[np.ndarray, float]:
        said = self._robot.get_observation()
        names = [f"{motor}.pos" for motor in self._motors.motors]
        if missing := [name for name in names if name not in said]:
            raise SafetyError(f"the arm says nothing of {missing}; it says {sorted(said)}")
        raw = np.array([float(said[name]) for name in names])
        if not np.isfinite(raw).all():
            raise SafetyError(f"the arm says {dict(zip(names, raw.tolist(), strict=True))}")
        return (raw - self._zero) / self._scale, time.monotonic()

    def _send(self) -> None:
        goals = self._goal * self._scale + self._zero
        names = [f"{motor}.pos" for motor in self._motors.motors]
        self._robot.send_action(dict(zip(names, goals.tolist(), strict=True)))


def make_actuators(
    *,
    robot: str,
    entry: RobotEntry,
    make: str,
    motors: Sequence[str],
    per_unit: Sequence[float],
    zero: Sequence[float] = (),
    leash: float = 0.05,
) -> LeRobotActuators:
    """Make the actuators of an arm; a part of :class:`~loopwright.safety.guard.config.CellConfig`.

    Args:
        robot: Name within the cell.
        entry: How to come by its body.
        make: ``"package.module:function"``; called without arguments, returns the robot.
        motors: Names of the motors, in the order of the body's coordinates.
        per_unit: See :class:`MotorMap`.
        zero: See :class:`MotorMap`; all 0 by default.
        leash: See :class:`MotorMap`.

    Raises:
        InvalidConfig: The motors are not as many as the coordinates, or nothing is at ``make``.
        SafetyError: The arm does not answer.
    """
    spec = resolve_entry(entry.body)(**entry.config).spec
    if len(motors) != spec.size:
        raise InvalidConfig(
            f"{robot}: {len(motors)} motors for {spec.size} coordinates {list(spec.coordinates)}"
        )
    mapped = MotorMap(
        motors=tuple(motors),
        per_unit=tuple(per_unit),
        zero=tuple(zero) or (0.0,) * len(motors),
        leash=leash,
    )
    return LeRobotActuators(resolve_entry(make)(), mapped, spec.rate_hz)
