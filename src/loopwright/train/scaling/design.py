"""What a grid must hold before any fit can tell the law from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loopwright.core.errors import Unidentified
from loopwright.train.scaling.law import ScalingRun

MIN_RUNS = 6
MIN_LEVELS = 3
"""Two sizes give one difference, and a term ``A N^-alpha`` has two unknowns."""
MIN_RATIO = 2.0
"""Between the largest and the smallest; over less, every power law is a straight line."""
_SAME = 0.01
"""Sizes closer than this in logs are one size."""
_FLAT = 1e-6


def check_design(sizes: Sequence[float], tokens: Sequence[float]) -> None:
    """Refuse places from which no law can be told, whatever the losses.

    Args:
        sizes: Active parameters of each run.
        tokens: Training tokens of each run.

    Raises:
        Unidentified: The message says what to add.
    """
    if len(sizes) < MIN_RUNS:
        raise Unidentified(
            f"{len(sizes)} runs for a law of five unknowns; add at least "
            f"{MIN_RUNS - len(sizes)} more (nine or more, over three sizes and three amounts of "
            "data, give useful intervals)"
        )
    _check_axis(sizes, "sizes", "parameters")
    _check_axis(tokens, "amounts of training data", "tokens")
    if _explained(np.log(sizes), np.log(tokens)) > 0.99:
        raise Unidentified(
            "data grow in step with size in all runs, so that the two cannot be told apart; add "
            "runs of the smallest size on the most data and of the largest size on the least"
        )


def check_runs(runs: Sequence[ScalingRun]) -> None:
    """Refuse runs from which no law can be told.

    Raises:
        Unidentified: The message says what to add.
    """
    check_design([run.params for run in runs], [run.tokens for run in runs])
    losses = np.log([run.loss for run in runs])
    if np.ptp(losses) < _FLAT:
        raise Unidentified(
            f"all {len(runs)} losses are {runs[0].loss:.6g}: neither size nor data change them; "
            "check that the loss is measured after training, or add runs over a wider range"
        )


def _check_axis(values: Sequence[float], what: str, unit: str) -> None:
    logs = np.sort(np.log(values))
    levels = 1 + int((np.diff(logs) > _SAME).sum())
    ratio = float(np.exp(logs[-1] - logs[0]))
    if levels < MIN_LEVELS:
        raise Unidentified(
            f"{levels} of the {MIN_LEVELS} different {what} that a fit needs; add runs with "
            f"{MIN_LEVELS - levels} more, spread by a factor of four or more in {unit}"
        )
    if ratio < MIN_RATIO:
        raise Unidentified(
            f"the {what} span a factor of {ratio:.2f} in {unit}; expected at least "
            f"{MIN_RATIO:g}, and ten is better: add runs further apart"
        )


def _explained(x: np.ndarray, y: np.ndarray) -> float:
    """Return the squared correlation."""
    return float(np.corrcoef(x, y)[0, 1] ** 2)
