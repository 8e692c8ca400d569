"""From an attempt to its joint commands: which black box holds them, and where in it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.safety.blackbox.flight import Flight, read_flight

_BEGUN_BEFORE_S = 60.0
"""A flight is begun before the one that it continues ends, by less than this."""
_WRITTEN_WITHIN_S = 10.0
"""Recorders write every second; what has not grown for so long is over."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """How black boxes fill a disk; a guard that cannot record any more stops its robot."""

    kept_bytes: int
    """Of all flights of the folder."""
    grows_bytes_per_s: float
    free_bytes: int

    @property
    def lasts_s(self) -> float:
        """How long there is room, if nothing else fills the disk."""
        rate = self.grows_bytes_per_s
        return self.free_bytes / rate if rate else float("inf")

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "kept_bytes": self.kept_bytes,
            "grows_bytes_per_s": self.grows_bytes_per_s,
            "free_bytes": self.free_bytes,
            "lasts_s": self.lasts_s if self.grows_bytes_per_s else None,
        }


def recording_of(folder: Path) -> Recording:
    """Return how the flights of a folder grow, by those that are being written.

    Raises:
        DamagedData: One has a name that no recorder gave.
    """
    kept, rate, now_s = 0, 0.0, time.time()
    for path in folder.glob("*.flight"):
        stat = path.stat()
        kept += stat.st_size
        if now_s - stat.st_mtime < _WRITTEN_WITHIN_S:
            rate += stat.st_size / max(1.0, stat.st_mtime - _began_s(path))
    return Recording(
        kept_bytes=kept, grows_bytes_per_s=rate, free_bytes=shutil.disk_usage(folder).free
    )


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
    paths = flights_between(folder, robot, from_s, until_s)
    parts = [_part(read_once(path), from_s, until_s) for path in paths]
    return [part for part in parts if part is not None]


def flights_between(folder: Path, robot: str, from_s: float, until_s: float) -> list[Path]:
    """Return the flights of a robot that may tell of a time, by their names, the oldest first.

    Args:
        folder: Where flights lie.
        robot: Whose.
        from_s: Wall clock, seconds since 1970.
        until_s: Wall clock.

    Raises:
        DamagedData: One has a name that no recorder gave.
    """
    began = sorted((_began_s(path), path) for path in folder.glob(f"{robot}-*T*Z.flight"))
    ends = [*(began_s + _BEGUN_BEFORE_S for began_s, _ in began[1:]), float("inf")]
    return [
        path
        for (began_s, path), end_s in zip(began, ends, strict=False)
        if began_s <= until_s and end_s >= from_s
    ]


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
