"""How to spend a budget of compute: the size and the data with the lowest loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.train.scaling.fit import Fit
from loopwright.train.scaling.law import ScalingRun
from loopwright.train.scaling.regression import Estimate

FlopsPerToken = Callable[[float], float]
"""Training FLOPs of one token as a function of active parameters; rising."""

_NUM_COARSE = 256
_NUM_BISECTIONS = 48
_GOLDEN = (math.sqrt(5) - 1) / 2
_ISO_SPAN = 30.0
"""The iso-FLOP curve reaches from the optimal size over this to the optimal size times this."""


def six_per_parameter(params: float) -> float:
    """Return ``6 N``: two FLOPs a parameter forwards, four backwards, attention left out."""
    return 6.0 * params


@dataclass(frozen=True, kw_only=True, slots=True)
class IsoFlop:
    """Losses of all ways to spend one budget; sequences of equal length, sizes rising."""

    params: tuple[float, ...]
    tokens: tuple[float, ...]
    loss: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The compute-optimal way to spend a budget."""

    budget_flops: float
    params: Estimate
    tokens: Estimate
    loss: Estimate
    """At the optimum, as the law has it."""
    tokens_per_param: Estimate
    iso_flop: IsoFlop
    compute_extrapolation: float
    """Budget over the dearest fitted run, at least 1."""


def plan(
    fit: Fit,
    budget_flops: float,
    flops_per_token: FlopsPerToken = six_per_parameter,
    *,
    iso_points: int = 61,
) -> Plan:
    """Return the size and data with the lowest loss that a budget buys.

    Each bootstrap law is planned for by itself; the intervals are over those plans.

    Args:
        fit: A fitted law.
        budget_flops: Training FLOPs to spend on one run.
        flops_per_token: Training FLOPs of a token for a size; rising, and cheap to call.
        iso_points: Points of the iso-FLOP curve.

    Raises:
        InvalidConfig: The budget buys no token of the smallest imaginable model.
    """
    if not budget_flops > flops_per_token(1.0):
        raise InvalidConfig(
            f"a budget of {budget_flops:g} FLOPs does not train one parameter on one token; "
            "expected a budget such as 1e18"
        )
    laws = np.concatenate([np.array([_unknowns(fit)]), fit.draws])
    budget = _Budget(flops=budget_flops, flops_per_token=flops_per_token)
    log_params = _lowest(budget, laws)
    params = np.exp(log_params)
    tokens = budget.tokens(log_params)
    loss = _losses(laws, log_params[:, None], tokens[:, None])[:, 0]
    spent = max(_flops(run, flops_per_token) for run in fit.runs)
    return Plan(
        budget_flops=budget_flops,
        params=fit.estimate(params[0], params[1:]),
        tokens=fit.estimate(tokens[0], tokens[1:]),
        loss=fit.estimate(loss[0], loss[1:]),
        tokens_per_param=fit.estimate(tokens[0] / params[0], tokens[1:] / params[1:]),
        iso_flop=_iso_flop(fit, budget, float(log_params[0]), iso_points),
        compute_extrapolation=max(1.0, budget_flops / spent),
    )


def flops_per_token_of(runs: Sequence[ScalingRun]) -> FlopsPerToken:
    """Return FLOPs a token as a power law through runs whose FLOPs were measured.

    Raises:
        Unidentified: Fewer than two sizes have measured FLOPs.
    """
    measured = [run for run in runs if run.flops is not None]
    if len({run.params for run in measured}) < 2:
        raise Unidentified(
            f"{len(measured)} runs with measured FLOPs, of fewer than two sizes; record the FLOPs "
            "of more runs, or give flops_per_token as a function"
        )
    log_params = np.log([run.params for run in measured])
    log_costs = np.log([(run.flops or 0.0) / run.tokens for run in measured])
    slope, intercept = np.polyfit(log_params, log_costs, 1)
    return lambda params: float(np.exp(intercept + slope * np.log(params)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Budget:
    flops: float
    flops_per_token: FlopsPerToken

    def tokens(self, log_params: np.ndarray) -> np.ndarray:
        """Return the tokens that each size can be trained on; same shape."""
        costs = [self.flops_per_token(size) for size in np.exp(log_params).ravel().tolist()]
        return self.flops / np.reshape(costs, log_params.shape)


def _lowest(budget: _Budget, laws: np.ndarray) -> np.ndarray:
    """Return the ln of the best size ``(P,)`` for each law: a coarse look, then golden section."""
    coarse = np.linspace(0.0, math.log(budget.flops), _NUM_COARSE)
    tokens = budget.tokens(coarse)
    affordable = tokens >= 1
    coarse, tokens = coarse[affordable], tokens[affordable]
    best = _losses(laws, coarse, tokens).argmin(axis=1)
    low = coarse[np.maximum(best - 1, 0)]
    high = coarse[np.minimum(best + 1, len(coarse) - 1)]
    for _ in range(_NUM_BISECTIONS):
        width = _GOLDEN * (high - low)
        inner = np.stack([high - width, low + width], axis=1)
        losses = _losses(laws, inner, budget.tokens(inner))
        left = losses[:, 0] <= losses[:, 1]
        low, high = np.where(left, low, inner[:, 0]), np.where(left, inner[:, 1], high)
    return (low + high) / 2


def _losses(laws: np.ndarray, log_params: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return losses ``(P, X)`` of laws ``(P, 5)`` at places ``(X,)`` or ``(P, X)``."""
    E, A, B, alpha, beta = laws.T[..., None]
    return E + A * np.exp(-alpha * log_params) + B * tokens**-beta


def _iso_flop(fit: Fit, budget: _Budget, log_best: float, num_points: int) -> IsoFlop:
    log_params = log_best + np.linspace(-1, 1, num_points) * math.log(_ISO_SPAN)
    tokens = budget.tokens(log_params)
    log_params, tokens = log_params[tokens >= 1], tokens[tokens >= 1]
    params = np.exp(log_params)
    values = fit.law.loss(params, tokens)
    drawn = fit.drawn_losses(params, tokens)
    bands = [fit.estimate(value, column) for value, column in zip(values, drawn.T, strict=True)]
    return IsoFlop(
        params=tuple(params.tolist()),
        tokens=tuple(tokens.tolist()),
        loss=tuple(values.tolist()),
        low=tuple(band.low for band in bands),
        high=tuple(band.high for band in bands),
    )


def _unknowns(fit: Fit) -> list[float]:
    law = fit.law
    return [law.E, law.A, law.B, law.alpha, law.beta]


def _flops(run: ScalingRun, flops_per_token: FlopsPerToken) -> float:
    return run.flops or flops_per_token(run.params) * run.tokens
