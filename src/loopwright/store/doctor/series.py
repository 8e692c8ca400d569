"""The time series of an episode: numbers, clock and ranges that a robot can have produced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from loopwright.store.doctor import Finding, Severity
from loopwright.store.episode_files import TABLE, Description

_JUMP = 3.0
"""A step this many times longer or shorter than the rate says is a jump of the clock."""
_TOLERANCE = 1e-5
"""Share of a range by which an action may lie outside: rounding to float32, no more."""


def examine_series(
    description: Description, columns: Mapping[str, np.ndarray]
) -> Iterator[Finding]:
    """Look at the columns of an episode's table."""
    rows = len(columns["time_s"])
    if rows != description.num_steps:
        yield _finding(
            description,
            "table/length",
            f"it has {rows} rows, expected {description.num_steps}",
            severity="damage",
            repair="move the episode to episodes/quarantine, with the reason",
        )
    for name, values in columns.items():
        sound = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
        if bad := np.flatnonzero(~sound).tolist():
            yield _finding(
                description,
                "table/not-finite",
                f"{name} is NaN or infinite in {len(bad)} of {rows} rows, first in row {bad[0]}",
            )
    yield from _clock(description, columns["time_s"])
    for name in ("requested", "applied"):
        if name in columns:
            yield from _range(description, name, columns[name])


def _clock(description: Description, time_s: np.ndarray) -> Iterator[Finding]:
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite was told already
        steps_s = np.diff(time_s)
    period_s = 1.0 / description.header.interface.rate_hz
    if back := np.flatnonzero(steps_s <= 0).tolist():
        yield _finding(
            description,
            "time/order",
            f"time does not increase at {len(back)} of {len(time_s)} rows, first from "
            f"{time_s[back[0]]:.6f} s to {time_s[back[0] + 1]:.6f} s after row {back[0]}",
        )
    forward = steps_s > 0
    jumps = forward & ((steps_s > _JUMP * period_s) | (steps_s < period_s / _JUMP))
    if found := np.flatnonzero(jumps).tolist():
        yield _finding(
            description,
            "time/jump",
            f"the clock jumps at {len(found)} of {len(time_s)} rows, first by "
            f"{steps_s[found[0]]:.6f} s after row {found[0]}; expected about {period_s:.6f} s",
        )


def _range(description: Description, name: str, values: np.ndarray) -> Iterator[Finding]:
    action = description.header.interface.action
    low, high = np.asarray(action.low), np.asarray(action.high)
    slack = _TOLERANCE * np.maximum(1.0, np.maximum(np.abs(low), np.abs(high)))
    outside = (values < low - slack) | (values > high + slack)
    for column in np.flatnonzero(outside.any(axis=0)).tolist():
        rows = np.flatnonzero(outside[:, column])
        worst = values[rows[np.argmax(np.abs(values[rows, column]))], column]
        yield _finding(
            description,
            "action/range",
            f"{name} {action.names[column]!r} leaves [{low[column]:g}, {high[column]:g}] in "
            f"{len(rows)} of {len(values)} rows, as far as {worst:g}, first in row {rows[0]}",
        )


def _finding(
    description: Description,
    check: str,
    message: str,
    *,
    severity: Severity = "suspicion",
    repair: str | None = None,
) -> Finding:
    return Finding(
        check=check,
        severity=severity,
        where=f"episodes/{description.id}/{TABLE}",
        message=message,
        repair=repair,
        episode=description.id,
    )
