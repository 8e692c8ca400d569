from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import StopsAfter, Whole, digest_of, turn

from loopwright.core.errors import (
    ContractError,
    PolicyError,
    StaleChampion,
    UnknownName,
    UnsafeCandidate,
    VerifierError,
    WorldError,
)
from loopwright.core.scenario import split_of, split_seed
from loopwright.loop.config import Learner, LoopConfig, RoundPlan
from loopwright.loop.promotion import roll_back
from loopwright.loop.stages import refuse_held_out
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe
from loopwright.report.run import RunReport
from loopwright.store.episodes import read_episode
from loopwright.store.snapshots import load_snapshot
from loopwright.store.workspace import Workspace

HERE = Path(__file__).parent
ODD_LEARNERS = "odd_learners"


def test_a_worthless_challenger_is_refused_and_a_better_one_promoted(whole: Whole) -> None:
    records, ending = whole.records, whole.ending
    assert [r.decision for r in records] == ["genesis", "refuse", "promote", "refuse"]
    assert ending is not None
    assert ending.last.successes > ending.first.successes
    assert ending.last.candidate == records[2].challenger
    for before, after in itertools.pairwise(records):
        assert after.champion_before == before.champion_after


def test_promotions_equal_decisions_and_seeds_never_meet(whole: Whole) -> None:
    records, ending = whole.records, whole.ending
    with Workspace.open(whole.folder) as workspace:
        run = workspace.ledger.runs()[0].id
        made = [d.kind for d in workspace.ledger.decisions(run)]
        uses = workspace.ledger.seed_uses("sealed", "point-reach-v1")
        trained_on = {
            workspace.ledger.episode(e).seed
            for r in records
            for ids in (*r.added, r.operated.episodes)
            for e in ids
        }
    assert made == ["genesis", "refusal", "promotion", "refusal"]
    assert ending is not None
    assert set(uses) == set(ending.last.seeds)
    gate_seeds = [s for r in records if r.challenger_trials for s in r.challenger_trials.seeds]
    assert len(set(gate_seeds)) == len(gate_seeds), "a gate seed was used in two rounds"
    assert {split_of(s) for s in gate_seeds} == {"gate"}
    assert {split_of(s) for s in trained_on} == {"train"}


def test_snapshots_of_the_loop_say_how_their_episodes_were_chosen(whole: Whole) -> None:
    with Workspace.open(whole.folder) as workspace:
        rules = [load_snapshot(workspace, r.snapshot).label_filter for r in whole.records]
    all_sources = "everything collected so far"
    assert rules == [all_sources] * 3 + [f"{all_sources}, and the champion's own successes"]


