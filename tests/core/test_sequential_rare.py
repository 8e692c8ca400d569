from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig
from loopwright.core.sequential import log_e_below, log_e_rare

BOUNDS = st.sampled_from([0.001, 0.01, 0.05, 0.3, 0.9])


@given(st.integers(0, 50), st.integers(0, 3000), BOUNDS)
def test_with_shape_one_it_is_the_uniform_mixture(events: int, others: int, bound: float) -> None:
    assert log_e_rare(events, others, bound, shape=1.0) == pytest.approx(
        log_e_below(events, others, bound), abs=1e-7
    )


@pytest.mark.parametrize("shape", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(("events", "others"), [(0, 0), (0, 80), (3, 200), (9, 40)])
def test_it_is_the_mixture_of_likelihood_ratios(events: int, others: int, shape: float) -> None:
    bound = 0.05
    u = bound * ((np.arange(200_000) + 0.5) / 200_000) ** (1 / shape)
    ratio = np.exp(events * np.log(u / bound) + others * (np.log1p(-u) - math.log1p(-bound))).mean()
    assert math.exp(log_e_rare(events, others, bound, shape)) == pytest.approx(ratio, rel=1e-6)


@given(st.integers(0, 60), st.integers(0, 5000), BOUNDS)
def test_under_the_null_it_is_not_expected_to_grow(events: int, others: int, bound: float) -> None:
    """At the bound itself it is a martingale: the next value is expected to be this one."""
    now = log_e_rare(events, others, bound)
    after_event = math.exp(log_e_rare(events + 1, others, bound) - now)
    after_other = math.exp(log_e_rare(events, others + 1, bound) - now)
    assert bound * after_event + (1 - bound) * after_other == pytest.approx(1.0, abs=1e-7)
    assert after_event < 1 < after_other  # so a null above the bound makes it shrink


def test_it_begins_with_nothing() -> None:
    assert log_e_rare(0, 0, 0.05) == pytest.approx(0.0, abs=1e-12)


def test_it_asks_for_fewer_trials_where_nothing_happens() -> None:
    def first(evidence: object) -> int:
        return next(n for n in range(9999) if evidence(0, n, 0.01) >= math.log(20))  # type: ignore[operator]

    assert (first(log_e_below), first(log_e_rare)) == (449, 377)


@pytest.mark.parametrize(
    ("events", "others", "bound", "shape"),
    [(-1, 5, 0.1, 0.5), (1, -1, 0.1, 0.5), (0, 1, 0.0, 0.5), (0, 1, 1.0, 0.5), (0, 1, 0.1, 0.0)],
)
def test_impossible_questions_are_refused(
    events: int, others: int, bound: float, shape: float
) -> None:
    with pytest.raises(InvalidConfig):
        log_e_rare(events, others, bound, shape)
