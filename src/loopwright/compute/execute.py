"""Run the function of a stage here and now, and account for it."""

from __future__ import annotations

import resource
import sys
import time

from loopwright.core.errors import StageFailed
from loopwright.core.stage import (
    Cost,
    Receipt,
    Site,
    StageResult,
    StageSpec,
    StartSink,
    resolve_entry,
)


def execute(spec: StageSpec, site: Site) -> Receipt:
    """Call the entry point of ``spec`` and return its receipt.

    Raises:
        InvalidConfig: The entry point cannot be imported.
        StageFailed: The function returned something that is no :class:`StageResult`.
    """
    began_s, cpu_began_s = time.monotonic(), _cpu_s()
    result = resolve_entry(spec.entry)(spec, site)
    if not isinstance(result, StageResult):
        raise StageFailed(
            f"stage {spec.name!r}: {spec.entry} returned {type(result).__name__}, "
            "expected StageResult"
        )
    cost = Cost(
        cpu_s=_cpu_s() - cpu_began_s,
        wall_s=time.monotonic() - began_s,
        peak_rss_mb=_peak_rss_mb(),
    )
    return Receipt(key=spec.key, result=result, cost=cost)


class InProcessExecutor:
    """Runs stages in the caller's process: for tests, and for stages that only read."""

    def run(self, spec: StageSpec, site: Site, *, on_start: StartSink | None = None) -> Receipt:
        """Run one stage to its end; whatever it raises passes through."""
        site.scratch.mkdir(parents=True, exist_ok=True)
        return execute(spec, site)

    def stop(self) -> None:
        """Do nothing: a stage in this process ends with its call."""


def _cpu_s() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