def test_the_same_configuration_gives_the_same_bytes(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    assert digest_of(turn(tmp_path / "again", config)) == whole.digest
    other, _ = turn(tmp_path / "other", replace(config, seed=1, rounds=()))
    assert other[0].challenger != whole.records[0].challenger


def test_interrupted_after_every_stage_it_comes_to_the_same_end(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with Workspace.open(whole.folder) as workspace:
        stages = len(workspace.ledger.attempts())
    for _ in range(stages - 1):
        with pytest.raises(KeyboardInterrupt):
            turn(tmp_path, config, StopsAfter(1))
    # So in all each stage ran once, although the command was stopped after each of them.
    assert digest_of(turn(tmp_path, config, StopsAfter(1))) == whole.digest


def test_running_a_finished_loop_again_runs_no_stage(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    assert digest_of(turn(whole.copy(tmp_path), config, StopsAfter(0))) == whole.digest


def test_a_challenger_equal_to_the_champion_is_refused(tmp_path: Path, config: LoopConfig) -> None:
    again = RoundPlan(label="the same once more", learner=config.genesis.learner)
    records, _ = turn(tmp_path, replace(config, rounds=(again,)))
    assert records[1].champion_trials is not None
    assert records[1].challenger_trials is not None
    assert records[1].challenger_trials.outcomes == records[1].champion_trials.outcomes
    assert records[1].decision == "refuse"


def test_rollback_is_a_promotion_on_record(tmp_path: Path, whole: Whole) -> None:
    first = whole.records[0].challenger
    with Workspace.open(whole.copy(tmp_path), exclusive=True) as workspace:
        run = workspace.ledger.runs()[0].id
        assert roll_back(workspace, run, reason="it scratched the table").candidate == first
        assert workspace.ledger.champion(run) == first
        with pytest.raises(UnknownName, match="unknown champion 'ffff'"):
            roll_back(workspace, run, to="ffff")
        report = tell(workspace, workspace.ledger.run(run))
    assert report.rounds[-1].decision == "rollback"
    assert report.rounds[-1].reason == "it scratched the table"


def test_after_a_rollback_the_loop_ends_with_the_champion_that_stands(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with Workspace.open(whole.copy(tmp_path), exclusive=True) as workspace:
        roll_back(workspace, workspace.ledger.runs()[0].id)
    _, ending = turn(tmp_path, config)
    assert ending is not None
    assert ending.last.candidate == whole.records[0].challenger


def test_a_promotion_against_a_champion_that_has_moved_is_refused(
    tmp_path: Path, whole: Whole
) -> None:
    with Workspace.open(whole.copy(tmp_path), exclusive=True) as workspace:
        run = workspace.ledger.runs()[0].id
        with pytest.raises(StaleChampion, match="run the gate again"):
            workspace.ledger.promote(
                alias=run,
                candidate=whole.records[1].challenger,
                expected=whole.records[0].challenger,
                decision_id="late",
                gate_report=whole.records[1].gate_report,
            )


def test_held_out_starts_cannot_be_trained_on(whole: Whole) -> None:
    gate = whole.records[1].challenger_trials
    assert gate is not None
    with Workspace.open(whole.folder) as workspace:
        gate_episode = read_episode(workspace, gate.episodes[0])
        train_episode = read_episode(workspace, whole.records[1].operated.episodes[0])
    refuse_held_out([train_episode])
    with pytest.raises(ContractError, match="began from a gate seed"):
        refuse_held_out([train_episode, gate_episode])


@pytest.mark.parametrize(
    ("attribute", "error", "message"),
    [
        ("raising_verifier", VerifierError, r"raised ZeroDivisionError.*"),
        ("nan_world", WorldError, r"proprio \['x_m'\] is not finite"),
        ("wrong_shape_world", WorldError, r"camera 'top' gave uint8 \(8, 8, 3\), expected"),
    ],
)
def test_a_broken_scenario_is_named_and_nothing_is_lost(
    tmp_path: Path, config: LoopConfig, attribute: str, error: type[Exception], message: str
) -> None:
    broken = replace(config, scenario=f"{HERE / 'broken_scenarios.py'}:{attribute}")
    with pytest.raises(error, match=message):
        turn(tmp_path, broken)
    records, _ = turn(tmp_path, config)
    assert len(records) == 4, "the workspace still works for a sound scenario"


def test_a_policy_that_returns_nonsense_is_named(tmp_path: Path, config: LoopConfig) -> None:
    nonsense = RoundPlan(label="NaN", learner=Learner(entry=f"{ODD_LEARNERS}:nan_weights"))
    with pytest.raises(PolicyError, match="non-finite action"):
        turn(tmp_path, replace(config, rounds=(nonsense,)))


def test_a_candidate_folder_with_a_pickle_is_refused(tmp_path: Path, config: LoopConfig) -> None:
    pickled = RoundPlan(label="pickle", learner=Learner(entry=f"{ODD_LEARNERS}:pickled"))
    with pytest.raises(UnsafeCandidate, match="may hold a pickle"):
        turn(tmp_path, replace(config, rounds=(pickled,)))


def test_an_unfinished_run_can_be_told(tmp_path: Path, config: LoopConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, config, StopsAfter(5))
    with Workspace.open(tmp_path) as workspace:
        assert tell(workspace, workspace.ledger.runs()[0]).rounds == ()


def test_a_report_holds_the_run_and_survives_json(whole: Whole) -> None:
    with Workspace.open(whole.folder) as workspace:
        report = tell(workspace, workspace.ledger.runs()[0], command="loopwright run smoke")
    assert RunReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert [r.decision for r in report.rounds] == ["genesis", "refuse", "promote", "refuse"]
    assert len(report.films) == 3
    assert report.rounds[0].labelled_demos == 20
    assert report.rounds[1].planted
    assert report.total_cpu_s > 0


def test_configuration_survives_json(config: LoopConfig) -> None:
    for recipe in (config, get_recipe("smoke")):
        assert LoopConfig.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_requests_of_another_loop_seed_take_other_starts(
    tmp_path: Path, config: LoopConfig
) -> None:
    seeds: list[set[int]] = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        turn(folder, replace(config, seed=seed, rounds=()))
        with Workspace.open(folder) as workspace:
            seeds.append({e.seed for e in workspace.ledger.episodes()})
    assert not seeds[0] & seeds[1]


def test_splits_never_share_a_seed() -> None:
    assert split_of(split_seed("train", 7)) == "train"
    assert split_of(split_seed("gate", 0)) == "gate"
    assert split_of(split_seed("sealed", 999)) == "sealed"
