import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import (
    digest,
    exact_rate,
    gate,
    genesis_round,
    later_round,
    long_run,
    synthetic_run,
)

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.report.pictures import Film, FilmPair, Imagination
from loopwright.report.rounds import Curve, Decision, GateReport, RoundReport, SuccessRate
from loopwright.report.run import Budget, RunReport, SealedResult


def through_json(run: RunReport) -> RunReport:
    return RunReport.from_json(json.loads(json.dumps(run.to_json(), allow_nan=False)))


@pytest.mark.parametrize(
    "run",
    [
        synthetic_run(),
        long_run(),
        RunReport(title="", scenario="", instruction="", recipe="", seed=0),
    ],
    ids=["whole", "long", "empty"],
)
def test_a_report_survives_json(run: RunReport) -> None:
    assert through_json(run) == run


def test_films_on_disk_and_diverged_losses_survive_json() -> None:
    film = Film(mp4=Path("films/a.mp4"), label="before", outcome="unknown")
    curve = Curve(name="loss", steps=(1, 2, 3), values=(1.0, math.inf, math.nan))
    run = replace(
        synthetic_run(),
        films=(FilmPair(seed=1, before=film),),
        rounds=(replace(genesis_round(), curves=(curve,)),),
    )
    back = through_json(run)
    assert back.films == run.films
    assert back.rounds[0].curves[0].values[:2] == (1.0, math.inf)
    assert math.isnan(back.rounds[0].curves[0].values[2])


@given(
    label=st.text(),
    reason=st.text(),
    added=st.dictionaries(st.text(), st.integers(0, 10**6)),
    evidence=st.lists(st.floats(0, allow_nan=False), max_size=5),
)
def test_any_round_survives_json(
    label: str, reason: str, added: dict[str, int], evidence: list[float]
) -> None:
    gate = GateReport(
        wins=1, losses=0, ties=2, evidence=tuple(evidence), threshold=20.0, alpha=0.05
    )
    turn = RoundReport(
        index=1, label=label, decision="refuse", reason=reason, added=added, gate=gate
    )
    run = RunReport(title="t", scenario="s", instruction="i", recipe="r", seed=0, rounds=(turn,))
    assert through_json(run) == run


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"rounds": [{"index": 0}]}, "no data of a RunReport"),
        ({"seed": "seven"}, "no int"),
        ({"colour": "red"}, "colour"),
        ({"imaginations": [{"real": {"zlib": "AAAA", "shape": [1], "dtype": "uint8"}}]}, "no data"),
    ],
)
def test_damaged_json_is_named(change: dict, words: str) -> None:
    data = replace(synthetic_run(), films=()).to_json() | change
    with pytest.raises(DamagedData, match=words):
        RunReport.from_json(data)


def test_json_that_is_no_object_is_named() -> None:
    with pytest.raises(DamagedData, match="schema version None"):
        RunReport.from_json([])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SuccessRate(successes=3, trials=2, low=0.0, high=1.0),
        lambda: SuccessRate(successes=0, trials=0, low=0.0, high=1.0),
        lambda: SuccessRate(successes=1, trials=2, low=0.6, high=0.9),
        lambda: GateReport(wins=-1, losses=0, ties=0, threshold=20, alpha=0.05),
        lambda: GateReport(wins=0, losses=0, ties=0, threshold=1.0, alpha=0.05),
        lambda: Curve(name="loss", steps=(1, 2), values=(0.5,)),
        lambda: RoundReport(index=0, label="", decision="maybe"),  # type: ignore[arg-type]
        lambda: Imagination(
            real=np.zeros((2, 8, 8, 3), np.uint8), imagined=np.zeros((3, 8, 8, 3), np.uint8)
        ),
        lambda: Imagination(
            real=np.zeros((2, 8, 8, 3), np.float32), imagined=np.zeros((2, 8, 8, 3), np.uint8)
        ),
    ],
)
def test_impossible_values_are_refused(make) -> None:
    with pytest.raises(InvalidConfig):
        make()


def test_the_headline_prefers_sealed_seeds_and_never_mixes_them_with_gate_seeds() -> None:
    whole = synthetic_run()
    ends = whole.standings()
    assert ends is not None
    assert [(e.round, e.success.rate, e.measured_on) for e in ends] == [
        (0, 0.05, "sealed seeds"),
        (2, 0.97, "sealed seeds"),
    ]
    half = replace(whole, sealed=whole.sealed[:1])
    ends = half.standings()
    assert ends is not None
    assert {e.measured_on for e in ends} == {"gate seeds"}
    # The last gate of each: round 2 for the first champion, round 3 for the present one.
    assert ends[0].success == half.rounds[2].champion_success
    assert ends[1].success == half.rounds[3].champion_success


def test_before_any_gate_the_headline_is_what_operation_showed() -> None:
    ends = long_run(1).standings()
    assert ends is not None
    assert ends[0] == ends[1]
    assert ends[0].measured_on == "seeds of its own operation"
    assert ends[0].success == exact_rate(4, 50)


def test_a_rollback_stands_for_what_its_champion_once_reached() -> None:
    clone = digest("clone")
    won = later_round(1, "promote", clone)
    back = RoundReport(
        index=2,
        label="Roll back",
        decision="rollback",
        champion_before=won.champion_after,
        champion_after=clone,
    )
    run = replace(long_run(1), rounds=(genesis_round(), won, back))
    ends = run.standings()
    assert ends is not None
    assert (ends[1].digest, ends[1].round) == (clone, 2)
    assert ends[1].success == won.champion_success


def test_no_headline_without_a_measured_champion() -> None:
    unmeasured = replace(genesis_round(), success=None)
    run = replace(long_run(1), rounds=(unmeasured,))
    assert run.standings() is None
    sealed = SealedResult(label="x", candidate=digest("clone"), success=exact_rate(1, 2))
    assert replace(run, sealed=(sealed,)).standings() is not None


def test_the_spent_error_budget_counts_each_slice_once_and_not_what_a_promotion_hands_on() -> None:
    budget = Budget(alpha=0.05)
    clone = digest("clone")
    decisions: list[Decision] = ["refuse", "promote", "promote", "refuse"]
    alphas = [0.05 / 2, 0.05 / 6, 0.05 / 6 + 0.05 / 12, 0.05 / 6 + 0.05 / 12 + 0.05 / 20]
    turns = tuple(
        later_round(index, decision, clone, gate=gate(0.9, 0.9, seed=index, alpha=alpha))
        for index, (decision, alpha) in enumerate(zip(decisions, alphas, strict=True), 1)
    )
    spent = [
        replace(long_run(1), budget=budget, rounds=(genesis_round(), *turns[:count])).alpha_spent
        for count in range(5)
    ]
    assert spent == pytest.approx([0, 0.025, 0.025, 0.025, 0.05 * (1 - 1 / 5)])
    assert long_run(1).alpha_spent is None, "without a budget nothing of it can be spent"
