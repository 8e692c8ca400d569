"""What a loop takes from before when its scenario was edited: nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import StopsAfter, turn

from loopwright.compute.execute import InProcessExecutor
from loopwright.core.errors import InvalidConfig
from loopwright.core.stage import Receipt, Site, StageSpec
from loopwright.loop.config import LoopConfig
from loopwright.loop.records import RoundRecord
from loopwright.store.workspace import Workspace

SCENARIO = """
from dataclasses import replace
from loopwright.scenarios.point.scenario import PointReach

scenario = PointReach()
lenient = scenario.verifier


class Strict:
    name = "strict/1"

    def __call__(self, header, evidence):
        verdict = lenient(header, evidence)
        return replace(verdict, outcome=OUTCOME) if header.kind == "attempt" else verdict


scenario.verifier = Strict()
"""


def judging(path: Path, outcome: str) -> None:
    path.write_text(SCENARIO.replace("OUTCOME", repr(outcome)))


@pytest.fixture
def edited(tmp_path: Path, config: LoopConfig) -> LoopConfig:
    path = tmp_path / "scenario.py"
    judging(path, "failure")
    return replace(config, scenario=str(path), rounds=())


def outcomes(records: list[RoundRecord]) -> set[str]:
    return {o for r in records for o in r.operated.outcomes}


def test_no_verdict_and_no_episode_outlives_an_edit(tmp_path: Path, edited: LoopConfig) -> None:
    before, first = turn(tmp_path / "runs", edited)
    judging(Path(edited.scenario), "success")
    after, last = turn(tmp_path / "runs", edited)
    assert (outcomes(before), outcomes(after)) == ({"failure"}, {"success"})
    assert first is not None
    assert last is not None
    assert set(last.last.outcomes) == {"success"}
    assert not set(first.last.episodes) & set(last.last.episodes)
    assert not set(before[0].added[0]) & set(after[0].added[0]), "sources are recorded anew too"
    with Workspace.open(tmp_path / "runs") as workspace:
        assert len(workspace.ledger.runs()) == 2


def test_more_sealed_episodes_after_an_edit_are_all_judged_by_what_is_there_now(
    tmp_path: Path, edited: LoopConfig
) -> None:
    turn(tmp_path / "runs", edited)
    judging(Path(edited.scenario), "success")
    _, ending = turn(tmp_path / "runs", replace(edited, sealed_episodes=5))
    assert ending is not None
    assert set(ending.last.outcomes) == {"success"}


def test_an_edit_that_is_taken_back_finds_the_run_finished(
    tmp_path: Path, edited: LoopConfig
) -> None:
    before = turn(tmp_path / "runs", edited)
    judging(Path(edited.scenario), "success")
    turn(tmp_path / "runs", edited)
    judging(Path(edited.scenario), "failure")
    assert turn(tmp_path / "runs", edited, StopsAfter(0)) == before


class EditsWhileRunning(InProcessExecutor):
    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, spec: StageSpec, site: Site, **hooks) -> Receipt:
        if spec.name == "attempt":
            judging(self.path, "success")
        return super().run(spec, site, **hooks)


def test_a_scenario_edited_while_the_loop_runs_is_refused(
    tmp_path: Path, edited: LoopConfig
) -> None:
    with pytest.raises(InvalidConfig, match="was edited while the loop was running"):
        turn(tmp_path / "runs", edited, EditsWhileRunning(Path(edited.scenario)))
