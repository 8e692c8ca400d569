"""What the law says of a run that has not been made, and whether it was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.core.seeds import generator
from loopwright.train.scaling.fit import Fit
from loopwright.train.scaling.law import ScalingRun
from loopwright.train.scaling.regression import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """The loss that a size would reach on an amount of data."""

    params: float
    tokens: float
    loss: Estimate
    """Of the law: what many such runs would average to."""
    one_run: Estimate
    """The same value with the interval for a single run, which has luck of its own."""
    extrapolation: float
    """How many times beyond the fitted sizes or data it lies; 1 inside the grid."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldBack:
    """A prediction beside the truth."""

    run: ScalingRun
    """Trained, and kept out of the fit."""
    prediction: Prediction

    @property
    def is_inside(self) -> bool:
        """Whether the interval for a single run holds the truth."""
        return self.prediction.one_run.low <= self.run.loss <= self.prediction.one_run.high

    @property
    def relative_error(self) -> float:
        """Prediction over truth, less one."""
        return self.prediction.loss.value / self.run.loss - 1


def predict(fit: Fit, *, params: float, tokens: float) -> Prediction:
    """Return the loss to expect of one size on one amount of data, with intervals.

    The intervals hold the noise of the runs and the doubt about the five unknowns. That the law
    keeps its form far outside the grid is assumed, so watch the extrapolation factor.
    """
    if not (params > 0 and tokens > 0):
        raise InvalidConfig(f"{params:g} parameters on {tokens:g} tokens; expected both above 0")
    value = fit.law.loss(params, tokens)
    drawn = fit.drawn_losses(params, tokens)
    random = generator(fit.config.seed, "scaling", "one run")
    luck = np.exp(random.choice(fit.noise, size=len(drawn)))
    return Prediction(
        params=params,
        tokens=tokens,
        loss=fit.estimate(value, drawn),
        one_run=fit.estimate(value, drawn * luck),
        extrapolation=fit.extrapolation(params, tokens),
    )


def compare(fit: Fit, run: ScalingRun) -> HeldBack:
    """Return what the fit predicted for a run that it has not seen, beside what came of it.

    Raises:
        InvalidConfig: The fit has seen it.
    """
    if run in fit.runs:
        raise InvalidConfig(
            f"the run with {run.params:g} parameters on {run.tokens:g} tokens is part of the fit; "
            "hold it back before fitting (hold_back_largest)"
        )
    return HeldBack(run=run, prediction=predict(fit, params=run.params, tokens=run.tokens))


def hold_back_largest(runs: Sequence[ScalingRun]) -> tuple[list[ScalingRun], ScalingRun]:
    """Return all runs but the one with the most compute, and that one."""
    if len(runs) < 2:
        raise Unidentified(f"{len(runs)} runs; add some before one can be held back")
    largest = max(range(len(runs)), key=lambda i: runs[i].flops or runs[i].params * runs[i].tokens)
    return [run for i, run in enumerate(runs) if i != largest], runs[largest]
