"""Fits as the loop calls them: plain configuration in, a sealed candidate and plain facts out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.learner import FitJob
from loopwright.train.wam import WamFit, fit


def wam(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Fit a world action model; see :class:`loopwright.train.wam.WamFit` for the configuration.

    Raises:
        InvalidConfig: A key is unknown or a value impossible.
    """
    return fit(WamFit.from_json(config), job).to_json()
