"""Means with intervals, for items that come in groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.seeds import generator
from loopwright.core.statistics import check_confidence, clopper_pearson
from loopwright.train.evaluate.task import Metric

REPLICATES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """A mean with its interval."""

    value: float
    low: float
    high: float
    unit: str
    items: int
    groups: int
    """What the interval is over; the number to judge it by."""


def score(
    metric: Metric,
    values: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Score:
    """Return the weighted mean of a metric and the percentile bootstrap over whole groups.

    A share of which every item agrees has no spread to draw from: its interval is then the exact
    one over groups (0 of 60 is not "zero for sure").

    Args:
        metric: What the values are, and how their mean is read.
        values: float ``(R,)``.
        groups: ``(R,)``, anything that sorts.
        weights: float ``(R,)``; equal by default.
        confidence: Of the interval.
        seed: Of the draws.
    """
    check_confidence(confidence)
    if not len(values):
        raise InvalidConfig(f"no values of {metric.name!r} to take the mean of")
    names, group_R = np.unique(groups, return_inverse=True)
    weight_R = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    weight_G = np.bincount(group_R, weight_R)
    total_G = np.bincount(group_R, weight_R * values)
    drawn = generator(seed, "bootstrap").multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=REPLICATES
    )
    means = (drawn @ total_G) / (drawn @ weight_G)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    mean = float(total_G.sum() / weight_G.sum())
    if metric.unit == "share" and np.ptp(values) == 0 and mean in (0.0, 1.0):
        low, high = clopper_pearson(round(mean * len(names)), len(names), confidence)
    ends = sorted((metric.of_mean(float(low)), metric.of_mean(float(high))))
    return Score(
        value=metric.of_mean(mean),
        low=ends[0],
        high=ends[1],
        unit=metric.unit,
        items=len(values),
        groups=len(names),
    )
