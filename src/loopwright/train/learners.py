"""Fits as the loop calls them: plain configuration in, a sealed candidate and plain facts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.episode import Episode
from loopwright.core.stage import ProgressSink
from loopwright.train.wam import WamFit, fit


def wam(
    config: Mapping[str, Any],
    episodes: Sequence[Episode],
    *,
    seed: int,
    lineage: Mapping[str, Json],
    out: Path,
    scratch: Path,
    progress: ProgressSink,
) -> dict[str, Json]:
    """Fit a world action model; see :class:`loopwright.train.wam.WamFit` for the configuration.

    Raises:
        InvalidConfig: A key is unknown or a value impossible.
    """
    report = fit(
        WamFit.from_json(config),
        episodes,
        seed=seed,
        out=out,
        scratch=scratch,
        progress=progress,
        lineage=lineage,
    )
    return report.to_json()
