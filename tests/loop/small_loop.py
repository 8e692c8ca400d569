"""A loop of every kind of stage that takes less than a second, and a way to interrupt it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest.mock import patch

from loopwright.compute.execute import InProcessExecutor
from loopwright.core.scenario import split_of
from loopwright.core.stage import Executor, Receipt, Site, StageSpec
from loopwright.loop.config import LoopConfig
from loopwright.loop.engine import Engine
from loopwright.loop.records import Ending, RoundRecord
from loopwright.loop.rounds import Loop
from loopwright.store.workspace import Workspace


@dataclass(frozen=True)
class Whole:
    """A loop that nothing disturbed; tests that change it take a copy."""

    folder: Path
    records: list[RoundRecord]
    ending: Ending | None

    @property
    def digest(self) -> str:
        return digest_of((self.records, self.ending))

    def copy(self, folder: Path) -> Path:
        return shutil.copytree(self.folder, folder, dirs_exist_ok=True)


class StopsAfter(InProcessExecutor):
    """Runs so many stages, then the command is interrupted."""

    def __init__(self, stages: int) -> None:
        self.left = stages

    def run(self, spec: StageSpec, site: Site, **hooks) -> Receipt:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().run(spec, site, **hooks)


class StopsAtGate(InProcessExecutor):
    """The command is interrupted when the first gate has named its starts and not met there."""

    def run(self, spec: StageSpec, site: Site, **hooks) -> Receipt:
        seeds = spec.params.get("seeds")
        if isinstance(seeds, list) and split_of(cast("int", seeds[0])) == "gate":
            raise KeyboardInterrupt
        return super().run(spec, site, **hooks)


def turn(
    folder: Path,
    config: LoopConfig,
    executor: Executor | None = None,
    *,
    stop_after: int | None = None,
) -> tuple[list[RoundRecord], Ending | None]:
    # The digest of the code is a constant here: who edits while the tests run gets no odd failure.
    with (
        Workspace.create(folder, exclusive=True) as workspace,
        patch("loopwright.loop.engine.code_digest", lambda: "this code"),
    ):
        loop = Loop(config, Engine(workspace, executor or InProcessExecutor(), parallel=1))
        records = loop.run(stop_after=stop_after)
        return records, loop.end()


def digest_of(result: tuple[list[RoundRecord], Ending | None]) -> str:
    """Return everything that must be equal in equal loops."""
    records, ending = result
    assert ending is not None
    return json.dumps([r.to_json() for r in (*records, ending)], sort_keys=True)
