"""Stage functions that the executor tests run in real processes."""

from __future__ import annotations

import os
import signal
import time

from loopwright.core.errors import UnknownName
from loopwright.core.stage import Site, StageResult, StageSpec


def add(spec: StageSpec, site: Site) -> StageResult:
    return StageResult(facts={"sum": spec.params["a"] + spec.params["b"], "seed": spec.seed})


def talk(spec: StageSpec, site: Site) -> StageResult:
    for step in range(1, 5):
        site.progress(step / 4, f"step {step}")
    return StageResult()


def refuse(spec: StageSpec, site: Site) -> StageResult:
    raise UnknownName("thing", "bals", ["ball", "cube"])


def die(spec: StageSpec, site: Site) -> StageResult:
    os.write(1, b"farewell\n")
    os.kill(os.getpid(), signal.SIGKILL)
    return StageResult()


def sleep(spec: StageSpec, site: Site) -> StageResult:
    site.progress(0.0, "asleep")
    time.sleep(60)
    return StageResult()


def where(spec: StageSpec, site: Site) -> StageResult:
    (site.scratch / "note.txt").write_text("here")
    return StageResult(facts={"scratch_is_inside": site.workspace in site.scratch.parents})


def forget(spec: StageSpec, site: Site) -> None:
    return None
