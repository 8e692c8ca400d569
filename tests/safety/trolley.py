"""A trolley made of NumPy alone, as body and as plant, and flights of it into a wall."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from register_site import Site as People

from loopwright.safety.blackbox import BlackBox, FlightHeader, StepRecord
from loopwright.safety.body import BodySpec, Forecast, Measured, Places, RobotEntry
from loopwright.safety.decision import Decision, Reason
from loopwright.safety.keys import SigningKey
from loopwright.safety.ladder import Rungs
from loopwright.safety.limits import Limits, Wall
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.evidence import EvidenceStore
from loopwright.safety.occurrence.opening import Site
from loopwright.safety.register import Register

RATE_HZ, SUBSTEPS = 100.0, 4
WALL_M = 0.5
GAIN_PER_S = 60.0
CLAMP_ONLY = Rungs(envelope=False, slew=False, look_ahead=False, residual=False)
ENTRY = RobotEntry(body="trolley:make_body", plant="trolley:make_plant", config={"drift_m_s": 0.0})


class Trolley:
    """Two rails with speed servos; it drifts along x if told so, which the body does not know."""

    spec = BodySpec(
        robot="trolley-v1",
        coordinates=("x", "y"),
        units=("m", "m"),
        kinds=("speed", "speed"),
        points=("tip",),
        rate_hz=RATE_HZ,
        safe_state="zero-speed",
        build="numpy trolley",
    )

    def __init__(self, drift_m_s: float = 0.0) -> None:
        self._drift = np.array([drift_m_s, 0.0])
        self.reset(0)

    def place(self, position: np.ndarray) -> Places:
        jacobian = np.zeros((1, 3, 2))
        jacobian[0, 0, 0] = jacobian[0, 1, 1] = 1.0
        return Places(position_m=np.array([[*position, 0.0]]), jacobian=jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        model = Trolley()
        model._x, model._v = measured.position.copy(), measured.speed.copy()
        states = [model.step(command) for _ in range(hold_steps)]
        states += [model.stop() for _ in range(brake_steps)]
        position = np.array([state.position for state in states])
        points = np.concatenate([position, np.zeros((len(states), 1))], axis=1)[:, None]
        return Forecast(
            position=position, speed=np.array([s.speed for s in states]), points_m=points
        )

    def reset(self, seed: int) -> Measured:
        self._x = np.random.default_rng(seed).uniform(-0.1, 0.1, 2)
        self._v, self._time_s = np.zeros(2), 0.0
        return self._measured()

    def step(self, command: np.ndarray) -> Measured:
        dt_s = 1 / RATE_HZ / SUBSTEPS
        for _ in range(SUBSTEPS):
            self._v = self._v + dt_s * GAIN_PER_S * (command + self._drift - self._v)
            self._x = self._x + dt_s * self._v
        self._time_s += 1 / RATE_HZ
        return self._measured()

    def stop(self) -> Measured:
        return self.step(-self._drift)

    def save(self) -> bytes:
        return np.concatenate([self._x, self._v, [self._time_s]]).tobytes()

    def load(self, state: bytes) -> Measured:
        self._x, self._v, (time_s,) = np.split(np.frombuffer(state).copy(), [2, 4])
        self._time_s = float(time_s)
        return self._measured()

    def close(self) -> None:
        pass

    def _measured(self) -> Measured:
        return Measured(position=self._x.copy(), speed=self._v.copy(), time_s=self._time_s)


def make_body(drift_m_s: float = 0.0) -> Trolley:
    return Trolley()


def make_plant(drift_m_s: float = 0.0) -> Trolley:
    return Trolley(drift_m_s)


def limits(**changes: Any) -> Limits:
    values: dict[str, Any] = {
        "position_low": (-2.0, -2.0),
        "position_high": (2.0, 2.0),
        "speed": (1.0, 1.0),
        "point_speed_m_s": 2.0,
        "walls": (Wall(point_m=(WALL_M, 0.0, 0.0), inward=(-1.0, 0.0, 0.0)),),
        "deceleration": (2.0, 2.0),
        "point_deceleration_m_s2": 2.0,
        "slew": (8.0, 8.0),
        "reaction_s": 0.04,
        "position_margin": 0.02,
        "distance_margin_m": 0.02,
        "headroom": 0.85,
        "overspeed_gain": 2.0,
        "stale_s": 0.1,
        "forecast_hold_steps": 2,
        "forecast_brake_steps": 10,
        "servo_lag_s": 0.02,
        "residual": (0.2, 0.2),
        "residual_s": 0.05,
    }
    return Limits(**(values | changes))


Request = Callable[[int, Measured], object]


def into_the_wall(step: int, measured: Measured) -> object:
    """Full ahead from step 40 on, with a sideways whim every five steps."""
    draw = np.random.default_rng(step // 5)
    return np.array([0.0 if step < 40 else 0.6, draw.uniform(-0.3, 0.3)])


def gently(step: int, measured: Measured) -> object:
    return np.array([0.05, 0.05]) * np.sin(step / 20)


def fly(
    path: Path,
    key: SigningKey,
    request: Request = into_the_wall,
    *,
    heads: Path | None = None,
    configuration: Configuration | None = None,
    entry: RobotEntry = ENTRY,
    steps: int = 200,
    snapshots: Sequence[int] = (0, 100),
    held: Collection[int] = (),
    **changes: Any,
) -> None:
    """Record a flight, the policy asked anew at every step; in those ``held`` a guard stops it."""
    configuration = configuration or Configuration(limits=limits(), rungs=CLAMP_ONLY)
    plant, safety_filter = make_plant(**entry.config), configuration.make_filter(make_body())
    said: dict[str, Any] = {
        "robot_id": "trolley 1",
        "robot": entry,
        "body": plant.spec,
        "candidate": "c" * 64,
        "certificate": "none",
        "filter": safety_filter.digest,
        "limits": configuration.limits.to_json(),
        "instruction": "go",
        "build": "b" * 64,
    }
    measured = plant.reset(0)
    safety_filter.reset(measured)
    with BlackBox(path, FlightHeader(**(said | changes)), key, heads) as box:
        for step in range(steps):
            if step in snapshots:
                box.snapshot(plant.save(), step)
            asked = request(step, measured)
            if step - 1 in held and step not in held:
                safety_filter.reset(measured)
            if step in held:
                decision = Decision(
                    applied=np.zeros(2), reason=Reason.DEADLINE, margin=0.9, stopping=True
                )
            else:
                decision = safety_filter.step(asked, measured.time_s, measured)
            box.step(
                StepRecord(
                    sequence=step,
                    monotonic_s=measured.time_s,
                    requested=asked,
                    request_age_s=0.0,
                    position=measured.position,
                    speed=measured.speed,
                    sensor_age_s=0.0,
                    applied=decision.applied,
                    reason=decision.reason,
                    margin=decision.margin,
                    stopping=decision.stopping,
                )
            )
            stopping = decision.stopping
            measured = plant.stop() if stopping else plant.step(decision.applied)


@dataclass
class Ground:
    """A site with people, a register, evidence and a suite."""

    folder: Path
    people: People = field(init=False)
    register: Register = field(init=False)
    site: Site = field(init=False)

    def __post_init__(self) -> None:
        self.people = People(self.folder)
        self.register = self.people.begin()
        self.heads = self.folder / "heads"
        self.heads.mkdir()
        self.site = Site(
            register=self.register,
            store=EvidenceStore(folder=self.folder / "evidence"),
            suite=self.folder / "suite",
            key=self.people.keys["recorder"],
        )

    def fly(self, name: str = "flight", request: Request = into_the_wall, **changes: Any) -> Path:
        path = self.folder / name
        fly(path, self.people.keys["recorder"], request, heads=self.heads, **changes)
        return path
