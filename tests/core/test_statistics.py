"""Exact statistics against scipy, rational arithmetic and plain enumeration."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from loopwright.core.errors import InvalidConfig
from loopwright.core.statistics import (
    binomial_lower_tail,
    binomial_upper_tail,
    clopper_pearson,
    log_beta,
    log_binomial_upper_tail,
    log_complement,
    log_incomplete_beta,
    lower_bound,
    mcnemar_test,
    sign_test,
    upper_bound,
)

SHAPES = st.floats(0.05, 5000)


@st.composite
def counts(draw: st.DrawFn, most: int = 400) -> tuple[int, int]:
    trials = draw(st.integers(0, most))
    return draw(st.integers(0, trials)), trials


def exact_upper_tail(successes: int, trials: int, probability: Fraction) -> Fraction:
    return sum(
        (
            math.comb(trials, k) * probability**k * (1 - probability) ** (trials - k)
            for k in range(successes, trials + 1)
        ),
        Fraction(0),
    )


@given(SHAPES, SHAPES)
def test_log_beta_agrees_with_scipy(a: float, b: float) -> None:
    assert log_beta(a, b) == pytest.approx(special.betaln(a, b), rel=1e-12, abs=1e-10)


@pytest.mark.parametrize("b", [10, 15, 16, 17, 1000, 10**6, 10**9])
def test_log_beta_keeps_its_digits_next_to_a_large_shape(b: int) -> None:
    # B(2, b) = 1 / (b (b + 1)) exactly; three lgammas lose nine digits of it at 1e9.
    assert log_beta(2, b) == pytest.approx(-math.log(b * (b + 1)), rel=1e-14)


@given(SHAPES, SHAPES, st.floats(0.001, 0.999))
def test_log_incomplete_beta_agrees_with_scipy(a: float, b: float, x: float) -> None:
    expected = special.betainc(a, b, x)
    if expected > 1e-290:
        assert log_incomplete_beta(a, b, x) == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


@given(SHAPES, SHAPES, st.floats(0.001, 0.999))
def test_both_sides_of_the_incomplete_beta_add_to_one(a: float, b: float, x: float) -> None:
    both = math.exp(log_incomplete_beta(a, b, x)) + math.exp(log_incomplete_beta(b, a, 1 - x))
    assert both == pytest.approx(1, abs=1e-9)


@given(counts(most=60), st.integers(0, 16))
def test_tails_are_exact(count: tuple[int, int], sixteenths: int) -> None:
    successes, trials = count
    probability = Fraction(sixteenths, 16)
    upper = float(exact_upper_tail(successes, trials, probability))
    lower = float(1 - exact_upper_tail(successes + 1, trials, probability))
    assert binomial_upper_tail(*count, float(probability)) == pytest.approx(upper, rel=1e-11)
    assert binomial_lower_tail(*count, float(probability)) == pytest.approx(lower, rel=1e-11)


def test_tails_far_beyond_the_range_of_floats_survive_in_logs() -> None:
    assert log_binomial_upper_tail(10**6, 10**6, 0.5) == pytest.approx(-(10**6) * math.log(2))
    tail = log_binomial_upper_tail(600, 1000, 0.5)
    exact = exact_upper_tail(600, 1000, Fraction(1, 2))
    assert tail == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator), rel=1e-12)


@given(st.floats(-800, -1e-12))
def test_log_complement_undoes_itself(log_probability: float) -> None:
    complement = log_complement(log_probability)
    assert math.exp(complement) + math.exp(log_probability) == pytest.approx(1, abs=1e-15)


@given(counts(), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_clopper_pearson_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    successes, trials = count
    if trials == 0:
        assert clopper_pearson(0, 0, confidence) == (0, 1)
        return
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    interval = clopper_pearson(successes, trials, confidence)
    assert interval == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert interval.low <= successes / trials <= interval.high


def test_clopper_pearson_is_right_where_scipy_loses_digits() -> None:
    # One success in a million: the lower end solves 1 - (1 - p)^n = 0.025.
    exact = -math.expm1(math.log1p(-0.025) / 10**6)
    assert clopper_pearson(1, 10**6).low == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("trials", [1, 7, 30])
def test_clopper_pearson_covers_every_probability(trials: int) -> None:
    intervals = [clopper_pearson(k, trials) for k in range(trials + 1)]
    for thousandth in range(0, 1001, 7):
        p = thousandth / 1000
        covered = sum(
            math.comb(trials, k) * p**k * (1 - p) ** (trials - k)
            for k, interval in enumerate(intervals)
            if interval.low <= p <= interval.high
        )
        assert covered >= 0.95 - 1e-12, p


def test_the_figures_of_a_release_gate() -> None:
    # 96 of 100 is the fewest that proves a success rate of 0.90 at 95 % from both sides.
    assert clopper_pearson(96, 100).low >= 0.90 > clopper_pearson(95, 100).low
    # 59 trials without a failure bound the failure rate by 5 %; 58 do not.
    assert upper_bound(0, 59) <= 0.05 < upper_bound(0, 58)
    assert lower_bound(0, 20) == 0
    assert upper_bound(20, 20) == 1


@pytest.mark.parametrize("pairs", range(1, 11))
def test_sign_test_counts_sequences(pairs: int) -> None:
    totals = [sum(sequence) for sequence in product((0, 1), repeat=pairs)]
    for wins in range(pairs + 1):
        share = sum(total >= wins for total in totals) / len(totals)
        assert sign_test(wins, pairs - wins) == pytest.approx(share, rel=1e-12)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipy(wins: int, losses: int) -> None:
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar_test(wins, losses) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(5, 4),
        lambda: clopper_pearson(-1, 4),
        lambda: clopper_pearson(1, 4, 1.0),
        lambda: clopper_pearson(1, 4, 95),
        lambda: binomial_upper_tail(1, 4, math.nan),
        lambda: sign_test(-1, 4),
        lambda: log_incomplete_beta(0, 1, 0.5),
    ],
)
def test_impossible_input_is_refused(call) -> None:
    with pytest.raises(InvalidConfig, match="expected"):
        call()
