"""Anytime-valid statistics against exact arithmetic, quadrature and exact crossing chances."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from loopwright.core.errors import InvalidConfig
from loopwright.core.sequential import (
    confidence_sequence,
    log_e_above,
    log_e_below,
    spend_alpha,
)
from loopwright.core.statistics import clopper_pearson

COUNT = st.integers(0, 300)
BOUNDARY = st.floats(0.05, 0.95)


def exact_e(wins: int, losses: int) -> Fraction:
    n = wins + losses
    tail = sum(math.comb(n + 1, k) for k in range(wins + 1))
    return Fraction(tail, (n + 1) * math.comb(n, wins))


def chance_to_reach(
    is_reached: Callable[[int, int], bool], probability: float, horizon: int
) -> float:
    """Return the exact chance that (successes, trials) ever satisfies a condition."""
    reached, alive = 0.0, np.array([1.0])
    for trials in range(1, horizon + 1):
        following = np.zeros(trials + 1)
        following[1:] += alive * probability
        following[:-1] += alive * (1 - probability)
        stops = np.array([is_reached(k, trials) for k in range(trials + 1)])
        reached += following[stops].sum()
        alive = np.where(stops, 0.0, following)
    return float(reached)


@given(st.integers(0, 120), st.integers(0, 120))
def test_evidence_is_the_exact_rational_number(wins: int, losses: int) -> None:
    exact = exact_e(wins, losses)
    expected = math.log(exact.numerator) - math.log(exact.denominator)
    assert log_e_above(wins, losses) == pytest.approx(expected, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("boundary", [0.1, 0.5, 2 / 3, 0.9])
@pytest.mark.parametrize(("successes", "failures"), [(0, 0), (3, 1), (10, 30), (25, 4)])
def test_evidence_is_the_integral_of_its_definition(
    boundary: float, successes: int, failures: int
) -> None:
    def bet(u: float) -> float:
        return (u / boundary) ** successes * ((1 - u) / (1 - boundary)) ** failures

    total = integrate.quad(bet, boundary, 1)[0] / (1 - boundary)
    assert log_e_above(successes, failures, boundary) == pytest.approx(math.log(total), abs=1e-7)


@given(COUNT, COUNT, BOUNDARY, st.floats(0, 1))
def test_evidence_is_a_supermartingale(
    successes: int, failures: int, boundary: float, part: float
) -> None:
    now = log_e_above(successes, failures, boundary)
    up = math.exp(log_e_above(successes + 1, failures, boundary) - now)
    down = math.exp(log_e_above(successes, failures + 1, boundary) - now)
    # At the boundary the bet is fair; below it the expected fortune shrinks.
    assert boundary * up + (1 - boundary) * down == pytest.approx(1, rel=1e-9)
    below = boundary * part
    assert below * up + (1 - below) * down <= 1 + 1e-9


@given(COUNT, COUNT, BOUNDARY)
def test_evidence_rises_with_successes_and_falls_with_failures(
    successes: int, failures: int, boundary: float
) -> None:
    now = log_e_above(successes, failures, boundary)
    assert log_e_above(successes + 1, failures, boundary) > now
    assert log_e_above(successes, failures + 1, boundary) < now


@given(COUNT, COUNT, BOUNDARY)
def test_evidence_below_is_the_mirror_image(successes: int, failures: int, boundary: float) -> None:
    mirrored = log_e_above(failures, successes, 1 - boundary)
    assert log_e_below(successes, failures, boundary) == mirrored


@pytest.mark.parametrize("probability", [0.5, 0.45, 0.2])
@pytest.mark.parametrize("alpha", [0.05, 0.025, 0.25])
def test_looking_after_every_pair_costs_no_error(probability: float, alpha: float) -> None:
    crossed = chance_to_reach(
        lambda k, n: log_e_above(k, n - k) >= -math.log(alpha), probability, horizon=150
    )
    assert crossed <= alpha


def test_a_million_pairs_neither_overflow_nor_underflow() -> None:
    million = 10**6
    all_won = (million + 1) * math.log(2) - math.log(million + 1)
    assert log_e_above(million, 0) == pytest.approx(all_won, rel=1e-12)
    assert log_e_above(0, million) == pytest.approx(-math.log(million + 1), rel=1e-12)
    assert math.isfinite(log_e_above(million // 2, million // 2))


def test_eight_straight_wins_earn_the_first_round_and_seven_do_not() -> None:
    threshold = -math.log(spend_alpha(0.05, 1))
    assert log_e_above(8, 0) >= threshold > log_e_above(7, 0)


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.5, 0.98])
def test_confidence_sequence_holds_at_all_times_at_once(probability: float) -> None:
    def is_missed(successes: int, trials: int) -> bool:
        low, high = confidence_sequence(successes, trials)
        return not low <= probability <= high

    assert chance_to_reach(is_missed, probability, horizon=120) <= 0.05


def test_a_fixed_sample_interval_does_not_survive_repeated_looks() -> None:
    def is_missed(successes: int, trials: int) -> bool:
        low, high = clopper_pearson(successes, trials)
        return not low <= 0.5 <= high

    assert chance_to_reach(is_missed, 0.5, horizon=50) > 0.10


@given(COUNT, COUNT, st.sampled_from([0.8, 0.95, 0.99]))
def test_confidence_sequence_ends_where_the_evidence_reaches_its_bar(
    successes: int, failures: int, confidence: float
) -> None:
    trials = successes + failures
    low, high = confidence_sequence(successes, trials, confidence)
    assert 0 <= low <= successes / max(trials, 1) <= high <= 1
    # Mirroring the data mirrors the interval.
    mirrored = confidence_sequence(failures, trials, confidence)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-12)
    for end in (low, high):
        if 0 < end < 1:
            log_likelihood = successes * math.log(end) + failures * math.log1p(-end)
            bar = math.lgamma(successes + 1) + math.lgamma(failures + 1) - math.lgamma(trials + 2)
            assert log_likelihood == pytest.approx(bar + math.log1p(-confidence), abs=1e-6)


def test_alpha_is_spent_but_never_overspent() -> None:
    shares = [Fraction(spend_alpha(0.05, r)).limit_denominator(10**9) for r in range(1, 101)]
    assert shares[:3] == [Fraction(1, 40), Fraction(1, 120), Fraction(1, 240)]
    assert sum(shares) == pytest.approx(0.05 * (1 - 1 / 101))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_rounds_with_worthless_challengers_never_share_budget(is_worthless: list[bool]) -> None:
    """The step of the proof: with every real gain promoted, null rounds spend alpha at most."""
    spent, in_a_row = 0.0, 0
    for round_index, worthless in enumerate(is_worthless, start=1):
        budget = spend_alpha(0.05, round_index, in_a_row)
        if worthless:
            spent += budget
        in_a_row = 0 if worthless else in_a_row + 1
    assert spent <= 0.05 * (1 + 1e-12)


def test_promotions_in_a_row_hand_their_budget_on() -> None:
    slices = [spend_alpha(0.05, r) for r in range(1, 11)]
    for promotions in range(10):
        inherited = spend_alpha(0.05, 10, promotions)
        assert inherited == pytest.approx(sum(slices[9 - promotions :]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: log_e_above(-1, 2),
        lambda: log_e_above(1, 2, 0.0),
        lambda: log_e_above(1, 2, 1.0),
        lambda: confidence_sequence(3, 2),
        lambda: confidence_sequence(1, 2, 0.0),
        lambda: spend_alpha(0.05, 0),
        lambda: spend_alpha(1.0, 1),
        lambda: spend_alpha(0.05, 3, 3),
        lambda: spend_alpha(0.05, 3, -1),
    ],
)
def test_impossible_input_is_refused(call) -> None:
    with pytest.raises(InvalidConfig):
        call()
