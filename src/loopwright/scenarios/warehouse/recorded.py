"""From a log of the world to the rows of an episode: it happens again, and is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.scenarios.warehouse.evidence import evidence_of
from loopwright.scenarios.warehouse.interface import HOLD, proprio_of
from loopwright.scenarios.warehouse.starts import start_of
from loopwright.scenarios.warehouse.task import Goal
from loopwright.simulation.warehouse.model import RATE_HZ, coordinates_of
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import Commands, WorldLog


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """T control steps of 50 ms; what was seen before each, and the evidence after it."""

    images: np.ndarray | None
    """uint8 ``(T, H, W, 3)``; None if nobody looked."""
    proprio: np.ndarray
    """float32 ``(T, P)``."""
    applied: np.ndarray
    """float32 ``(T, A)``: speeds averaged over a row's five control steps, grips as at its end."""
    evidence: np.ndarray
    """float64 ``(T, E)``."""
    start: Mapping[str, float]
    """Where in the domain of its task it began."""

    @property
    def time_s(self) -> np.ndarray:
        """float64 ``(T,)``: by the world's clock, from 0."""
        return np.arange(len(self.proprio)) * HOLD / RATE_HZ


def rows_of(
    log: WorldLog,
    world: Warehouse,
    *,
    begin: int,
    end: int,
    robot: str,
    goal: Goal,
    look: Callable[[], np.ndarray] | None = None,
) -> Rows:
    """Let a stretch of a log happen again, from one robot's point of view.

    Args:
        log: What the motors were told.
        world: Used for it; afterwards it is at the end of the stretch.
        begin: First step.
        end: One after the last; what is no whole row at the end is left out.
        robot: Whose attempt it is.
        goal: What it was to do.
        look: Draws what its camera sees in ``world``; None for no pictures.

    Raises:
        InvalidConfig: The stretch is shorter than one row.
        DamagedData: The log does not reach there, or does not repeat.
    """
    count = (end - begin) // HOLD
    if count < 1:
        raise InvalidConfig(f"steps {begin} to {end} are less than one row of {HOLD}")
    start: Mapping[str, float] = {}
    images, proprio, evidence = [], [], []
    applied: list[np.ndarray] = []
    joints = len(coordinates_of(robot))
    still = np.concatenate([np.zeros(joints), np.full(world.robots[robot].size - joints, -1.0)])
    for number, commands in enumerate(log.replay(world, begin, begin + count * HOLD)):
        if number % HOLD == 0:
            if number == 0:
                start = start_of(world, robot, goal)
            else:
                evidence.append(evidence_of(world, robot, goal))
            proprio.append(proprio_of(world, robot))
            if look is not None:
                images.append(look())
        applied.append(_applied(commands, robot, applied[-1] if applied else still))
    evidence.append(evidence_of(world, robot, goal))
    return Rows(
        images=np.array(images) if images else None,
        proprio=np.array(proprio),
        applied=in_rows(np.array(applied), joints),
        evidence=np.array(evidence),
        start=start,
    )


def in_rows(commands: np.ndarray, joints: int) -> np.ndarray:
    """Return commands of control steps as actions of rows, float32 ``(T, A)``.

    Args:
        commands: float64 ``(T * HOLD, A)``.
        joints: How many of the coordinates are speeds; the others are grips.
    """
    steps = commands.reshape(-1, HOLD, commands.shape[1])
    speeds, grips = steps[:, :, :joints].mean(axis=1), steps[:, -1, joints:]
    return np.concatenate([speeds, grips], axis=1).astype(np.float32)


def _applied(commands: Commands, robot: str, before: np.ndarray) -> np.ndarray:
    """Return what the motors of a robot followed; one that stands keeps its grip."""
    command = commands.get(robot)
    if command is not None:
        return command
    joints = len(coordinates_of(robot))
    return np.concatenate([np.zeros(joints), before[joints:]])
