"""The gate against enumeration, its laws, and loops that try to slip something through it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loopwright.core.episode import Outcome
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.sequential import log_e_above
from loopwright.core.statistics import upper_bound
from loopwright.loop.gate import (
    FloorCheck,
    GateConfig,
    GateDecision,
    PairedTrial,
    Tally,
    floor_holds,
    judge,
)

OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "unknown")
WIN, LOSS, TIE = ("failure", "success"), ("success", "failure"), ("success", "success")
Pair = tuple[Outcome, Outcome]

pairs = st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES))
known_pairs = st.tuples(st.sampled_from(OUTCOMES[:2]), st.sampled_from(OUTCOMES[:2]))
histories = st.lists(pairs, max_size=40)
known_histories = st.lists(known_pairs, max_size=40)
winning_histories = st.lists(st.one_of(*[st.just(WIN)] * 5, pairs), min_size=20, max_size=40)
full_histories = st.lists(pairs, min_size=40, max_size=40)
configs = st.builds(
    GateConfig,
    alpha=st.sampled_from([0.05, 0.2, 0.5]),
    max_pairs=st.just(40),
    min_pairs=st.integers(1, 12),
    batch=st.integers(1, 9),
    max_missing_share=st.sampled_from([0.0, 0.05, 0.3]),
    futility_win_share=st.sampled_from([None, 0.5, 2 / 3, 0.8]),
    futility_error=st.sampled_from([0.05, 0.2]),
)

EAGER = GateConfig(
    alpha=0.5, max_pairs=7, min_pairs=1, batch=1, max_missing_share=0.0, futility_win_share=None
)
"""Small enough to enumerate; the first round promotes after four straight wins."""


def trials_of(history: Sequence[Sequence[Outcome]]) -> list[PairedTrial]:
    return [
        PairedTrial(seed=seed, champion=champion, challenger=challenger)
        for seed, (champion, challenger) in enumerate(history)
    ]


def exact_e(wins: int, losses: int) -> Fraction:
    n = wins + losses
    tail = sum(math.comb(n + 1, k) for k in range(wins + 1))
    return Fraction(tail, (n + 1) * math.comb(n, wins))


# -- agreement with enumeration ------------------------------------------------------------------


def expected_decision(history: Sequence[Pair], threshold: int) -> tuple[str, int]:
    """Apply the rules of EAGER in exact arithmetic."""
    wins = losses = 0
    for seen, pair in enumerate(history, start=1):
        wins += pair == WIN
        losses += pair == LOSS
        if exact_e(wins, losses) >= threshold:
            return "promote", seen
        if exact_e(wins + len(history) - seen, losses) < threshold:
            return "refuse", seen
    raise AssertionError("a full history ends in a decision")


def test_every_short_gate_is_decided_as_exact_arithmetic_decides_it() -> None:
    for history in product((WIN, LOSS, TIE), repeat=EAGER.max_pairs):
        decision = judge(EAGER, 1, trials_of(history))
        assert (decision.decision, decision.pairs) == expected_decision(history, threshold=4)


@pytest.mark.parametrize(("win", "loss"), [(0.5, 0.5), (0.25, 0.25), (0.05, 0.05), (0.3, 0.4)])
def test_the_exact_error_of_a_short_gate_is_within_its_budget(win: float, loss: float) -> None:
    chance = {WIN: win, LOSS: loss, TIE: 1 - win - loss}
    error = sum(
        math.prod(chance[pair] for pair in history)
        for history in product((WIN, LOSS, TIE), repeat=EAGER.max_pairs)
        if judge(EAGER, 1, trials_of(history)).decision == "promote"
    )
    assert 0 < error <= 0.25


def test_worthless_challengers_stay_within_the_budget_of_the_round() -> None:
    config = GateConfig(max_pairs=60)
    rng = np.random.default_rng(20261122)
    promoted, gates = 0, 2000
    for _ in range(gates):
        solved = rng.random((config.max_pairs, 2)) < 0.5
        history = [tuple("success" if s else "failure" for s in row) for row in solved]
        promoted += judge(config, 1, trials_of(history)).decision == "promote"  # type: ignore[arg-type]
    # Even the 99.9 % upper bound of the measured rate lies below alpha / 2.
    assert upper_bound(promoted, gates, 0.999) <= 0.025


# -- laws ----------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(configs, st.integers(1, 3), known_histories, st.data())
def test_a_better_outcome_never_harms_the_challenger(
    config: GateConfig, round_index: int, history: list[Pair], data: st.DataObject
) -> None:
    before = judge(config, round_index, trials_of(history))
    places = [place for place, (_, challenger) in enumerate(history) if challenger == "failure"]
    assume(places)
    place = data.draw(st.sampled_from(places))
    history[place] = (history[place][0], "success")
    after = judge(config, round_index, trials_of(history))
    if before.decision == "promote":
        assert after.decision == "promote"
        assert after.pairs <= before.pairs
    if before.decision == "continue":
        assert after.decision in ("continue", "promote")


@given(histories, st.randoms(use_true_random=False))
def test_the_order_of_trials_never_changes_the_final_evidence(
    history: list[Pair], shuffler: random.Random
) -> None:
    # One look at the very end, so that both orders are judged on all trials.
    assume(history)
    config = GateConfig(max_pairs=len(history), min_pairs=len(history))
    shuffled = trials_of(history)
    shuffler.shuffle(shuffled)
    one, other = judge(config, 1, trials_of(history)), judge(config, 1, shuffled)
    assert one.log_path[-1] == other.log_path[-1]
    assert (one.decision, one.tally) == (other.decision, other.tally)


@given(configs, winning_histories, st.data())
def test_a_promotion_stands_whatever_the_missing_verdicts_would_have_been(
    config: GateConfig, history: list[Pair], data: st.DataObject
) -> None:
    decision = judge(config, 1, trials_of(history))
    assume(decision.decision == "promote")
    completed = [
        tuple(
            data.draw(st.sampled_from(OUTCOMES[:2])) if outcome == "unknown" else outcome
            for outcome in pair
        )
        for pair in history[: decision.pairs]
    ]
    tally = Tally.of(trials_of(completed))  # type: ignore[arg-type]
    assert tally.missing == 0
    assert tally.log_evidence >= math.log(decision.threshold)


@given(histories, st.integers(0, 39), st.booleans())
def test_losing_a_verdict_never_helps(
    history: list[Pair], place: int, of_the_champion: bool
) -> None:
    assume(place < len(history))
    champion, challenger = history[place]
    lost = history.copy()
    lost[place] = ("unknown", challenger) if of_the_champion else (champion, "unknown")
    before, after = Tally.of(trials_of(history)), Tally.of(trials_of(lost))
    assert after.log_worst_evidence() <= before.log_worst_evidence()


@given(configs, full_histories)
def test_the_first_decision_is_final(config: GateConfig, history: list[Pair]) -> None:
    final = judge(config, 1, trials_of(history))
    assert final.decision != "continue"
    for seen in range(final.pairs):
        assert judge(config, 1, trials_of(history[:seen])).decision == "continue"
    assert judge(config, 1, trials_of(history[: final.pairs])) == final


@given(configs, st.integers(1, 50), histories)
def test_a_decision_survives_json(
    config: GateConfig, round_index: int, history: list[Pair]
) -> None:
    decision = judge(config, round_index, trials_of(history))
    assert GateDecision.from_json(json.loads(json.dumps(decision.to_json()))) == decision
    assert len(decision.e_path) == decision.pairs + 1
    assert decision.e_path[0] == 1
    assert decision.log_path[-1] == decision.tally.log_evidence


@settings(max_examples=300)
@given(configs, st.integers(1, 3), known_histories)
def test_futility_only_ever_takes_promotions_away(
    config: GateConfig, round_index: int, history: list[Pair]
) -> None:
    patient = replace(config, futility_win_share=None)
    if judge(config, round_index, trials_of(history)).decision == "promote":
        assert judge(patient, round_index, trials_of(history)).decision == "promote"


# -- cases a person would check ------------------------------------------------------------------


def test_a_clear_gain_is_promoted_at_the_first_look() -> None:
    decision = judge(GateConfig(), 1, trials_of([WIN] * 10))
    assert (decision.decision, decision.pairs) == ("promote", 10)
    assert decision.threshold == pytest.approx(40)
    assert decision.e_value == pytest.approx(float(exact_e(10, 0)))
    assert "10 won, 0 lost in 10 pairs" in decision.reason
    assert decision.challenger.successes == 10
    assert decision.champion.successes == 0
    assert decision.champion.high < decision.challenger.low


def test_later_rounds_ask_for_more() -> None:
    history = trials_of([WIN] * 10)
    assert judge(GateConfig(), 1, history).decision == "promote"
    assert judge(GateConfig(), 10, history).decision == "continue"


def test_a_promotion_hands_its_budget_to_the_next_round() -> None:
    history = trials_of([WIN] * 10)
    alone = judge(GateConfig(), 4, history)
    heir = judge(GateConfig(), 4, history, promotions_before=3)
    assert (alone.decision, heir.decision) == ("continue", "promote")
    assert heir.alpha == pytest.approx(0.05 * 4 / 5)
    assert heir.threshold == pytest.approx(25)
    with pytest.raises(InvalidConfig, match="4 promotions in a row before round 4"):
        judge(GateConfig(), 4, history, promotions_before=4)


def test_before_the_first_look_the_gate_stays_open() -> None:
    for count in (0, 9):
        decision = judge(GateConfig(), 1, trials_of([WIN] * count))
        assert (decision.decision, decision.pairs, decision.e_value) == ("continue", 0, 1)


def test_a_perfect_champion_is_not_challenged_to_the_last_pair() -> None:
    decision = judge(GateConfig(), 1, trials_of([TIE] * 200))
    assert decision.decision == "refuse"
    assert decision.pairs <= 100


def test_a_worse_challenger_is_refused_early() -> None:
    decision = judge(GateConfig(), 1, trials_of([LOSS, TIE, LOSS, LOSS] * 50))
    assert decision.decision == "refuse"
    assert decision.pairs <= 20


def test_a_world_that_gives_no_verdicts_blocks_the_gate() -> None:
    history = [("unknown", "success"), WIN] * 100
    decision = judge(GateConfig(), 1, trials_of(history))
    assert decision.decision == "blocked"
    assert decision.pairs < 40


def test_a_challenger_that_hides_its_losses_is_not_promoted() -> None:
    """Each hidden loss is one lost verdict, below the share at which the gate is blocked."""
    history = ([WIN] * 9 + [LOSS] * 3 + [TIE] * 8 + [("success", "unknown")] * 2) * 4
    config = GateConfig(alpha=0.5, max_pairs=88, max_missing_share=0.1, futility_win_share=None)
    shown = Tally.of(trials_of(history))
    assert shown.log_evidence >= math.log(4) > shown.log_worst_evidence()
    patient = replace(config, min_pairs=88)
    assert judge(patient, 1, trials_of(history)).decision == "blocked"


def test_possible_losses_are_the_missing_pairs_that_could_be_lost() -> None:
    lost = {("success", "unknown"), ("unknown", "failure"), ("unknown", "unknown")}
    for champion, challenger in product(OUTCOMES, OUTCOMES):
        trial = PairedTrial(seed=0, champion=champion, challenger=challenger)
        assert trial.may_be_loss == ((champion, challenger) in lost)


def test_the_same_seed_twice_is_an_error() -> None:
    trials = trials_of([WIN, WIN])
    with pytest.raises(ContractError, match="seed 0 occurs twice"):
        judge(GateConfig(), 1, [trials[0], trials[0]])
    with pytest.raises(ContractError, match="seed 0 occurs twice"):
        floor_holds([trials[0], trials[0]])


def test_trials_in_finishing_order_are_an_error() -> None:
    trials = trials_of([WIN, LOSS, TIE])
    judge(GateConfig(), 1, trials, planned_seeds=range(200))
    with pytest.raises(ContractError, match="trial 1 has the seed 2, planned was 1"):
        judge(GateConfig(), 1, [trials[0], trials[2], trials[1]], planned_seeds=range(200))
    with pytest.raises(ContractError, match="planned was None"):
        judge(GateConfig(), 1, trials, planned_seeds=[0, 1])


def test_a_gate_is_not_prolonged_after_the_fact() -> None:
    with pytest.raises(InvalidConfig, match="11 trials for a gate of at most 10"):
        judge(GateConfig(max_pairs=10), 1, trials_of([TIE] * 11))


def test_gates_are_counted_from_one() -> None:
    with pytest.raises(InvalidConfig, match="counted from 1"):
        judge(GateConfig(), 0, [])


def test_a_word_that_is_no_outcome_is_refused() -> None:
    with pytest.raises(ContractError, match="outcome 'succeeded'"):
        PairedTrial(seed=1, champion="succeeded", challenger="failure")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha": 0.0},
        {"alpha": math.nan},
        {"max_pairs": 5, "min_pairs": 6},
        {"min_pairs": 0},
        {"batch": 0},
        {"max_missing_share": 1.0},
        {"futility_win_share": 0.4},
        {"futility_win_share": 1.0},
        {"futility_error": 0.0},
    ],
)
def test_impossible_configurations_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(InvalidConfig, match="expected"):
        GateConfig(**fields)  # type: ignore[arg-type]


# -- the floor -----------------------------------------------------------------------------------


@given(st.lists(pairs, min_size=1, max_size=40))
def test_the_floor_holds_unless_more_is_lost_than_won(history: list[Pair]) -> None:
    check = floor_holds(trials_of(history))
    wins = history.count(WIN)
    lost = history.count(LOSS) + sum(trial.may_be_loss for trial in trials_of(history))
    assert check.holds == (wins >= lost)
    assert FloorCheck.from_json(json.loads(json.dumps(check.to_json()))) == check


def test_a_promotion_over_the_first_champion_itself_is_above_its_floor() -> None:
    trials = trials_of([WIN] * 11 + [("unknown", "unknown")] + [TIE] * 8)
    assert judge(GateConfig(), 1, trials).decision == "promote"
    assert floor_holds(trials).holds


def test_a_floor_without_trials_is_an_error() -> None:
    with pytest.raises(ContractError, match="no trial"):
        floor_holds([])


def test_evidence_of_the_gate_is_the_evidence_of_core() -> None:
    tally = Tally.of(trials_of([WIN] * 5 + [LOSS] * 2 + [("success", "unknown")]))
    assert tally.log_evidence == log_e_above(5, 2)
    assert tally.log_worst_evidence() == log_e_above(5, 3)
