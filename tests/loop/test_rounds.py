from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_loop import StopsAfter, StopsAtGate, Whole, digest_of, turn

from loopwright.compute.process import ProcessExecutor
from loopwright.core.errors import (
    ContractError,
    InvalidConfig,
    PolicyError,
    StaleChampion,
    UnknownName,
    UnsafeCandidate,
    VerifierError,
    WorldError,
)
from loopwright.core.scenario import Box, Request, split_of, split_seed
from loopwright.core.sequential import confidence_sequence
from loopwright.loop.config import Learner, LoopConfig, RoundPlan, foreign_code
from loopwright.loop.promotion import roll_back, standing_before
from loopwright.loop.records import RoundRecord
from loopwright.loop.stages import refuse_held_out
from loopwright.loop.story import tell
from loopwright.recipes.registry import get_recipe, recipe_names
from loopwright.report.run import RunReport
from loopwright.report.wording import gate_freshness
from loopwright.scenarios.registry import get_scenario
from loopwright.store.episodes import read_episode
from loopwright.store.ledger.decisions import Decision, MoveKind
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
        added = [e for r in records for ids in (*r.added, r.operated.episodes) for e in ids]
        recorded = [workspace.ledger.episode(e) for e in added]
        trained_on = {episode.seed for episode in recorded if episode}
    assert all(recorded)
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


def _gate_seeds(records: list[RoundRecord]) -> list[int]:
    return [s for r in records if r.challenger_trials for s in r.challenger_trials.seeds]


def test_no_run_of_a_workspace_meets_at_a_gate_on_used_starts(
    tmp_path: Path, config: LoopConfig, whole: Whole
) -> None:
    with Workspace.open(whole.copy(tmp_path)) as workspace:
        evaluated = split_seed("gate", 10_000 + 30)  # in the block of round 1, not used by then
        workspace.ledger.use_seeds("gate", "point-reach-v1", [evaluated], "evaluate")
    other, _ = turn(tmp_path, replace(config, name="other"))
    seeds = _gate_seeds(other)
    assert len(seeds) == len(set(seeds))
    assert not set(seeds) & {*_gate_seeds(whole.records), evaluated}
    assert [r.decision for r in other] == [r.decision for r in whole.records]
    with Workspace.open(tmp_path) as workspace:
        told = [tell(workspace, run) for run in workspace.ledger.runs()]
    for report in told:
        assert {r.gate.used_before for r in report.rounds if r.gate} == {0}
    shown = [s for r in told[1].rounds for s in r.seeds if s.split == "gate"]
    assert seeds == [s.first + i for s in shown for i in range(s.count)]


