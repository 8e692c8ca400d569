"""A plant made of NumPy alone: masses with a speed servo, and a wall that they bounce off."""

from __future__ import annotations

import numpy as np

from loopwright.safety.blackbox import FlightHeader, StepRecord
from loopwright.safety.body import BodySpec, Measured, RobotEntry
from loopwright.safety.decision import Reason

SIZE, STEP_S, SUBSTEPS = 3, 0.002, 4


class Masses:
    """Servos with a lag, a bounce at 1, and an effect of the step before: hidden state."""

    spec = BodySpec(
        robot="masses-v1",
        coordinates=tuple(f"x{i}" for i in range(SIZE)),
        units=("m",) * SIZE,
        kinds=("speed",) * SIZE,
        points=(),
        rate_hz=1 / STEP_S,
        safe_state="zero-speed",
        build="numpy",
    )

    def __init__(self) -> None:
        self.reset(0)

    def reset(self, seed: int) -> Measured:
        self._x = np.random.default_rng(seed).uniform(-0.5, 0.5, SIZE)
        self._v, self._force, self._time_s = np.zeros(SIZE), np.zeros(SIZE), 0.0
        return self._measured()

    def step(self, command: np.ndarray) -> Measured:
        for _ in range(SUBSTEPS):
            contact = -400.0 * np.maximum(self._x - 1.0, 0.0) * (1.0 + self._v)
            self._force += 0.3 * (20.0 * (command - self._v) - self._force)
            self._v += STEP_S / SUBSTEPS * (self._force + contact)
            self._x = self._x + STEP_S / SUBSTEPS * self._v
        self._time_s += STEP_S
        return self._measured()

    def stop(self) -> Measured:
        return self.step(np.zeros(SIZE))

    def save(self) -> bytes:
        return np.concatenate([self._x, self._v, self._force, [self._time_s]]).tobytes()

    def load(self, state: bytes) -> Measured:
        self._x, self._v, self._force, (time_s,) = np.split(
            np.frombuffer(state).copy(), [SIZE, 2 * SIZE, 3 * SIZE]
        )
        self._time_s = float(time_s)
        return self._measured()

    def close(self) -> None:
        pass

    @property
    def touching(self) -> bool:
        return bool((self._x > 1.0).any())

    def _measured(self) -> Measured:
        return Measured(position=self._x.copy(), speed=self._v.copy(), time_s=self._time_s)


def make_plant(**config: object) -> Masses:
    assert config == {"load_kg": 0}
    return Masses()


def flight_header(**changes: object) -> FlightHeader:
    values: dict[str, object] = {
        "robot_id": "cell 3",
        "robot": RobotEntry(
            body="none", plant="double_integrator:make_plant", config={"load_kg": 0}
        ),
        "body": Masses.spec,
        "candidate": "a" * 64,
        "certificate": "none",
        "filter": "f" * 64,
        "limits": {"speed": [1.0] * SIZE},
        "instruction": "touch the wall",
        "build": "b" * 64,
    }
    return FlightHeader(**(values | changes))  # type: ignore[arg-type]


def step_record(sequence: int, requested: object, measured: Measured, **changes: object):
    values: dict[str, object] = {
        "sequence": sequence,
        "monotonic_s": 100.0 + sequence * STEP_S,
        "requested": requested,
        "request_age_s": 0.004,
        "position": measured.position,
        "speed": measured.speed,
        "sensor_age_s": 0.001,
        "applied": requested,
        "reason": Reason.UNALTERED,
        "margin": 0.7,
        "stopping": False,
        "directive_epoch": 3,
        "lease_left_s": 21.5,
    }
    return StepRecord(**(values | changes))  # type: ignore[arg-type]
