"""Robust least squares for many small problems side by side.

Levenberg and Marquardt's method on Huber's loss, all problems in one array: a bootstrap is a
thousand problems of five unknowns. It ends on the size of the step and not on the change of an
*averaged* loss. With residuals of 1e-3 the latter falls below a usual tolerance long before the
minimum, which is how the first published Chinchilla estimates came to be off (Besiroglu et al.
2024, arXiv:2404.10102).

Shapes: P problems, R observations, U unknowns, S starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

_MAX_STEPS = 400
_STEP_TOLERANCE = 1e-9
_HOPELESS_DAMPING = 1e12


class Curve(Protocol):
    """A function of unknowns, at fixed places, that is to be bent onto observations."""

    @property
    def lowest(self) -> np.ndarray:
        """``(U,)``: the walls that the unknowns may not cross downwards."""
        ...

    @property
    def highest(self) -> np.ndarray:
        """``(U,)``: the walls above."""
        ...

    def values(self, unknowns: np.ndarray) -> np.ndarray:
        """Return ``(P, R)`` values for unknowns ``(P, U)``."""
        ...

    def slopes(self, unknowns: np.ndarray) -> np.ndarray:
        """Return the derivatives of the values by the unknowns, ``(P, R, U)``."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """Minima of P problems."""

    unknowns: np.ndarray
    """``(P, U)``."""
    objective: np.ndarray
    """``(P,)``: sum of Huber losses."""


def solve(curve: Curve, targets: np.ndarray, begin: np.ndarray, *, huber_delta: float) -> Solution:
    """Minimise, for each problem, the sum of Huber losses of its residuals.

    Args:
        curve: What is bent.
        targets: ``(P, R)`` observations.
        begin: ``(P, U)`` unknowns to start from.
        huber_delta: Size of a residual beyond which it counts linearly.
    """
    found = np.clip(begin, curve.lowest, curve.highest)
    best = huber(targets - curve.values(found), huber_delta)
    damping = np.full(len(found), 1e-3)
    unsettled = np.arange(len(found))
    for _ in range(_MAX_STEPS):
        if not unsettled.size:
            break
        now, goal = found[unsettled], targets[unsettled]
        step = _step(curve, now, goal, huber_delta, damping[unsettled])
        tried = np.clip(now + step, curve.lowest, curve.highest)
        value = huber(goal - curve.values(tried), huber_delta)
        better = value <= best[unsettled]
        winners, losers = unsettled[better], unsettled[~better]
        found[winners], best[winners] = tried[better], value[better]
        damping[winners] = np.maximum(damping[winners] / 5, 1e-12)
        damping[losers] *= 4
        still = np.abs(tried - now).max(axis=1) < _STEP_TOLERANCE
        unsettled = unsettled[~still & (damping[unsettled] < _HOPELESS_DAMPING)]
    return Solution(unknowns=found, objective=best)


def solve_from_each(
    curve: Curve, targets: np.ndarray, starts: np.ndarray, *, huber_delta: float
) -> Solution:
    """Solve each of P problems from each of S starts and keep its lowest minimum.

    Args:
        curve: What is bent.
        targets: ``(P, R)`` observations.
        starts: ``(S, U)``.
        huber_delta: See :func:`solve`.
    """
    num_problems, num_starts = len(targets), len(starts)
    each = solve(
        curve,
        np.repeat(targets, num_starts, axis=0),
        np.tile(starts, (num_problems, 1)),
        huber_delta=huber_delta,
    )
    objective = each.objective.reshape(num_problems, num_starts)
    lowest = objective.argmin(axis=1)
    rows = np.arange(num_problems)
    return Solution(
        unknowns=each.unknowns.reshape(num_problems, num_starts, -1)[rows, lowest],
        objective=objective[rows, lowest],
    )


def huber(residuals: np.ndarray, delta: float) -> np.ndarray:
    """Return the sum of Huber losses ``(P,)`` of residuals ``(P, R)``."""
    size = np.abs(residuals)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).sum(axis=1)


def _step(
    curve: Curve, unknowns: np.ndarray, targets: np.ndarray, delta: float, damping: np.ndarray
) -> np.ndarray:
    """Return the damped Gauss-Newton step ``(P, U)``."""
    residuals = targets - curve.values(unknowns)
    slopes = curve.slopes(unknowns)
    # Huber's loss is least squares with these weights, as far as the gradient goes.
    weighted = slopes * (delta / np.maximum(np.abs(residuals), delta))[..., None]
    downhill = np.einsum("pru,pr->pu", weighted, residuals)
    curvature = np.einsum("pru,prv->puv", weighted, slopes)
    # What is pushed against its wall stands still, or it would bend the others' step.
    stuck = (unknowns <= curve.lowest) & (downhill < 0)
    stuck |= (unknowns >= curve.highest) & (downhill > 0)
    downhill = np.where(stuck, 0.0, downhill)
    curvature = np.where(stuck[:, :, None] | stuck[:, None, :], 0.0, curvature)
    diagonal = np.einsum("puu->pu", curvature)
    diagonal += damping[:, None] * (diagonal + 1e-9) + 1e-14
    return np.linalg.solve(curvature, downhill[..., None])[..., 0]
