"""Density: a reference model is worth itself, and what cannot be said is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_laws import SMALL, runs_of

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.train.scaling.density import Density, density_at_loss, density_at_score
from loopwright.train.scaling.fit import Fit, fit
from loopwright.train.scaling.performance import Graded, PerformanceLaw, fit_performance
from loopwright.train.scaling.regression import FitConfig

QUICK = FitConfig(replicates=300)
TOKENS = 5e8


@pytest.fixture(scope="module")
def reference() -> Fit:
    return fit(runs_of(SMALL, noise=0.003), QUICK)


def score_of(loss: float) -> float:
    """Return the true score at a loss: chance 0.25, ceiling 0.85."""
    return 0.25 + 0.6 / (1 + float(np.exp(4 * (loss - 1.9))))


@pytest.fixture(scope="module")
def performance() -> PerformanceLaw:
    luck = np.random.default_rng(5)
    losses = np.linspace(1.3, 2.6, 9).tolist()
    graded = [Graded(loss=x, score=score_of(x) + 0.005 * luck.standard_normal()) for x in losses]
    return fit_performance(graded, floor=0.25, config=QUICK)


def at_loss(reference: Fit, *, params: float, loss: float) -> Density:
    return density_at_loss(reference, params=params, loss=loss, reference_tokens=TOKENS)


class TestByLoss:
    @settings(max_examples=25)
    @given(params=st.floats(1e6, 3e7))
    def test_a_model_of_the_family_has_density_one(self, reference: Fit, params: float) -> None:
        loss = reference.law.loss(params, TOKENS)
        found = at_loss(reference, params=params, loss=loss)
        assert found.density.value == pytest.approx(1, rel=1e-9)
        assert found.effective_params.value == pytest.approx(params, rel=1e-9)

    @settings(max_examples=25)
    @given(params=st.floats(2e6, 1e7), worth=st.floats(0.5, 2.5))
    def test_it_is_effective_over_actual_size(
        self, reference: Fit, params: float, worth: float
    ) -> None:
        loss = reference.law.loss(params * worth, TOKENS)
        assert at_loss(reference, params=params, loss=loss).density.value == pytest.approx(worth)

    @pytest.mark.slow
    def test_its_interval_holds_the_truth_as_often_as_it_says(self) -> None:
        held = []
        for seed in range(200):
            luck = float(np.exp(0.005 * np.random.default_rng(900 + seed).standard_normal()))
            family = fit(runs_of(SMALL, noise=0.005, seed=seed), QUICK)
            found = at_loss(family, params=1e7, loss=SMALL.loss(1.5e7, TOKENS) * luck)
            held.append(found.density.low <= 1.5 <= found.density.high)
        assert 0.90 <= np.mean(held) <= 0.99

    def test_a_loss_below_the_family_s_limit_is_refused(self, reference: Fit) -> None:
        with pytest.raises(Unidentified, match=r"no reference model of any size .* limit there is"):
            at_loss(reference, params=1e7, loss=0.5)

    def test_a_size_far_outside_the_family_is_refused_with_its_factor(self, reference: Fit) -> None:
        loss = reference.law.loss(3e8, TOKENS)
        with pytest.raises(Unidentified, match="factor of 10 outside"):
            at_loss(reference, params=1e7, loss=loss)
        allowed = density_at_loss(
            reference, params=1e7, loss=loss, reference_tokens=TOKENS, max_extrapolation=20
        )
        assert allowed.extrapolation == pytest.approx(10)

    def test_reference_tokens_far_outside_the_family_are_refused(self, reference: Fit) -> None:
        with pytest.raises(Unidentified, match="reference tokens lies a factor of 1e\\+03"):
            density_at_loss(reference, params=1e7, loss=1.5, reference_tokens=1e12)

    def test_near_the_limit_the_interval_is_open(self) -> None:
        """Where one law says a size and another says never, the interval says so."""
        loud = fit(runs_of(SMALL, noise=0.03, seed=4), QUICK)
        found = density_at_loss(
            loud,
            params=1e7,
            loss=loud.law.loss(1e8, TOKENS),
            reference_tokens=TOKENS,
        )
        assert found.density.high == np.inf

    @pytest.mark.parametrize("name", ["params", "loss", "reference_tokens"])
    def test_impossible_numbers(self, reference: Fit, name: str) -> None:
        numbers = {"params": 1e7, "loss": 1.5, "reference_tokens": TOKENS, name: 0.0}
        with pytest.raises(InvalidConfig, match="above 0"):
            density_at_loss(reference, **numbers)


class TestByScore:
    def test_the_sigmoid_is_found(self, performance: PerformanceLaw) -> None:
        for loss in (1.4, 1.9, 2.4):
            assert performance.score(loss) == pytest.approx(score_of(loss), abs=0.01)

    @settings(max_examples=25)
    @given(loss=st.floats(1.35, 2.4))
    def test_score_and_loss_invert_each_other(
        self, performance: PerformanceLaw, loss: float
    ) -> None:
        value, draws = performance.losses_at(performance.score(loss))
        assert value == pytest.approx(loss, rel=1e-9)
        assert np.quantile(draws, 0.01) < loss < np.quantile(draws, 0.99)

    def test_both_steps_give_the_density_of_one(
        self, reference: Fit, performance: PerformanceLaw
    ) -> None:
        loss = SMALL.loss(1.5e7, TOKENS)
        by_score = density_at_score(
            reference, performance, params=1e7, score=score_of(loss), reference_tokens=TOKENS
        )
        assert by_score.density.low < 1.5 < by_score.density.high
        assert by_score.density.value == pytest.approx(1.5, rel=0.1)

    @pytest.mark.parametrize("score", [0.0, 0.2, 0.95])
    def test_a_score_outside_the_family_is_refused(
        self, performance: PerformanceLaw, score: float
    ) -> None:
        with pytest.raises(Unidentified, match="add reference models"):
            performance.losses_at(score)

    def test_laws_of_different_draws_are_refused(
        self, reference: Fit, performance: PerformanceLaw
    ) -> None:
        fewer = replace(performance, draws=performance.draws[:100])
        with pytest.raises(InvalidConfig, match="same number of replicates"):
            density_at_score(reference, fewer, params=1e7, score=0.6, reference_tokens=TOKENS)

    @pytest.mark.parametrize(
        ("losses", "scores", "advice"),
        [
            ([1, 2, 3], [0.8, 0.5, 0.3], "add at least 2 more"),
            ([2, 2, 2, 2, 2], [0.8, 0.5, 0.3, 0.2, 0.1], "add other sizes"),
            ([1, 2, 3, 4, 5], [0.3, 0.4, 0.5, 0.6, 0.7], "does not rise as the loss falls"),
        ],
    )
    def test_results_that_tell_no_sigmoid(
        self, losses: list[float], scores: list[float], advice: str
    ) -> None:
        graded = [Graded(loss=x, score=s) for x, s in zip(losses, scores, strict=True)]
        with pytest.raises(Unidentified, match=advice):
            fit_performance(graded, config=QUICK)
