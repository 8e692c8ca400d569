from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pytest

from loopwright.compute.execute import InProcessExecutor
from loopwright.core.errors import (
    ContractError,
    DamagedData,
    PolicyError,
    StaleChampion,
    UnknownName,
    UnsafeCandidate,
    VerifierError,
    WorldError,
)
from loopwright.core.scenario import split_of, split_seed
from loopwright.core.stage import Receipt, Site, StageSpec
from loopwright.loop.config import Learner, LoopConfig, RoundPlan
from loopwright.loop.engine import Engine
from loopwright.loop.promotion import roll_back
from loopwright.loop.records import Ending, RoundRecord
from loopwright.loop.rounds import Loop
from loopwright.loop.stages import refuse_held_out
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe
from loopwright.report.run import RunReport
from loopwright.store.episodes import read_episode
from loopwright.store.workspace import Workspace

HERE = Path(__file__).parent
ODD_LEARNERS = "odd_learners"


@pytest.fixture(autouse=True)
def _importable_learners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture(scope="module")
def config() -> LoopConfig:
    smoke = get_recipe("smoke")
    gate = replace(smoke.gate, max_pairs=20)
    return replace(smoke, gate=gate, operate_episodes=4, sealed_episodes=4, film_px=16)


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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, config: LoopConfig) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(folder, *turn(folder, config))


class StopsAfter(InProcessExecutor):
    """Runs so many stages, then the command is interrupted."""

    def __init__(self, stages: int) -> None:
        self.left = stages

    def run(self, spec: StageSpec, site: Site, **hooks) -> Receipt:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().run(spec, site, **hooks)


def turn(
    folder: Path, config: LoopConfig, executor: InProcessExecutor | None = None
) -> tuple[list[RoundRecord], Ending | None]:
    # The digest of the code is a constant here: who edits while the tests run gets no odd failure.
    with (
        Workspace.create(folder, exclusive=True) as workspace,
        patch("loopwright.loop.engine.code_digest", lambda: "this code"),
    ):
        loop = Loop(config, Engine(workspace, executor or InProcessExecutor(), parallel=1))
        records = loop.run()
        return records, loop.end()


def digest_of(result: tuple[list[RoundRecord], Ending | None]) -> str:
    """Return everything that must be equal in equal loops."""
    records, ending = result
    assert ending is not None
    return json.dumps([r.to_json() for r in (*records, ending)], sort_keys=True)


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
        assert roll_back(workspace.ledger, run, reason="it scratched the table").candidate == first
        assert workspace.ledger.champion(run) == first
        with pytest.raises(UnknownName, match="unknown champion 'ffff'"):
            roll_back(workspace.ledger, run, to="ffff")
        report = tell(workspace, workspace.ledger.run(run))
    assert report.rounds[-1].decision == "rollback"
    assert report.rounds[-1].reason == "it scratched the table"


def test_after_a_rollback_the_loop_ends_with_the_champion_that_stands(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with Workspace.open(whole.copy(tmp_path), exclusive=True) as workspace:
        roll_back(workspace.ledger, workspace.ledger.runs()[0].id)
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


def _flip_a_byte(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_episode_is_put_away_and_recorded_again(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    folder = tmp_path
    with pytest.raises(KeyboardInterrupt):
        turn(folder, config, StopsAfter(2))  # demonstrations and play are there, nothing else
    with Workspace.open(folder) as workspace:
        victim = workspace.ledger.episodes(kind="demo")[3].id
        _flip_a_byte(workspace.episodes_folder / victim / "data.parquet")
    with pytest.raises(DamagedData, match=r"data\.parquet"):
        turn(folder, config)
    assert digest_of(turn(folder, config)) == whole.digest


def test_a_damaged_candidate_is_put_away_and_trained_again(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, config, StopsAfter(6))  # the first champion has been operated
    champion = whole.records[0].challenger
    with Workspace.open(tmp_path) as workspace:
        manifest = workspace.objects.read_json(champion)["folder"]
        _flip_a_byte(workspace.objects.path(manifest["weights.json"]))
    with pytest.raises(DamagedData):
        turn(tmp_path, config)
    assert digest_of(turn(tmp_path, config)) == whole.digest


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
