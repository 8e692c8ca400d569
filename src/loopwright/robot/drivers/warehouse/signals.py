"""Shared memory between the simulated world and everybody who acts in it or looks at it.

::

    drive of a robot --Wanted--> world --State--> drive, senses
                                 world --Scene--> senses, cameras, views
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.safety.guard.exchange import SignalReader, SignalWriter, create_signal
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.layout import SEEN
from loopwright.simulation.warehouse.model import arms_of, coordinates_of
from loopwright.simulation.warehouse.state import Scene, State


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Wanted:
    """What the drive of a robot wants of its motors."""

    time_s: float
    stopping: bool
    applied: np.ndarray
    """float64 ``(N,)``."""


class WorldSignals:
    """The files of a world's shared memory."""

    def __init__(self, folder: Path) -> None:
        """Name them; nothing is made yet."""
        self.folder = folder

    def create(self) -> None:
        """Make what is missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        create_signal(self.folder / "scene", "warehouse scene/v1", 2 + 7 * len(SEEN))
        for robot in layout.ROBOTS:
            size, arms = _sizes(robot)
            create_signal(self.folder / f"{robot}.wanted", "warehouse wanted/v1", 2 + size)
            create_signal(self.folder / f"{robot}.state", "warehouse state/v1", 1 + 2 * size + arms)

    def wanted_writer(self, robot: str) -> SignalWriter:
        """Return the one writer of what a drive wants."""
        size, _ = _sizes(robot)
        return SignalWriter(self.folder / f"{robot}.wanted", "warehouse wanted/v1", 2 + size)

    def wanted_reader(self, robot: str) -> SignalReader:
        """Return a reader of what a drive wants."""
        size, _ = _sizes(robot)
        return SignalReader(self.folder / f"{robot}.wanted", "warehouse wanted/v1", 2 + size)

    def state_writer(self, robot: str) -> SignalWriter:
        """Return the one writer of a robot's sensors."""
        size, arms = _sizes(robot)
        path = self.folder / f"{robot}.state"
        return SignalWriter(path, "warehouse state/v1", 1 + 2 * size + arms)

    def state_reader(self, robot: str) -> SignalReader:
        """Return a reader of a robot's sensors."""
        size, arms = _sizes(robot)
        path = self.folder / f"{robot}.state"
        return SignalReader(path, "warehouse state/v1", 1 + 2 * size + arms)

    def scene_writer(self) -> SignalWriter:
        """Return the one writer of the scene."""
        return SignalWriter(self.folder / "scene", "warehouse scene/v1", 2 + 7 * len(SEEN))

    def scene_reader(self) -> SignalReader:
        """Return a reader of the scene."""
        return SignalReader(self.folder / "scene", "warehouse scene/v1", 2 + 7 * len(SEEN))


def write_wanted(writer: SignalWriter, wanted: Wanted) -> None:
    """Publish what a drive wants."""
    writer.write((wanted.time_s, float(wanted.stopping), *wanted.applied.tolist()))


def read_wanted(reader: SignalReader) -> Wanted | None:
    """Return what a drive wants; None before it has said anything."""
    sample = reader.read()
    if sample is None:
        return None
    time_s, stopping, *applied = sample.values
    return Wanted(time_s=time_s, stopping=bool(stopping), applied=np.array(applied))


def write_state(writer: SignalWriter, state: State) -> None:
    """Publish what a robot's sensors say."""
    touched = (float(t) for t in state.touched)
    writer.write((state.time_s, *state.position.tolist(), *state.speed.tolist(), *touched))


def read_state(reader: SignalReader, robot: str) -> State | None:
    """Return what a robot's sensors say; None before the world has begun."""
    sample = reader.read()
    if sample is None:
        return None
    size, _ = _sizes(robot)
    time_s, *rest = sample.values
    return State(
        time_s=time_s,
        position=np.array(rest[:size]),
        speed=np.array(rest[size : 2 * size]),
        touched=tuple(bool(t) for t in rest[2 * size :]),
    )


def write_scene(writer: SignalWriter, scene: Scene) -> None:
    """Publish where everything is."""
    poses = (x for name in SEEN for x in scene.poses[name].tolist())
    writer.write((scene.time_s, scene.simulated_s, *poses))


def read_scene(reader: SignalReader) -> Scene | None:
    """Return where everything is; None before the world has begun."""
    sample = reader.read()
    if sample is None:
        return None
    time_s, simulated_s, *flat = sample.values
    poses = np.array(flat).reshape(-1, 7)
    return Scene(time_s=time_s, simulated_s=simulated_s, poses=dict(zip(SEEN, poses, strict=True)))


def _sizes(robot: str) -> tuple[int, int]:
    arms = len(arms_of(robot))
    return len(coordinates_of(robot)) + arms, arms
