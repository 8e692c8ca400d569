"""Tasks as data: starts follow from seeds and lie in the domain; the verifier reads distances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.control import attempt_header
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import SPLIT_SIZE, seeds_in
from loopwright.scenarios.metaworld.catalogue import TASKS
from loopwright.scenarios.metaworld.scenario import MetaWorldScenario
from loopwright.scenarios.metaworld.verifier import EVIDENCE

BUTTON = MetaWorldScenario(task=TASKS[0])
WITHIN_M = BUTTON.task.success_within_m
seeds = st.integers(0, 3 * SPLIT_SIZE - 1)
distances = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(seed=seeds, task=st.sampled_from(TASKS))
def test_a_start_follows_from_its_seed_and_lies_in_the_domain(seed, task):
    assert task.domain.contains(task.start(seed))
    assert task.start(seed) == task.start(seed)
    vector = task.start_vector(seed)
    if task.apart_m:
        assert np.linalg.norm(vector[:2] - vector[3:5]) >= task.apart_m


def test_object_and_goal_can_be_kept_apart_only_where_both_are_placed():
    with pytest.raises(InvalidConfig, match="apart_m"):
        replace(TASKS[0], apart_m=0.1)


def test_seeds_in_a_box_start_in_the_box():
    box = BUTTON.domain.portion("object_x_m", 0.4, 1.0)
    chosen = seeds_in(BUTTON, "gate", box)
    assert all(box.contains(BUTTON.start(next(chosen))) for _ in range(50))


def evidence_of(distance_m: list[float]) -> np.ndarray:
    distance = np.array(distance_m)
    return np.stack([distance, distance, (distance <= WITHIN_M).astype(float)], axis=1)


def verdict_on(evidence: np.ndarray, columns: tuple[str, ...] = EVIDENCE):
    header = replace(attempt_header(BUTTON, 1, candidate=None), evidence=columns)
    return BUTTON.verifier(header, evidence)


@given(distances)
def test_success_is_the_published_criterion(distance_m):
    evidence = evidence_of(distance_m)
    untouched = evidence.copy()
    verdict = verdict_on(evidence)
    assert verdict.outcome == ("success" if min(distance_m) <= WITHIN_M else "failure")
    assert 0.0 <= verdict.score <= 1.0
    assert (verdict.score == 1.0) == (verdict.outcome == "success")
    assert verdict == verdict_on(evidence)
    assert np.array_equal(evidence, untouched)


def test_progress_is_the_share_of_the_way():
    assert verdict_on(evidence_of([0.12, 0.07, 0.09])).score == pytest.approx(0.5)
    assert verdict_on(evidence_of([0.12, 0.2])).score == 0.0


@given(distances, st.data())
def test_a_simulator_that_disagrees_makes_the_outcome_unknown(distance_m, data):
    evidence = evidence_of(distance_m)
    step = data.draw(st.integers(0, len(evidence) - 1))
    evidence[step, 2] = 1.0 - evidence[step, 2]
    verdict = verdict_on(evidence)
    assert verdict.outcome == "unknown"
    assert f"step {step}" in verdict.reason


@given(distances, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_number_that_is_none_makes_the_outcome_unknown(distance_m, broken, data):
    evidence = evidence_of(distance_m)
    step = data.draw(st.integers(0, len(evidence) - 1))
    evidence[step, data.draw(st.integers(0, 2))] = broken
    verdict = verdict_on(evidence)
    assert verdict.outcome == "unknown"
    assert f"not finite at step {step}" in verdict.reason


def test_missing_evidence_makes_the_outcome_unknown():
    assert verdict_on(np.empty((0, 3))).outcome == "unknown"
    assert verdict_on(np.zeros((4, 2))).outcome == "unknown"
    assert verdict_on(np.zeros((4, 2)), EVIDENCE[:2]).outcome == "unknown"


def test_the_digest_tells_other_evidence_apart():
    one, two = evidence_of([0.3, 0.2]), evidence_of([0.3, 0.20001])
    assert verdict_on(one).evidence_digest != verdict_on(two).evidence_digest
