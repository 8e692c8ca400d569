"""What a drive has in its hands: the motors of a robot, or a simulated robot in their place."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.core.stage import resolve_entry
from loopwright.safety.body import Measured, Plant, RobotEntry
from loopwright.safety.guard.motion import MotionFlight, begin_motion_flight


class Actuators(Protocol):
    """The motors of a robot. A driver for real ones implements this, and nothing else of a cell."""

    def measure(self) -> Measured:
        """Return what the sensors say now, with the time by ``time.monotonic``."""
        ...

    def write(self, applied: np.ndarray) -> None:
        """Follow a command, float64 ``(N,)``, until the next one."""
        ...

    def stop(self) -> None:
        """Be in the declared safe state until the next command; called at every beat."""
        ...

    def close(self) -> None:
        """End in the safe state; idempotent."""
        ...


class PlantActuators:
    """A simulated robot, moved on by one control step with every command."""

    def __init__(
        self,
        plant: Plant,
        *,
        seed: int = 0,
        truth: Path | None = None,
        flight: MotionFlight | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the plant.

        Args:
            plant: What moves.
            seed: Of its start.
            truth: File to which every step is appended as it truly was, or None.
            flight: Records every step with snapshots, or None.
            clock: What measurements are dated by.
        """
        self._plant, self._clock = plant, clock
        self._measured = replace(plant.reset(seed), time_s=self._clock())
        self._truth = None if truth is None else TruthWriter(truth, plant.spec.size)
        self._flight, self._nothing = flight, np.zeros(plant.spec.size)

    def measure(self) -> Measured:
        """Return the state after the last step."""
        return self._measured

    def write(self, applied: np.ndarray) -> None:
        """Move for one control step."""
        self._before(applied, stopping=False)
        self._after(self._plant.step(applied), stopping=False)

    def stop(self) -> None:
        """Spend one control step in the safe state."""
        self._before(self._nothing, stopping=True)
        self._after(self._plant.stop(), stopping=True)

    def _before(self, applied: np.ndarray, *, stopping: bool) -> None:
        if self._flight is not None:
            self._flight.before(self._plant, self._measured, applied, stopping=stopping)

    def _after(self, measured: Measured, *, stopping: bool) -> None:
        self._measured = replace(measured, time_s=self._clock())
        if self._truth is not None:
            self._truth.append(self._measured, stopping=stopping)

    def close(self) -> None:
        """End the simulation."""
        if self._flight is not None:
            self._flight.close()
        self._plant.close()


class TruthWriter:
    """What a simulated robot truly did, for whoever judges: rows of float64, written through."""

    def __init__(self, path: Path, size: int) -> None:
        """Append to a file.

        Raises:
            StorageError: It cannot be opened.
        """
        self._row = struct.Struct(f"<{2 + 2 * size}d")
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise StorageError(f"{path} cannot be opened: {error}") from error

    def append(self, measured: Measured, *, stopping: bool) -> None:
        """Add one step."""
        row = self._row.pack(measured.time_s, stopping, *measured.position, *measured.speed)
        os.write(self._descriptor, row)


def read_truth(path: Path, size: int) -> np.ndarray:
    """Return what a :class:`TruthWriter` wrote.

    Returns:
        float64 ``(steps, 2 + 2 N)``: time, whether stopping, positions, speeds.
    """
    raw = path.read_bytes()
    width = 2 + 2 * size
    whole = len(raw) // (8 * width) * width
    return np.frombuffer(raw, "<f8", count=whole).reshape(-1, width)


def make_plant_actuators(
    *,
    robot: str,
    entry: RobotEntry,
    seed: int = 0,
    truth: str | None = None,
    flight: Mapping[str, str] | None = None,
) -> PlantActuators:
    """Make the simulated robot of an entry.

    Args:
        robot: Its name within the cell.
        entry: How to come by it.
        seed: Of its start.
        truth: Folder for ``ROBOT.truth``, or None.
        flight: ``folder`` and ``key`` (and ``second_place``) for a flight that can be replayed, or
            None.

    Raises:
        InvalidConfig: The entry names no plant.
        RecorderLost: The flight could not begin.
    """
    if entry.plant is None:
        raise InvalidConfig(f"robot {robot!r} has no plant; give actuators for the real one")
    plant = resolve_entry(entry.plant)(**entry.config)
    path = None if truth is None else Path(truth) / f"{robot}.truth"
    recording = None if flight is None else begin_motion_flight(robot, entry, plant.spec, **flight)
    return PlantActuators(plant, seed=seed, truth=path, flight=recording)
