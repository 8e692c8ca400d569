from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.statistics import clopper_pearson
from loopwright.core.words import word_f1
from loopwright.train.evaluate.bootstrap import score
from loopwright.train.evaluate.task import Metric

SHARE = Metric(name="right", unit="share")


def test_copies_of_an_item_in_its_group_add_no_certainty():
    random = np.random.default_rng(0)
    values = random.integers(0, 2, 40).astype(float)
    once = score(SHARE, values, np.arange(40))
    ten_times = score(SHARE, np.repeat(values, 10), np.repeat(np.arange(40), 10))
    assert ten_times.items == 400
    assert (ten_times.low, ten_times.high) == pytest.approx((once.low, once.high))
    as_if_alone = score(SHARE, np.repeat(values, 10), np.arange(400))
    assert as_if_alone.high - as_if_alone.low < 0.5 * (once.high - once.low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(1)
    held = 0
    for trial in range(200):
        rates = random.beta(2, 2, 60)  # groups differ; the truth is 1/2
        values = (random.random((60, 4)) < rates[:, None]).astype(float).ravel()
        found = score(SHARE, values, np.repeat(np.arange(60), 4), seed=trial)
        held += found.low <= 0.5 <= found.high
    assert 180 <= held <= 198


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_exception_among_sixty_is_no_certainty(value: float):
    found = score(SHARE, np.full(120, value), np.repeat(np.arange(60), 2))
    assert (found.low, found.high) == clopper_pearson(round(60 * value), 60)


def test_a_falling_reading_turns_the_interval_round():
    metric = Metric(name="worse is less", unit="dB", of_mean=lambda mean: -mean)
    found = score(metric, np.arange(20.0), np.arange(20))
    assert found.low < found.value < found.high < 0


def test_items_count_by_their_weight():
    found = score(SHARE, np.array([0.0, 1.0]), np.arange(2), np.array([3.0, 1.0]))
    assert found.value == 0.25


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["red", "blue", "bus", "猫"]), max_size=6).map(" ".join))
def test_words_match_themselves_in_any_order(text: str):
    assert word_f1(text, text) == 1
    assert word_f1(" ".join(reversed(text.split())), text) == 1
    assert word_f1("nothing", text) == 0


def test_scripts_without_spaces_are_compared_by_character():
    assert word_f1("红心", "红色的心") == pytest.approx(2 * 2 / 6)