def test_a_resumed_gate_keeps_the_starts_it_began_with(tmp_path: Path, config: LoopConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        turn(tmp_path, config, StopsAtGate())
    with Workspace.open(tmp_path) as workspace:
        begun = set(workspace.ledger.seed_uses("gate", "point-reach-v1"))
    assert len(begun) == config.gate.batch
    other, _ = turn(tmp_path, replace(config, name="other"))
    records, _ = turn(tmp_path, config)
    assert records[1].challenger_trials is not None
    assert set(records[1].challenger_trials.seeds[: len(begun)]) == begun
    assert not set(_gate_seeds(records)) & set(_gate_seeds(other))


def test_starts_that_an_earlier_version_used_twice_are_told(
    tmp_path: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = whole.records[1].challenger_trials
    assert met is not None
    with Workspace.open(whole.copy(tmp_path)) as workspace:
        workspace.ledger.use_seeds("gate", "point-reach-v1", met.seeds[3:5], "a later look")
        monkeypatch.setattr("loopwright.store.ledger.episodes.now_s", lambda: 0.0)
        workspace.ledger.use_seeds("gate", "point-reach-v1", met.seeds[:3], "another run")
        gate = tell(workspace, workspace.ledger.runs()[0]).rounds[1].gate
    assert gate is not None
    assert gate.used_before == 3
    assert "3 of them used before" in gate_freshness(gate)


@pytest.mark.parametrize("stop_after", [0, 2])
def test_a_run_that_was_stopped_after_a_round_goes_on_as_the_same_run(
    tmp_path: Path, config: LoopConfig, whole: Whole, stop_after: int
) -> None:
    records, ending = turn(tmp_path, config, stop_after=stop_after)
    assert (len(records), ending) == (stop_after + 1, None)
    with Workspace.open(tmp_path) as workspace:
        assert not workspace.ledger.seed_uses("sealed", "point-reach-v1"), "it was not over yet"
    assert digest_of(turn(tmp_path, config)) == whole.digest
    with Workspace.open(tmp_path) as workspace:
        assert len(workspace.ledger.runs()) == 1


def _moves(*moves: tuple[MoveKind, str]) -> list[Decision]:
    return [
        Decision(
            id=str(number),
            alias="run",
            kind=kind,
            candidate=candidate,
            champion_before=None,
            gate_report=None,
            reason="",
            decided_at=0.0,
        )
        for number, (kind, candidate) in enumerate(moves)
    ]


def test_going_back_twice_never_goes_forward_again() -> None:
    rise: list[tuple[MoveKind, str]] = [("genesis", "A"), ("promotion", "B"), ("promotion", "C")]
    back_one: tuple[MoveKind, str] = ("rollback", "B")
    back_two: tuple[MoveKind, str] = ("rollback", "A")
    assert standing_before(_moves(*rise)) == ["A", "B"]
    assert standing_before(_moves(*rise, back_one)) == ["A"]
    assert standing_before(_moves(*rise, back_one, back_two)) == []
    assert standing_before(_moves(*rise, back_one, ("promotion", "D"))) == ["A", "B"]
    assert standing_before(_moves(*rise, back_two, ("rollback", "C"))) == ["A"], "forward by --to"


def test_a_second_rollback_of_a_run_goes_further_back_or_nowhere(
    tmp_path: Path, whole: Whole
) -> None:
    second = whole.records[2].challenger
    with Workspace.open(whole.copy(tmp_path), exclusive=True) as workspace:
        run = workspace.ledger.runs()[0].id
        roll_back(workspace, run)
        with pytest.raises(InvalidConfig, match="had no champion before"):
            roll_back(workspace, run)
        report = tell(workspace, workspace.ledger.run(run))
        assert roll_back(workspace, run, to=second[:8]).candidate == second
    assert len(report.turns) == len(whole.records)
    assert report.rounds[-1].labelled_demos == whole.records[-1].demonstrations


def test_a_rollback_is_told_where_it_happened(tmp_path: Path, config: LoopConfig) -> None:
    once = config.rounds[1]
    more = tuple(replace(r, first=r.first + r.count) for r in once.requests)
    twice = replace(config, rounds=(once, replace(once, requests=more)))
    turn(tmp_path, twice, stop_after=1)
    with Workspace.open(tmp_path, exclusive=True) as workspace:
        roll_back(workspace, workspace.ledger.runs()[0].id)
    turn(tmp_path, twice)
    with Workspace.open(tmp_path) as workspace:
        report = tell(workspace, workspace.ledger.runs()[0])
    told = [(r.index, r.decision) for r in report.rounds]
    assert told == [(0, "genesis"), (1, "promote"), (3, "rollback"), (2, "promote")]
    ends = report.standings()
    assert ends is not None
    assert ends[1].digest == report.rounds[-1].champion_after


def test_intervals_of_gates_hold_although_the_gate_chose_when_to_stop(whole: Whole) -> None:
    with Workspace.open(whole.folder) as workspace:
        report = tell(workspace, workspace.ledger.runs()[0])
    for turn_told in report.rounds[1:]:
        assert turn_told.gate is not None
        for found in (turn_told.gate.champion, turn_told.gate.challenger):
            assert found is not None
            valid = confidence_sequence(found.successes, found.trials)
            assert (found.low, found.high) == (valid.low, valid.high)


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


def test_a_learner_in_a_file_is_found_and_its_code_is_part_of_the_stage(
    tmp_path: Path, config: LoopConfig
) -> None:
    (tmp_path / "own_ridge.py").write_text("RIDGE = 1e-3\n")
    (tmp_path / "own_learner.py").write_text(
        "from own_ridge import RIDGE\n"
        "from loopwright.train.linear import learn as line\n\n"
        "def learn(config, job):\n"
        "    return line({**config, 'ridge': RIDGE}, job)\n"
    )
    entry = f"{tmp_path / 'own_learner.py'}:learn"
    genesis = replace(config.genesis, learner=Learner(entry=entry))
    wanted = replace(config, genesis=genesis, rounds=())
    one = turn(tmp_path / "runs", wanted, ProcessExecutor())[0][0]
    before = foreign_code(genesis.learner)
    (tmp_path / "own_ridge.py").write_text("RIDGE = 1e9\n")
    assert foreign_code(genesis.learner) != before
    other = replace(wanted, name="edited")
    two = turn(tmp_path / "runs", other, ProcessExecutor())[0][0]
    assert two.champion_after != one.champion_after, "the fit was not taken from the ledger"


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
    for pair in report.films:  # why it was judged so stands below each film
        assert pair.before is not None
        assert "came within" in pair.before.caption
    assert report.rounds[0].labelled_demos == 20
    assert report.rounds[1].planted
    assert report.total_cpu_s > 0


def test_requests_that_record_the_same_starts_are_refused(
    tmp_path: Path, config: LoopConfig
) -> None:
    first = config.genesis.requests[0]
    assert first.kind == "demo"
    again = replace(config.rounds[1], requests=(replace(first, first=first.first + 1, count=1),))
    with pytest.raises(InvalidConfig, match=rf"round 0 .* round 1 .* first={first.count} or more"):
        turn(tmp_path, replace(config, rounds=(again,)))
    with Workspace.open(tmp_path) as workspace:
        assert workspace.ledger.runs() == []
    domain = get_scenario(config.scenario).domain
    name = min(domain.low)
    middle = (domain.low[name] + domain.high[name]) / 2
    halves = (
        replace(first, box=Box(low=domain.low, high={**domain.high, name: middle})),
        replace(first, box=Box(low={**domain.low, name: middle}, high=domain.high)),
    )
    replace(config, genesis=replace(config.genesis, requests=halves)).refuse_overlaps()
    for name in recipe_names():
        get_recipe(name).refuse_overlaps()


def test_a_label_that_is_asked_for_again_is_counted_once(
    tmp_path: Path, config: LoopConfig
) -> None:
    domain = get_scenario(config.scenario).domain
    name = min(domain.low)
    middle = (domain.low[name] + domain.high[name]) / 2
    half = Box(low=domain.low, high={**domain.high, name: middle})
    # The first passes over the starts of the other half and comes to those of the second.
    requests = (
        Request(kind="demo", count=6, box=half),
        Request(kind="demo", count=6, box=half, first=6),
    )
    genesis = replace(config.genesis, requests=requests)
    records, _ = turn(tmp_path, replace(config, genesis=genesis), stop_after=0)
    with Workspace.open(tmp_path) as workspace:
        recorded = [e for e in workspace.ledger.episodes() if e.kind == "demo"]
    assert records[0].demonstrations == len(recorded) < 12


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
