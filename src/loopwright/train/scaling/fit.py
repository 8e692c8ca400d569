"""Fit the scaling law to finished runs, and say how far it can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np

from loopwright.core.errors import Unidentified
from loopwright.train.scaling.design import check_runs
from loopwright.train.scaling.law import Law, ScalingRun
from loopwright.train.scaling.regression import Estimate, FitConfig, estimate, regress

_NEGLIGIBLE = 0.01
"""An irreducible loss below this share of the lowest loss seen is as good as none."""
_AT_THE_WALL = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fit:
    """A fitted law with everything that its intervals need."""

    law: Law
    draws: np.ndarray
    """``(replicates, 5)`` bootstrap laws: columns E, A, B, alpha, beta."""
    runs: tuple[ScalingRun, ...]
    noise: np.ndarray
    """``(R,)`` log-loss residuals, stretched for few runs: how far one more run may fall."""
    huber_delta: float
    config: FitConfig

    def estimates(self) -> dict[str, Estimate]:
        """Return E, A, B, alpha, beta and the exponents of the compute-optimal size and data.

        ``size_exponent`` is ``a`` in ``N_opt ~ C^a`` where compute is proportional to ``N D``.
        """
        found = {name: getattr(self.law, name) for name in ("E", "A", "B", "alpha", "beta")}
        drawn = dict(zip(found, self.draws.T, strict=True))
        for values in (found, drawn):
            total = values["alpha"] + values["beta"]
            values["size_exponent"] = values["beta"] / total
            values["data_exponent"] = values["alpha"] / total
        return {name: self.estimate(found[name], drawn[name]) for name in found}

    def estimate(self, value: float, draws: np.ndarray) -> Estimate:
        """Return a value with the interval of its draws, at the confidence of this fit."""
        return estimate(float(value), draws, self.config.confidence)

    def drawn_losses(self, params: np.ndarray | float, tokens: np.ndarray | float) -> np.ndarray:
        """Return the losses of all bootstrap laws, ``(replicates, ...)``; places broadcast."""
        params, tokens = np.broadcast_arrays(params, tokens)
        E, A, B, alpha, beta = self.draws.T.reshape(5, -1, *[1] * params.ndim)
        return E + A * params**-alpha + B * tokens**-beta

    @property
    def is_irreducible_loss_identified(self) -> bool:
        """Whether the runs tell E from zero. If not, trust only losses near the grid."""
        return self.estimates()["E"].low > _NEGLIGIBLE * min(run.loss for run in self.runs)

    @property
    def spread(self) -> float:
        """Standard deviation of one run about the law, in nats of log loss."""
        missed = [np.log(run.loss / self.law.loss(run.params, run.tokens)) for run in self.runs]
        return float(np.sqrt(np.square(missed).sum() / (len(missed) - 5)))

    def extrapolation(self, params: float | None, tokens: float | None) -> float:
        """Return how many times beyond the fitted range a place lies; 1 inside it."""
        factors = [1.0]
        for value, name in ((params, "params"), (tokens, "tokens")):
            if value is not None:
                seen = [getattr(run, name) for run in self.runs]
                factors += [value / max(seen), min(seen) / value]
        return max(factors)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back."""
        return {
            "law": asdict(self.law),
            "draws": self.draws.tolist(),
            "runs": [asdict(run) for run in self.runs],
            "noise": self.noise.tolist(),
            "huber_delta": self.huber_delta,
            "config": asdict(self.config),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fit:
        """Read what :meth:`to_json` wrote."""
        return cls(
            law=Law(**data["law"]),
            draws=np.array(data["draws"]),
            runs=tuple(ScalingRun(**run) for run in data["runs"]),
            noise=np.array(data["noise"]),
            huber_delta=data["huber_delta"],
            config=FitConfig(**data["config"]),
        )


def fit(runs: Sequence[ScalingRun], config: FitConfig | None = None) -> Fit:
    """Fit ``L = E + A N^-alpha + B D^-beta`` to finished runs.

    The fit is that of Hoffmann et al. (2022, approach 3): Huber's loss on log losses, the terms
    written as logs, the best of many starts. Runs must be trained separately, each with its own
    schedule to its end; checkpoints of one run share their luck, and the intervals would lie.

    Args:
        runs: At least six; three sizes and three amounts of data at the least, varied
            independently. Nine to twenty-five are usual.
        config: Confidence, draws and seed.

    Raises:
        Unidentified: These runs cannot tell the law; the message says what to add.
    """
    config = config or FitConfig()
    check_runs(runs)
    curve, centre = _curve_through(runs)
    log_losses = np.log([run.loss for run in runs]) - centre.loss
    found = regress(curve, log_losses, _starts(), config)
    _check_unknowns(found.unknowns, curve)
    E, A, B, alpha, beta = centre.to_natural(found.unknowns[None])[0].tolist()
    return Fit(
        law=Law(E=E, A=A, B=B, alpha=alpha, beta=beta),
        draws=centre.to_natural(found.draws),
        runs=tuple(runs),
        noise=found.stretched,
        huber_delta=found.huber_delta,
        config=config,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Centre:
    """Geometric means of a grid, as logs. Measured from them, no unit matters."""

    size: float
    data: float
    loss: float

    def to_natural(self, unknowns: np.ndarray) -> np.ndarray:
        """Return E, A, B, alpha, beta ``(P, 5)`` of unknowns ``(P, 5)`` measured from here."""
        e, a, b, alpha, beta = unknowns.T
        constant = np.exp(e + self.loss)
        size_factor = np.exp(a + self.loss + alpha * self.size)
        data_factor = np.exp(b + self.loss + beta * self.data)
        return np.stack([constant, size_factor, data_factor, alpha, beta], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLossCurve:
    """``ln L = logsumexp(e, a - alpha n, b - beta d)``, with n, d and L from their centres."""

    size: np.ndarray
    """``(R,)``: ln of parameters."""
    data: np.ndarray
    """``(R,)``: ln of tokens."""

    @property
    def lowest(self) -> np.ndarray:
        """A term of e^-12 of the typical loss is nothing; a flatter power law is a constant."""
        return np.array([-12.0, -12.0, -12.0, 5e-3, 5e-3])

    @property
    def highest(self) -> np.ndarray:
        """Exponents above 4 have never been seen."""
        return np.array([1.0, 3.0, 3.0, 4.0, 4.0])

    def values(self, unknowns: np.ndarray) -> np.ndarray:
        """Return log losses ``(P, R)``."""
        return np.logaddexp.reduce(self._log_terms(unknowns), axis=0)

    def slopes(self, unknowns: np.ndarray) -> np.ndarray:
        """Return the derivatives ``(P, R, 5)``."""
        terms = self._log_terms(unknowns)
        of_constant, of_size, of_data = np.exp(terms - np.logaddexp.reduce(terms, axis=0))
        slopes = [of_constant, of_size, of_data, -self.size * of_size, -self.data * of_data]
        return np.stack(slopes, axis=-1)

    def _log_terms(self, unknowns: np.ndarray) -> np.ndarray:
        e, a, b, alpha, beta = unknowns.T[..., None]
        return np.stack([e + 0 * self.size, a - alpha * self.size, b - beta * self.data])


def _curve_through(runs: Sequence[ScalingRun]) -> tuple[LogLossCurve, _Centre]:
    size, data, loss = np.log([[run.params, run.tokens, run.loss] for run in runs]).T
    centre = _Centre(size=float(size.mean()), data=float(data.mean()), loss=float(loss.mean()))
    return LogLossCurve(size=size - centre.size, data=data - centre.data), centre


def _starts() -> np.ndarray:
    """Return unknowns ``(27, 5)``: steep and flat exponents by share of irreducible loss."""
    exponents = (0.1, 0.3, 0.7)
    return np.array(
        [
            [np.log(rest), np.log((1 - rest) / 2), np.log((1 - rest) / 2), alpha, beta]
            for alpha, beta, rest in product(exponents, exponents, (0.02, 0.5, 0.9))
        ]
    )


def _check_unknowns(unknowns: np.ndarray, curve: LogLossCurve) -> None:
    """Refuse a fit in which size or data do nothing, or bend in no way that a power law can."""
    at_wall = (unknowns - curve.lowest < _AT_THE_WALL) | (curve.highest - unknowns < _AT_THE_WALL)
    for name, term, exponent in (("size", 1, 3), ("training data", 2, 4)):
        if at_wall[term] or at_wall[exponent]:
            raise Unidentified(
                f"the loss does not follow a power law of {name} in these runs (its exponent came "
                f"out as {unknowns[exponent]:.3g}); add runs over a wider range of {name}, or "
                "several seeds for each point, so that the trend stands out of the noise"
            )
