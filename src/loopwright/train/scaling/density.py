"""Knowledge density: how many parameters a model is worth, over how many it has.

The densing law (Xiao et al. 2024, arXiv:2412.04315) measures a model against a family of reference
models, in two steps that are inverted one after the other:

1. loss:  ``L = E + A N^-alpha + B D^-beta``, fitted to the family;
2. score: ``S = d + c / (1 + exp(gamma (L - l)))``, fitted to the family.

The *effective size* of a model with score ``S`` is the size ``N'`` that a reference model trained
on ``D0`` tokens would need for the same score,

    ``N'(S) = (A / (L(S) - E - B D0^-beta))^(1 / alpha)``,

and its density is ``N'(S) / N``. Where both were measured on the same held-out text the second step
is not needed: :func:`density_at_loss` starts from the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.core.seeds import generator
from loopwright.train.scaling.fit import Fit
from loopwright.train.scaling.performance import PerformanceLaw
from loopwright.train.scaling.regression import Estimate

MAX_EXTRAPOLATION = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Density:
    """What a model is worth in parameters of a reference family."""

    params: float
    """Actual active parameters."""
    loss: float
    """Measured, or read from the score."""
    reference_tokens: float
    """Tokens that the reference family is imagined to be trained on (D0)."""
    effective_params: Estimate
    """An infinite end means that no reference model may ever get there."""
    density: Estimate
    extrapolation: float
    """How many times beyond the reference family the effective size or D0 lies; 1 inside."""


def density_at_loss(
    reference: Fit,
    *,
    params: float,
    loss: float,
    reference_tokens: float,
    max_extrapolation: float = MAX_EXTRAPOLATION,
) -> Density:
    """Return the density of a model whose loss was measured on the family's held-out text.

    The interval holds the doubt about the family's law and the luck of the one run that made the
    model, taken to be as large as that of the family's runs.

    Args:
        reference: The family's law.
        params: Active parameters of the model.
        loss: Its loss, in nats a token, with the family's tokenizer and text.
        reference_tokens: Tokens of the imagined reference run: the model's own to ask what its
            parameters are worth, or one number for all models to compare them across data too.
        max_extrapolation: How many times beyond the family an answer may lie.

    Raises:
        InvalidConfig: A number is not above 0.
        Unidentified: No reference model reaches that loss, or only one far outside the family.
    """
    if not (params > 0 and loss > 0 and reference_tokens > 0):
        raise InvalidConfig(
            f"{params:g} parameters, loss {loss:g}, {reference_tokens:g} reference tokens; "
            "expected all above 0"
        )
    random = generator(reference.config.seed, "scaling", "luck of the model")
    luck = random.choice(reference.noise, size=len(reference.draws))
    target = _Target(value=loss, draws=loss * np.exp(luck))
    return _density(reference, params, target, reference_tokens, max_extrapolation)


def density_at_score(
    reference: Fit,
    performance: PerformanceLaw,
    *,
    params: float,
    score: float,
    reference_tokens: float,
    max_extrapolation: float = MAX_EXTRAPOLATION,
) -> Density:
    """Return the density of a model whose score was measured, by both steps of the densing law.

    The interval holds the doubt about both laws of the family, drawn independently. The counting
    error of the score itself is not in it; use enough questions.

    Args:
        reference: The family's law of loss *on the answers of the task*.
        performance: The family's law from that loss to the score.
        params: Active parameters of the model.
        score: Its score.
        reference_tokens: See :func:`density_at_loss`.
        max_extrapolation: See :func:`density_at_loss`.

    Raises:
        InvalidConfig: The two laws have different numbers of draws.
        Unidentified: The score or the effective size lies outside the reference family.
    """
    value, draws = performance.losses_at(score)
    if len(draws) != len(reference.draws):
        raise InvalidConfig(
            f"{len(draws)} draws of the performance law and {len(reference.draws)} of the scaling "
            "law; fit both with the same number of replicates"
        )
    target = _Target(value=value, draws=draws)
    return _density(reference, params, target, reference_tokens, max_extrapolation)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Target:
    """The loss whose size is sought, with draws of it ``(replicates,)``."""

    value: float
    draws: np.ndarray


def _density(
    reference: Fit, params: float, target: _Target, tokens: float, max_extrapolation: float
) -> Density:
    law = reference.law
    found = np.array([law.E, law.A, law.B, law.alpha, law.beta])
    value = float(_effective_params(found[None], np.array([target.value]), tokens)[0])
    _check_reach(reference, target.value, value, tokens, max_extrapolation)
    drawn = _effective_params(reference.draws, target.draws, tokens)
    effective = reference.estimate(value, drawn)
    return Density(
        params=params,
        loss=target.value,
        reference_tokens=tokens,
        effective_params=effective,
        density=Estimate(*(end / params for end in effective)),
        extrapolation=reference.extrapolation(value, tokens),
    )


def _effective_params(laws: np.ndarray, losses: np.ndarray, tokens: float) -> np.ndarray:
    """Return the sizes ``(P,)`` that reach losses ``(P,)``; infinite where none does."""
    E, A, B, alpha, beta = laws.T
    left = losses - E - B * tokens**-beta
    reached = left > 0
    # In logs: a small exponent makes sizes that no float holds.
    log_size = (np.log(A) - np.log(np.where(reached, left, 1.0))) / alpha
    return np.where(reached, np.exp(np.minimum(log_size, 700.0)), np.inf)


def _check_reach(
    reference: Fit, loss: float, size: float, tokens: float, max_extrapolation: float
) -> None:
    law = reference.law
    if not np.isfinite(size):
        floor = law.E + law.B * tokens**-law.beta
        raise Unidentified(
            f"no reference model of any size reaches a loss of {loss:.4g} on {tokens:.3g} tokens "
            f"(the law's limit there is {floor:.4g}); compare at more reference tokens, or add "
            "larger reference models trained longer"
        )
    for what, size_asked, tokens_asked in (
        (f"an effective size of {size:.3g} parameters", size, None),
        (f"{tokens:.3g} reference tokens", None, tokens),
    ):
        factor = reference.extrapolation(size_asked, tokens_asked)
        if factor > max_extrapolation:
            raise Unidentified(
                f"{what} lies a factor of {factor:.3g} outside the reference family, more than the "
                f"{max_extrapolation:g} allowed; add reference models nearer to it, or raise "
                "max_extrapolation and report the factor with the number"
            )
