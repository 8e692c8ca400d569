"""From loss to score: the second step of the densing law.

``S(L) = floor + height / (1 + exp(slope (L - middle)))`` (Xiao et al. 2024, arXiv:2412.04315): a
score that rises from chance to a ceiling as the loss on the task's answers falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.train.scaling.regression import FitConfig, regress

_MIN_RESULTS = 5
_MARGIN = 0.1
"""A score may lie this share of the seen range outside it and still be read as a loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """One reference model: its loss on the task's answers, and its score."""

    loss: float
    score: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PerformanceLaw:
    """A fitted sigmoid from loss to score."""

    floor: float
    """Score of chance; given, not fitted."""
    unknowns: np.ndarray
    """``(3,)``: height, ln of slope, middle."""
    draws: np.ndarray
    """``(replicates, 3)``."""
    scores_seen: tuple[float, float]
    """Lowest and highest score that was fitted."""
    confidence: float

    def score(self, loss: float) -> float:
        """Return the score to expect at a loss."""
        return self.floor + float(_sigmoid(np.array([[loss]]), self.unknowns[None])[0, 0])

    def losses_at(self, score: float) -> tuple[float, np.ndarray]:
        """Return the loss at which a score is reached, and that of every bootstrap law.

        Draws whose ceiling or floor the score does not lie between give minus or plus infinity.

        Raises:
            Unidentified: The score lies outside those of the reference models.
        """
        low, high = self.scores_seen
        margin = _MARGIN * (high - low)
        if not low - margin <= score <= high + margin:
            raise Unidentified(
                f"a score of {score:.3g} lies outside the {low:.3g} to {high:.3g} of the reference "
                "models, where no sigmoid can be trusted; add reference models on that side of it"
            )
        value = _inverse(score - self.floor, self.unknowns[None])[0]
        if not np.isfinite(value):
            raise Unidentified(
                f"a score of {score:.3g} is beyond the fitted ceiling or floor; add reference "
                "models beyond it"
            )
        return float(value), _inverse(score - self.floor, self.draws)


def fit_performance(
    results: Sequence[Graded], *, floor: float = 0.0, config: FitConfig | None = None
) -> PerformanceLaw:
    """Fit the score of reference models against their loss.

    Args:
        results: Five reference models at the least, some near chance and some well above.
        floor: Score of chance (0.25 with four choices).
        config: Confidence, draws and seed; ``huber_delta`` is in units of score here.

    Raises:
        InvalidConfig: A loss or score is not finite.
        Unidentified: The results cannot tell a sigmoid.
    """
    config = config or FitConfig()
    losses = np.array([result.loss for result in results])
    scores = np.array([result.score for result in results])
    _check_results(losses, scores)
    centre, width = float(losses.mean()), float(losses.std())
    curve = _ScoreCurve(places=(losses - centre) / width)
    found = regress(curve, scores - floor, _starts(float(np.ptp(scores))), config)

    def natural(unknowns: np.ndarray) -> np.ndarray:
        height, log_slope, middle = unknowns.T
        return np.stack([height, log_slope - np.log(width), centre + width * middle], axis=1)

    return PerformanceLaw(
        floor=floor,
        unknowns=natural(found.unknowns[None])[0],
        draws=natural(found.draws),
        scores_seen=(float(scores.min()), float(scores.max())),
        confidence=config.confidence,
    )


def _check_results(losses: np.ndarray, scores: np.ndarray) -> None:
    if not (np.isfinite(losses).all() and np.isfinite(scores).all()):
        raise InvalidConfig("a loss or score of the reference models is not finite; leave it out")
    if len(losses) < _MIN_RESULTS:
        raise Unidentified(
            f"{len(losses)} reference models for a sigmoid of three unknowns; add at least "
            f"{_MIN_RESULTS - len(losses)} more"
        )
    if np.ptp(losses) == 0 or np.ptp(scores) == 0:
        raise Unidentified("the reference models all have one loss or one score; add other sizes")
    if np.corrcoef(losses, scores)[0, 1] >= 0:
        raise Unidentified(
            "the score does not rise as the loss falls; measure the loss on the answers of this "
            "task, or add reference models that are above chance"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _ScoreCurve:
    places: np.ndarray
    """``(R,)``: losses, centred and scaled."""

    @property
    def lowest(self) -> np.ndarray:
        return np.array([1e-3, -3.0, -6.0])

    @property
    def highest(self) -> np.ndarray:
        return np.array([1e3, 4.0, 6.0])

    def values(self, unknowns: np.ndarray) -> np.ndarray:
        return _sigmoid(self.places, unknowns)

    def slopes(self, unknowns: np.ndarray) -> np.ndarray:
        height, log_slope, middle = unknowns.T[..., None]
        slope = np.exp(log_slope)
        share = _sigmoid(self.places, unknowns) / height
        bend = height * share * (1 - share)
        return np.stack([share, -bend * slope * (self.places - middle), bend * slope], axis=-1)


def _sigmoid(losses: np.ndarray, unknowns: np.ndarray) -> np.ndarray:
    """Return scores above the floor, ``(P, R)``."""
    height, log_slope, middle = unknowns.T[..., None]
    return height * np.exp(-np.logaddexp(0.0, np.exp(log_slope) * (losses - middle)))


def _inverse(above_floor: float, unknowns: np.ndarray) -> np.ndarray:
    """Return the losses ``(P,)`` at which the sigmoids reach a score above the floor."""
    height, log_slope, middle = unknowns.T
    if above_floor <= 0:
        return np.full(len(height), np.inf)
    odds = np.maximum(height / above_floor - 1, 0.0)
    with np.errstate(divide="ignore"):
        return middle + np.log(odds) / np.exp(log_slope)


def _starts(span: float) -> np.ndarray:
    return np.array([[span * h, np.log(s), m] for h in (1, 2) for s in (1, 3) for m in (-1, 0, 1)])
