"""From an attempt to its joint commands: which black box holds them, and where in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.safety.blackbox.flight import Flight, read_flight


@dataclass(frozen=True, kw_only=True, slots=True)
class FlightPart:
    """The steps of a flight that fall into a time."""

    path: Path
    first_record: int
    last_record: int
    """Numbers in the chain; steps, and what else was recorded between them."""
    steps: int
    altered: dict[str, int]
    """Reason to how many steps the guard altered for it."""
    middle_record: int
    middle_applied: tuple[float, ...]
    """What the actuators were given halfway, in the units of the body: one of many, to see."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "flight": str(self.path),
            "first_record": self.first_record,
            "last_record": self.last_record,
            "steps": self.steps,
            "altered": self.altered,
            "middle_record": self.middle_record,
            "middle_applied": list(self.middle_applied),
        }


def flight_parts(folder: Path, robot: str, from_s: float, until_s: float) -> list[FlightPart]:
    """Return where a robot's joint commands of a time are recorded, the oldest first.

    Args:
        folder: Where flights lie.
        robot: Whose.
        from_s: Wall clock, seconds since 1970.
        until_s: Wall clock.

    Raises:
        DamagedData: A flight of that time cannot be read.
    """
    began = sorted((_began_s(path), path) for path in folder.glob(f"{robot}-*T*Z.flight"))
    ends = [*(began_s for began_s, _ in began[1:]), float("inf")]
    parts = [
        _part(read_once(path), from_s, until_s)
        for (began_s, path), end_s in zip(began, ends, strict=False)
        if began_s <= until_s and end_s >= from_s
    ]
    return [part for part in parts if part is not None]


@lru_cache(maxsize=8)
def read_once(path: Path) -> Flight:
    """Return a flight; several attempts are looked up in one."""
    return read_flight(path)


def _part(flight: Flight, from_s: float, until_s: float) -> FlightPart | None:
    steps = flight.steps
    if not len(steps):
        return None
    offset_s = flight.utc_ns(0.0) / 1e9
    time_s = steps["monotonic_s"] + offset_s
    rows = np.flatnonzero((time_s >= from_s) & (time_s <= until_s))
    if not len(rows):
        return None
    first, middle, last = int(rows[0]), int(rows[len(rows) // 2]), int(rows[-1])
    codes, counts = np.unique(steps["reason"][rows], return_counts=True)
    return FlightPart(
        path=flight.path,
        first_record=int(flight.records[first]),
        last_record=int(flight.records[last]),
        steps=len(rows),
        altered={
            flight.reason_name(int(code)): int(count)
            for code, count in zip(codes, counts, strict=True)
            if code
        },
        middle_record=int(flight.records[middle]),
        middle_applied=tuple(np.atleast_1d(steps["applied"][middle]).tolist()),
    )


def _began_s(path: Path) -> float:
    """Return when a flight began, by its name.

    Raises:
        DamagedData: It is no name that a recorder gave.
    """
    date = path.stem.rpartition("-")[2]
    try:
        return datetime.strptime(date, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise DamagedData(f"{path} is no name of a flight; move it away") from error
