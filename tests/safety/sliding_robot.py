"""A small robot for tests of the guard: a slide, and a lift that sags under gravity.

Importable by name from the processes of a cell: body, plant, filter and recorder.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from loopwright.core.errors import RecorderLost
from loopwright.safety.body import BodySpec, Forecast, Measured, Places, RobotEntry
from loopwright.safety.decision import Decision, Reason
from loopwright.safety.guard.ports import Leave, StepFacts

RATE_HZ = 200.0
RANGE, SPEED, ACCELERATION = 1.0, 0.5, 20.0
GRAVITY = np.array([0.0, -3.0])
GAIN = 30.0
"""Of the servo, per second: a speed of zero commanded sags by gravity / gain = 0.1 per second."""


def spec(rate_hz: float = RATE_HZ) -> BodySpec:
    return BodySpec(
        robot="sliding-v1",
        coordinates=("slide", "lift"),
        units=("m", "m"),
        kinds=("speed", "speed"),
        points=("tip",),
        rate_hz=rate_hz,
        safe_state="hold-position",
        build="test",
    )


class SlidingBody:
    def __init__(self, rate_hz: float) -> None:
        self.spec = spec(rate_hz)

    def place(self, position: np.ndarray) -> Places:
        jacobian = np.zeros((1, 3, 2))
        jacobian[0, 0, 0] = jacobian[0, 2, 1] = 1.0
        return Places(position_m=np.array([[position[0], 0.0, position[1]]]), jacobian=jacobian)

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        raise NotImplementedError("the test filter does not look ahead")


class SlidingPlant:
    """A double integrator behind a servo, with a brake that holds."""

    def __init__(self, rate_hz: float) -> None:
        self.spec = spec(rate_hz)
        self._step_s = 1.0 / rate_hz
        self._time_s = 0.0
        self._position, self._speed = np.zeros(2), np.zeros(2)

    def reset(self, seed: int) -> Measured:
        self._position, self._speed = np.zeros(2), np.zeros(2)
        return self._measured()

    def step(self, command: np.ndarray) -> Measured:
        push = np.clip(GAIN * (command - self._speed), -ACCELERATION, ACCELERATION)
        self._advance(self._speed + (push + GRAVITY) * self._step_s)
        return self._measured()

    def stop(self) -> Measured:
        slowed = np.abs(self._speed) - ACCELERATION * self._step_s
        self._advance(np.sign(self._speed) * np.maximum(slowed, 0.0))
        return self._measured()

    def _advance(self, speed: np.ndarray) -> None:
        self._speed = speed
        self._position = self._position + speed * self._step_s
        self._time_s += self._step_s

    def _measured(self) -> Measured:
        return Measured(
            position=self._position.copy(), speed=self._speed.copy(), time_s=self._time_s
        )

    def save(self) -> bytes:
        return struct.pack("<5d", *self._position, *self._speed, self._time_s)

    def load(self, state: bytes) -> Measured:
        values = struct.unpack("<5d", state)
        self._position, self._speed = np.array(values[:2]), np.array(values[2:4])
        self._time_s = values[4]
        return self._measured()

    def close(self) -> None:
        pass


class ClampingFilter:
    """Clamps speeds, brakes before the end of the range, latches beyond it."""

    digest = "0" * 64

    def __init__(self, stale_s: float) -> None:
        self._stale_s = stale_s
        self._latched: Reason | None = None
        self.resets = 0

    def reset(self, measured: Measured) -> None:
        self.resets += 1

    def step(self, request: object, request_time_s: float, measured: Measured) -> Decision:
        margin = 1.0 - float(np.max(np.abs(measured.position))) / RANGE
        zeros = np.zeros(2)
        if self._latched is not None or margin < 0:
            self._latched = self._latched or Reason.POSITION
            return Decision(applied=zeros, reason=Reason.BRAKED, margin=margin, stopping=True)
        if measured.time_s - request_time_s > self._stale_s:
            return Decision(applied=zeros, reason=Reason.STALE, margin=margin, stopping=False)
        asked = np.asarray(request, dtype=float)
        if asked.shape != (2,):
            return Decision(applied=zeros, reason=Reason.MALFORMED, margin=margin, stopping=False)
        if not np.all(np.isfinite(asked)):
            return Decision(applied=zeros, reason=Reason.NOT_FINITE, margin=margin, stopping=False)
        room = np.maximum(RANGE - np.sign(asked) * measured.position, 0.0)
        most = np.minimum(SPEED, np.sqrt(ACCELERATION * room))
        applied = np.clip(asked, -most, most)
        same = np.array_equal(applied, asked)
        reason = Reason.UNALTERED if same else Reason.CLAMPED
        return Decision(applied=applied, reason=reason, margin=margin, stopping=False)

    def latch(self, reason: Reason) -> None:
        self._latched = reason

    def release(self) -> None:
        self._latched = None


class RowRecorder:
    """Writes every step through to a file; a refusing disk is a lost recorder."""

    ROW = struct.Struct("<6d")

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise RecorderLost(f"{path} cannot be opened: {error}") from error

    def step(self, facts: StepFacts) -> None:
        self._write(
            self.ROW.pack(
                facts.sequence,
                facts.monotonic_s,
                facts.reason,
                facts.stopping,
                facts.applied[0],
                facts.request_age_s,
            )
        )

    def note(self, channel: str, text: str) -> None:
        self._write(b"")

    def _write(self, row: bytes) -> None:
        try:
            written = os.write(self._descriptor, row)
        except OSError as error:
            raise RecorderLost(f"the disk refused: {error}") from error
        if written != len(row):
            raise RecorderLost("the disk took only a part of the record")

    def close(self) -> None:
        os.close(self._descriptor)


class FileWatch:
    """Grounded as long as a file is there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def poll(self, now_s: float) -> Leave:
        if self._path.exists():
            return Leave(reason=Reason.GROUNDED, detail="directive 7", epoch=7, lease_left_s=1.0)
        return Leave(epoch=6, lease_left_s=30.0)


def make_body(rate_hz: float = RATE_HZ) -> SlidingBody:
    return SlidingBody(rate_hz)


def make_plant(rate_hz: float = RATE_HZ) -> SlidingPlant:
    return SlidingPlant(rate_hz)


def make_filter(*, body: SlidingBody, stale_s: float = 0.1) -> ClampingFilter:
    return ClampingFilter(stale_s)


def make_recorder(
    *,
    robot: str,
    entry: RobotEntry,
    spec: BodySpec,
    filter_digest: str,
    folder: str,
    limit_bytes: int = 0,
) -> RowRecorder:
    if limit_bytes:
        limit_file_size(limit_bytes)
    return RowRecorder(Path(folder) / f"{robot}.rows")


def limit_file_size(limit_bytes: int) -> None:
    """Let every file of this process end there, as a quota would."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))


def make_watch(*, robot: str, path: str) -> FileWatch:
    return FileWatch(Path(path))


def read_rows(path: Path) -> np.ndarray:
    """Return ``(steps, 6)``: number, time, reason, stopping, applied slide, age of the request."""
    raw = path.read_bytes()
    whole = len(raw) // RowRecorder.ROW.size * 6
    return np.frombuffer(raw, "<f8", count=whole).reshape(-1, 6)
