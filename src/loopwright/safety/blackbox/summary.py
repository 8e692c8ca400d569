"""A flight in numbers: how long, what was altered and why, how near the limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loopwright.safety.blackbox.flight import Flight


@dataclass(frozen=True, kw_only=True, slots=True)
class FlightSummary:
    """What one wants to know of a flight first."""

    robot: str
    instruction: str
    steps: int
    missing_steps: int
    """Numbers that are missing between recorded steps."""
    duration_s: float
    altered: int
    """Steps in which the actuators got something else than was asked for."""
    stopping: int
    """Steps in the safe state."""
    malformed: int
    """Steps whose request was no N numbers."""
    reasons: dict[str, int]
    """Name to number of steps, most first; without the unaltered ones."""
    margins: dict[str, float]
    """Smallest margin, and quantiles; NaN is left out."""
    oldest_request_s: float
    """Largest finite age."""
    oldest_sensor_s: float
    notes: int
    snapshots: int
    torn_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def summarise(flight: Flight) -> FlightSummary:
    """Count what a flight holds."""
    steps = flight.steps
    time_s, reason = steps["monotonic_s"], steps["reason"]
    codes, counts = np.unique(reason[reason != 0], return_counts=True)
    by_count = sorted(zip(counts.tolist(), codes.tolist(), strict=True), reverse=True)
    return FlightSummary(
        robot=f"{flight.header.robot_id} ({flight.header.body.robot})",
        instruction=flight.header.instruction,
        steps=len(steps),
        missing_steps=int((np.diff(steps["sequence"].astype(np.int64)) - 1).clip(0).sum()),
        duration_s=float(time_s[-1] - time_s[0]) if len(steps) else 0.0,
        altered=int((reason != 0).sum()),
        stopping=int((steps["stopping"] != 0).sum()),
        malformed=int((steps["request_form"] != 0).sum()),
        reasons={flight.reason_name(code): count for count, code in by_count},
        margins=_quantiles(steps["margin"]),
        oldest_request_s=_largest(steps["request_age_s"]),
        oldest_sensor_s=_largest(steps["sensor_age_s"]),
        notes=len(flight.notes),
        snapshots=len(flight.snapshots),
        torn_bytes=flight.torn_bytes,
    )


def _quantiles(values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    shares = {"least": 0.0, "1 %": 0.01, "median": 0.5}
    return {name: float(np.quantile(known, share)) for name, share in shares.items()}


def _largest(values: np.ndarray) -> float:
    return float(values[np.isfinite(values)].max(initial=0.0))
