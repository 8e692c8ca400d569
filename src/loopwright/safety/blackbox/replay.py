"""Doing a flight again: the recorded commands on the same plant must measure the same, bit by bit.

That holds on the build that flew: the same simulator, the same library versions, the same kind of
processor. A difference says at which step it began.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig, Untrusted
from loopwright.core.stage import resolve_entry
from loopwright.safety.blackbox.flight import Flight, Snapshot
from loopwright.safety.body import Measured, Plant


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayReport:
    """What came out when a flight was flown again."""

    first_step: int
    """Number of the step whose state was put back."""
    steps: int
    """How many measured states were compared."""
    first_difference: int | None
    """Number of the first step whose measured state was another one."""
    worst_position: float
    """Largest difference of a position, in the units of the body."""
    worst_speed: float
    missing: int
    """Numbers missing between recorded steps: commands that were applied and are not known."""
    same_build: bool
    """Whether the flight names the build that replayed it."""

    @property
    def exact(self) -> bool:
        """Whether all measured states are the recorded ones, bit by bit."""
        return self.steps > 0 and self.first_difference is None and self.missing == 0


OWN_PLANTS = "loopwright.scenarios."
"""Plants that may be made on the word of any file."""


def plant_of(flight: Flight, *, trusted: bool = False) -> Plant:
    """Make the plant that the header of a flight names.

    Args:
        flight: What was recorded.
        trusted: Whether whoever recorded it is known, by verifying the chain: the header may name
            any function of any installed package, and that is called.

    Raises:
        InvalidConfig: It names none, or one that cannot be imported.
        Untrusted: It names one that is none of Loopwright's, and the flight is not trusted.
    """
    robot = flight.header.robot
    if robot.plant is None:
        raise InvalidConfig(
            f"{flight.header.body.robot} has no plant of its own: neither a real robot nor one "
            "that shares its simulated world with others can be replayed alone"
        )
    if not trusted and not robot.plant.startswith(OWN_PLANTS):
        raise Untrusted(
            f"this flight would call {robot.plant!r}, which is no plant of Loopwright; verify who "
            "recorded it first"
        )
    return resolve_entry(robot.plant)(**robot.config)


def replay(
    flight: Flight, plant: Plant, start: Snapshot | None = None, *, most_steps: int | None = None
) -> ReplayReport:
    """Apply the recorded commands again.

    Args:
        flight: What was recorded.
        plant: Where; it ends in the state after the last step.
        start: Which of the flight's snapshots to begin at; the first by default.
        most_steps: How many steps at most.

    Raises:
        InvalidConfig: The flight has no snapshot or no step after it, or the plant is another body.
    """
    if plant.spec.coordinates != flight.header.body.coordinates:
        raise InvalidConfig(
            f"this plant is {plant.spec.robot}, the flight is of {flight.header.body.robot}"
        )
    start = start or _first(flight)
    rows = flight.steps[flight.steps["sequence"] >= start.next_step][:most_steps]
    if not len(rows) or rows["sequence"][0] != start.next_step:
        raise InvalidConfig(f"step {start.next_step}, where the snapshot was made, is not recorded")
    comparison = _Comparison()
    measured = plant.load(start.state)
    for row in rows:
        comparison.take(row, measured)
        measured = plant.stop() if row["stopping"] else plant.step(row["applied"].copy())
    gaps = np.diff(rows["sequence"].astype(np.int64)) - 1
    return ReplayReport(
        first_step=start.next_step,
        steps=len(rows),
        first_difference=comparison.first,
        worst_position=comparison.position,
        worst_speed=comparison.speed,
        missing=int(np.abs(gaps).sum()),
        same_build=plant.spec.build == flight.header.body.build,
    )


def _first(flight: Flight) -> Snapshot:
    if not flight.snapshots:
        raise InvalidConfig(
            f"{flight.path} has no snapshot to begin at; of a robot in a cell, replay the flight "
            "that its drive recorded (ROBOT.drive-DATE.flight), not its guard's"
        )
    return flight.snapshots[0]


class _Comparison:
    """Holds measured states against recorded ones."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.position = self.speed = 0.0

    def take(self, row: np.void, measured: Measured) -> None:
        """Compare one step; bits, so that NaN equals NaN and 0 is not -0."""
        same = (
            row["position"].tobytes() == measured.position.tobytes()
            and row["speed"].tobytes() == measured.speed.tobytes()
        )
        if same:
            return
        if self.first is None:
            self.first = int(row["sequence"])
        self.position = max(self.position, float(np.abs(row["position"] - measured.position).max()))
        self.speed = max(self.speed, float(np.abs(row["speed"] - measured.speed).max()))
