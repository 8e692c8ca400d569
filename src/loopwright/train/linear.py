"""Least squares on labelled steps: learns in milliseconds what a line can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopwright.core.digest import Json
from loopwright.core.episode import Episode
from loopwright.core.errors import InvalidConfig
from loopwright.core.learner import FitJob
from loopwright.models.linear.policy import save


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearFit:
    """How to fit a linear policy."""

    ridge: float = 1e-3
    """Weight of the penalty on squared coefficients; a huge one makes a policy that stands."""
    blind_to: tuple[str, ...] = ()
    """Components of proprioception whose coefficients are zero."""

    def __post_init__(self) -> None:
        """Refuse a negative penalty."""
        if self.ridge < 0:
            raise InvalidConfig(f"ridge is {self.ridge}; expected >= 0")


def learn(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Fit on demonstrations and attempts, write the candidate, return the residual.

    Raises:
        InvalidConfig: A key is unknown, or there is no labelled episode.
    """
    try:
        fit = LinearFit(**{**config, "blind_to": tuple(config.get("blind_to", ()))})
    except TypeError as error:
        raise InvalidConfig(f"linear fit: {error}") from error
    labelled = [e for e in job.episodes if e.header.kind in ("demo", "attempt")]
    if not labelled:
        raise InvalidConfig("a linear policy needs at least one demonstration")
    proprio, actions = _steps(labelled)
    interface = labelled[0].header.interface
    seen = np.array([n not in fit.blind_to for n in interface.proprio.names] + [True])
    features = np.hstack([proprio, np.ones((len(proprio), 1))]) * seen
    penalty = fit.ridge * len(features) * np.eye(features.shape[1])
    weights = np.linalg.solve(features.T @ features + penalty, features.T @ actions).T
    job.progress(1.0, f"{len(features)} steps")
    save(job.out, weights, interface, dict(job.lineage))  # type: ignore[arg-type]
    error = float(np.abs(features @ weights.T - actions).mean())
    return {"steps": len(features), "mean_absolute_error": round(error, 9)}


def _steps(episodes: Sequence[Episode]) -> tuple[np.ndarray, np.ndarray]:
    proprio = [e.proprio for e in episodes if e.proprio is not None]
    actions = [e.requested for e in episodes if e.requested is not None]
    return np.concatenate(proprio).astype(np.float64), np.concatenate(actions).astype(np.float64)
