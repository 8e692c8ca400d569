"""The tables that simulate millions of gates agree with the gate itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from benchmarks.gate_rules import (
    Matchup,
    StoppingRule,
    draw_counts,
    fixed_power,
    gate_rule,
    looks_better_rule,
    operate,
    promotes,
    sign_test_rule,
)
from loopwright.core.episode import Outcome
from loopwright.loop.gate import GateConfig, PairedTrial, judge

CONFIG = GateConfig(alpha=0.4, max_pairs=8, min_pairs=2, batch=2, futility_win_share=0.6)
PAIRS: dict[int, tuple[Outcome, Outcome]] = {
    1: ("failure", "success"),
    -1: ("success", "failure"),
    0: ("success", "success"),
}


def counts_at(looks: tuple[int, ...], steps: tuple[int, ...]) -> np.ndarray:
    seen = np.array(steps)
    return np.array([[(seen[:n] == 1).sum(), (seen[:n] == -1).sum()] for n in looks])


@pytest.mark.parametrize("round_index", [1, 2])
def test_the_table_decides_as_judge_does(round_index: int) -> None:
    rule = gate_rule(CONFIG, round_index)
    histories = list(product((1, 0, -1), repeat=CONFIG.max_pairs))
    by_table = promotes(rule, np.stack([counts_at(rule.looks, h) for h in histories]))
    for history, promoted in list(zip(histories, by_table, strict=True))[::5]:
        trials = [
            PairedTrial(seed=s, champion=PAIRS[step][0], challenger=PAIRS[step][1])
            for s, step in enumerate(history)
        ]
        assert (judge(CONFIG, round_index, trials).decision == "promote") == promoted
    assert 0 < by_table.sum() < len(histories)


@pytest.mark.parametrize(
    "rule",
    [gate_rule(CONFIG, 1), sign_test_rule((4, 8), 0.2), looks_better_rule((2, 8))],
    ids=["gate", "sign test", "ahead"],
)
def test_the_exact_walk_adds_up_all_histories(rule: StoppingRule) -> None:
    matchup = Matchup(win=0.35, loss=0.2)
    chance = {1: matchup.win, -1: matchup.loss, 0: 1 - matchup.win - matchup.loss}
    histories = list(product((1, 0, -1), repeat=rule.max_pairs))
    weights = np.array([np.prod([chance[step] for step in history]) for history in histories])
    by_table = promotes(rule, np.stack([counts_at(rule.looks, h) for h in histories]))
    operation = operate(rule, matchup)
    assert operation.promoted == pytest.approx(weights[by_table].sum())
    assert rule.looks[0] <= operation.mean_pairs <= rule.max_pairs


def test_draws_follow_the_exact_chance() -> None:
    rule, matchup = gate_rule(CONFIG, 1), Matchup(win=0.35, loss=0.2)
    drawn = promotes(rule, draw_counts(rule.looks, matchup, 40_000, np.random.default_rng(5)))
    assert drawn.mean() == pytest.approx(operate(rule, matchup).promoted, abs=0.01)


def test_fixed_power_is_the_walk_with_one_look() -> None:
    matchup = Matchup.of(0.3, 0.6)
    walked = operate(sign_test_rule((25,), 0.05), matchup).promoted
    assert fixed_power(matchup, 0.05, 25) == pytest.approx(walked, rel=1e-9)


def test_matchups_keep_their_rates() -> None:
    for correlation in (0.0, 0.5, 0.8, 1.0):
        matchup = Matchup.of(0.5, 0.7, correlation)
        assert matchup.win - matchup.loss == pytest.approx(0.2)
        assert matchup.loss >= 0
    assert Matchup.of(0.5, 0.5, 1.0) == Matchup(win=0.0, loss=0.0)
