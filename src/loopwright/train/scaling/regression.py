"""A robust fit of a curve with a bootstrap that covers.

Residuals are drawn again with the places fixed (a study chooses its sizes and tokens; chance only
enters the losses) and the curve is fitted anew to each draw. Percentiles of such draws are too
narrow when runs are few: with 12 runs and five unknowns a nominal 95 % held the truth in 88 % of
simulations. Two things are missing, and both are put back by stretching the residuals: what the fit
has swallowed, ``sqrt(n / (n - u))``, and Student's t over the Gauss quantile, because the spread is
itself estimated from few residuals. See ``docs/concepts/scaling.md`` for the measured coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.seeds import generator
from loopwright.core.statistics import check_confidence, last_true, log_incomplete_beta
from loopwright.train.scaling.solve import Curve, solve_from_each

_TUNING = 1.345
"""Huber's constant: 95 % of the efficiency of least squares on Gaussian noise."""
_GAUSS_MEDIAN = 0.6745
"""Median of the size of a standard Gaussian variable."""
_SMALLEST_DELTA = 1e-5
_NUM_REWEIGHTINGS = 4


class Estimate(NamedTuple):
    """A number with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """How a fit is made and how sure its intervals are."""

    confidence: float = 0.95
    replicates: int = 1000
    """Draws of the bootstrap."""
    huber_delta: float | None = None
    """Residual beyond which a run counts linearly, in nats of log loss. None adapts it to the noise
    (1.345 times the robust spread); Hoffmann et al. used 1e-3, which on noisier runs than theirs is
    the least-absolute-deviations fit."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what gives no interval."""
        check_confidence(self.confidence)
        if self.replicates < 100:
            raise InvalidConfig(f"replicates {self.replicates}; expected at least 100 draws")
        if self.huber_delta is not None and not self.huber_delta > 0:
            raise InvalidConfig(f"huber_delta {self.huber_delta}; expected above 0, or None")


@dataclass(frozen=True, kw_only=True, slots=True)
class Regression:
    """A fitted curve and its bootstrap."""

    unknowns: np.ndarray
    """``(U,)``."""
    draws: np.ndarray
    """``(replicates, U)``."""
    residuals: np.ndarray
    """``(R,)``: what the curve leaves over."""
    stretched: np.ndarray
    """``(R,)``: residuals as the bootstrap draws them, of mean zero."""
    huber_delta: float
    """The one that was used."""


def regress(curve: Curve, targets: np.ndarray, starts: np.ndarray, config: FitConfig) -> Regression:
    """Fit a curve to observations and bootstrap it.

    Args:
        curve: With fewer unknowns than there are observations.
        targets: ``(R,)`` observations.
        starts: ``(S, U)`` unknowns to start from; the fit tries all of them.
        config: See :class:`FitConfig`.
    """
    observed = targets[None]
    delta = config.huber_delta or _adapted_delta(curve, observed, starts)
    found = solve_from_each(curve, observed, starts, huber_delta=delta).unknowns
    fitted = curve.values(found)[0]
    residuals = targets - fitted
    spare = len(targets) - starts.shape[1]
    stretch = math.sqrt(len(targets) / spare) * _student_over_gauss(spare, config.confidence)
    stretched = (residuals - residuals.mean()) * stretch
    random = generator(config.seed, "scaling", "residuals")
    redrawn = fitted + random.choice(stretched, size=(config.replicates, len(targets)))
    # The minimum of a draw lies near the fit or, when it hops, near one of a few far starts.
    nearby = np.concatenate([found, starts[:: max(1, len(starts) // 3)]])
    draws = solve_from_each(curve, redrawn, nearby, huber_delta=delta).unknowns
    return Regression(
        unknowns=found[0],
        draws=draws,
        residuals=residuals,
        stretched=stretched,
        huber_delta=delta,
    )


def estimate(value: float, draws: np.ndarray, confidence: float) -> Estimate:
    """Return a value with the percentile interval of its bootstrap draws."""
    tail = (1 - confidence) / 2
    # No interpolation: a draw may be infinite.
    low, high = np.quantile(draws, [tail, 1 - tail], method="nearest")
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def _adapted_delta(curve: Curve, observed: np.ndarray, starts: np.ndarray) -> float:
    """Return the Huber constant that fits the noise, starting from plain least squares."""
    num_runs, num_unknowns = observed.shape[1], starts.shape[1]
    delta, begins = 1e3, starts
    for _ in range(_NUM_REWEIGHTINGS):
        begins = solve_from_each(curve, observed, begins, huber_delta=delta).unknowns
        size = np.median(np.abs(observed - curve.values(begins)))
        spread = size / _GAUSS_MEDIAN * math.sqrt(num_runs / (num_runs - num_unknowns))
        delta = max(_TUNING * float(spread), _SMALLEST_DELTA)
    return delta


def _student_over_gauss(degrees: int, confidence: float) -> float:
    """Return by how much Student's two-sided quantile exceeds the Gaussian one."""

    def beyond(t: float) -> float:
        return math.exp(log_incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t)))

    quantile = last_true(lambda t: beyond(t) >= 1 - confidence, 0.0, 1e6)
    return quantile / NormalDist().inv_cdf((1 + confidence) / 2)
