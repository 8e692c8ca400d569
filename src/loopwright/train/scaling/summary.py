"""A study as plain data, for the report room to draw and to print.

Train and report do not know each other; what they share is the JSON that
``loopwright.report.scaling.ScalingReport.from_json`` reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loopwright.train.scaling.density import Density
from loopwright.train.scaling.fit import Fit
from loopwright.train.scaling.law import ScalingRun
from loopwright.train.scaling.plan import FlopsPerToken, Plan, plan, six_per_parameter
from loopwright.train.scaling.predict import HeldBack
from loopwright.train.scaling.regression import Estimate

_LINE_POINTS = 60
_LINE_BEFORE, _LINE_BEYOND = 1.3, 8.0
"""A size's line begins just before its runs and shows where more data stops to help."""
_ENVELOPE_POINTS = 25
_SAME_SIZE = 0.01


def summary(
    title: str,
    fit: Fit,
    *,
    plans: Sequence[Plan] = (),
    held_back: Sequence[HeldBack] = (),
    densities: Sequence[tuple[str, Density]] = (),
    flops_per_token: FlopsPerToken = six_per_parameter,
) -> dict[str, Any]:
    """Return what a page or a terminal shows of a study, as plain JSON data.

    Args:
        title: What was studied.
        fit: The fitted law.
        plans: Compute-optimal plans, the one to be drawn first.
        held_back: Predictions beside the truth.
        densities: Model names and densities.
        flops_per_token: As given to :func:`~loopwright.train.scaling.plan.plan`.
    """
    drawn_to = [p.budget_flops for p in plans[:1]]
    return {
        "schema_version": 1,
        "title": title,
        "confidence": fit.config.confidence,
        "noise": fit.spread,
        "estimates": [
            {"name": name, "estimate": _estimate(value)} for name, value in fit.estimates().items()
        ],
        "sizes": [_size(runs, fit, flops_per_token) for runs in _by_size(fit.runs)],
        "envelope": _envelope(fit, flops_per_token, drawn_to),
        "plans": [_plan(p) for p in plans],
        "held_back": [_held_back(h, flops_per_token) for h in held_back],
        "densities": [_density(name, d) for name, d in densities],
        "notes": notes(fit),
    }


def notes(fit: Fit) -> list[str]:
    """Return what a reader of the fit must be told, as sentences."""
    told = []
    if not fit.is_irreducible_loss_identified:
        told.append(
            "The irreducible loss E is not identified: these runs cannot tell it from zero. "
            "Trust losses near the grid only; larger models trained longer would settle it."
        )
    spare = len(fit.runs) - 5
    if spare < 4:
        told.append(
            f"{len(fit.runs)} runs leave {spare} to judge the noise by, so the intervals are wide; "
            "each further run narrows them."
        )
    return told


def _by_size(runs: Sequence[ScalingRun]) -> list[list[ScalingRun]]:
    groups: list[list[ScalingRun]] = []
    for run in sorted(runs, key=lambda r: (r.params, r.tokens)):
        if groups and run.params <= groups[-1][0].params * (1 + _SAME_SIZE):
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups


def _size(runs: Sequence[ScalingRun], fit: Fit, flops_per_token: FlopsPerToken) -> dict[str, Any]:
    params = runs[0].params
    seen = [run.tokens for run in fit.runs]
    tokens = np.geomspace(min(seen) / _LINE_BEFORE, max(seen) * _LINE_BEYOND, _LINE_POINTS)
    return {
        "label": runs[0].label,
        "params": params,
        "runs": [
            {"flops": _flops(run, flops_per_token), "tokens": run.tokens, "loss": run.loss}
            for run in runs
        ],
        "line_flops": (tokens * flops_per_token(params)).tolist(),
        "line_loss": fit.law.loss(params, tokens).tolist(),
    }


def _envelope(fit: Fit, flops_per_token: FlopsPerToken, drawn_to: list[float]) -> dict[str, Any]:
    spent = [_flops(run, flops_per_token) for run in fit.runs]
    places = np.geomspace(min(spent), max(spent + drawn_to) * 1.5, _ENVELOPE_POINTS)
    best = [plan(fit, float(flops), flops_per_token, iso_points=3) for flops in places]
    return {
        "flops": places.tolist(),
        "loss": [p.loss.value for p in best],
        "low": [p.loss.low for p in best],
        "high": [p.loss.high for p in best],
    }


def _plan(planned: Plan) -> dict[str, Any]:
    iso = planned.iso_flop
    return {
        "budget_flops": planned.budget_flops,
        "params": _estimate(planned.params),
        "tokens": _estimate(planned.tokens),
        "loss": _estimate(planned.loss),
        "tokens_per_param": _estimate(planned.tokens_per_param),
        "compute_extrapolation": planned.compute_extrapolation,
        "iso_params": list(iso.params),
        "iso_loss": list(iso.loss),
        "iso_low": list(iso.low),
        "iso_high": list(iso.high),
    }


def _held_back(held: HeldBack, flops_per_token: FlopsPerToken) -> dict[str, Any]:
    run, prediction = held.run, held.prediction
    return {
        "label": run.label,
        "params": run.params,
        "tokens": run.tokens,
        "flops": _flops(run, flops_per_token),
        "truth": run.loss,
        "one_run": _estimate(prediction.one_run),
        "is_inside": held.is_inside,
        "extrapolation": prediction.extrapolation,
    }


def _density(name: str, density: Density) -> dict[str, Any]:
    return {
        "label": name,
        "params": density.params,
        "loss": density.loss,
        "reference_tokens": density.reference_tokens,
        "effective_params": _estimate(density.effective_params),
        "density": _estimate(density.density),
        "extrapolation": density.extrapolation,
    }


def _estimate(value: Estimate) -> dict[str, float | str]:
    """Infinite ends become words, as in all report data."""
    return {
        name: number if np.isfinite(number) else str(number)
        for name, number in value._asdict().items()
    }


def _flops(run: ScalingRun, flops_per_token: FlopsPerToken) -> float:
    return run.flops or flops_per_token(run.params) * run.tokens
