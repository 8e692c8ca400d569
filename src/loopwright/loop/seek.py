"""Where to ask for data: where the champion fails; video first, a label only if that failed.

A labelled demonstration costs a person at a robot, a video costs a person with a camera. So the
first request for a failing region is video; only when a video round left the region failing is a
demonstration asked for. Everything here is a pure function of recorded outcomes, so a loop that
is resumed asks for the same data again and finds it already there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loopwright.core.scenario import Box, Request
from loopwright.loop.config import SeekConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """How the champion fared at one train start."""

    start: dict[str, float]
    failed: bool
    surprise: float = 0.0
    """The candidate's own forward error, if it has one."""
    agreement: float = 1.0
    """How far its motion models agree on what they saw, 0 to 1, if it has any."""


def failing_region(attempts: Sequence[Attempt], domain: Box, *, margin: float = 0.1) -> Box | None:
    """Return the part of the domain where failures gather, or None if nothing failed.

    The region is the bounding box of the failing starts, half of them (the least known) when there
    are at least six, widened on each side by ``margin`` of the domain's width. Least known is what
    surprised most and was agreed on least; places among the failures are added, for the two have
    no unit in common.
    """
    failures = [a for a in attempts if a.failed]
    if not failures:
        return None
    strange = _places([a.surprise for a in failures]) - _places([a.agreement for a in failures])
    if len(failures) >= 6 and np.ptp(strange) > 0:
        half = np.argsort(-strange, kind="stable")[: (len(failures) + 1) // 2]
        failures = [failures[place] for place in half]
    low, high = {}, {}
    for name in domain.low:
        values = np.array([f.start[name] for f in failures])
        slack = margin * (domain.high[name] - domain.low[name])
        low[name] = float(max(domain.low[name], values.min() - slack))
        high[name] = float(min(domain.high[name], values.max() + slack))
    return Box(low=low, high=high)


def _places(values: Sequence[float]) -> np.ndarray:
    """Return the place of each value among the different ones, from 0 for the least."""
    return np.unique(values, return_inverse=True)[1]


def seek_data(
    attempts: Sequence[Attempt],
    domain: Box,
    config: SeekConfig,
    *,
    video_tried: Sequence[Box],
    first: int,
) -> tuple[Request, ...]:
    """Return the next requests.

    Args:
        attempts: The champion's last operated episodes.
        domain: Operating domain of the scenario.
        config: How much to ask for.
        video_tried: Regions for which video was already asked for while this champion stood.
        first: Index in the train split from which the new episodes take their seeds.
    """
    region = failing_region(attempts, domain)
    if region is None:
        return ()
    centre = {n: (region.low[n] + region.high[n]) / 2 for n in region.low}
    if any(box.contains(centre) for box in video_tried):
        if not config.demos:
            return ()
        return (Request(kind="demo", count=config.demos, box=region, first=first),)
    if not config.videos:
        return ()
    return (Request(kind="video", count=config.videos, body=config.body, box=region, first=first),)
