"""A plan is the lowest point of its iso-FLOP line, whatever a token costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_laws import CHINCHILLA, SMALL, runs_of

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.train.scaling.fit import Fit, fit
from loopwright.train.scaling.law import Law
from loopwright.train.scaling.plan import FlopsPerToken, flops_per_token_of, plan
from loopwright.train.scaling.regression import FitConfig


@pytest.fixture(scope="module")
def found() -> Fit:
    return fit(runs_of(SMALL, noise=0.005), FitConfig(replicates=200))


def optimum(law: Law, budget_flops: float) -> tuple[float, float]:
    """Return size and data by the closed form for 6 N FLOPs a token (Hoffmann et al., eq. 4)."""
    total = law.alpha + law.beta
    scale = (law.alpha * law.A / (law.beta * law.B)) ** (1 / total)
    params = scale * (budget_flops / 6) ** (law.beta / total)
    return params, budget_flops / 6 / params


class TestOptimum:
    @settings(max_examples=30)
    @given(budget_flops=st.floats(1e12, 1e27))
    def test_it_agrees_with_the_closed_form(self, found: Fit, budget_flops: float) -> None:
        planned = plan(found, budget_flops, iso_points=3)
        params, tokens = optimum(found.law, budget_flops)
        assert planned.params.value == pytest.approx(params, rel=1e-5)
        assert planned.tokens.value == pytest.approx(tokens, rel=1e-5)

    @settings(max_examples=30)
    @given(
        budget_flops=st.floats(1e15, 1e24),
        step=st.floats(-5, 5),
        attention=st.floats(0, 1e9),
        power=st.floats(0.8, 1.3),
    )
    def test_no_other_point_of_the_iso_flop_line_is_lower(
        self, found: Fit, budget_flops: float, step: float, attention: float, power: float
    ) -> None:
        def cost(params: float) -> float:
            return 6 * params**power + attention

        planned = plan(found, budget_flops, cost, iso_points=3)
        assert planned.tokens.value * cost(planned.params.value) == pytest.approx(budget_flops)
        elsewhere = planned.params.value * np.exp(step)
        loss = found.law.loss(elsewhere, budget_flops / cost(elsewhere))
        assert planned.loss.value <= loss * (1 + 1e-12)

    def test_the_iso_flop_curve_is_lowest_at_the_plan(self, found: Fit) -> None:
        iso = plan(found, 1e18).iso_flop
        lowest = int(np.argmin(iso.loss))
        assert iso.params[lowest] == pytest.approx(plan(found, 1e18).params.value)
        assert 0 < lowest < len(iso.loss) - 1
        bands = zip(iso.low, iso.loss, iso.high, strict=True)
        assert all(low <= loss <= high for low, loss, high in bands)

    def test_chinchilla_is_planned_near_twenty_tokens_a_parameter(self) -> None:
        """Besiroglu et al. find about 20 at Chinchilla's own budget."""
        study = fit(runs_of(CHINCHILLA, noise=0.002), FitConfig(replicates=200))
        planned = plan(study, 5.76e23)
        assert planned.tokens_per_param.low < 20 < planned.tokens_per_param.high

    def test_more_budget_is_never_worse_and_further_out(self, found: Fit) -> None:
        plans = [plan(found, budget, iso_points=3) for budget in (1e15, 1e17, 1e19, 1e21)]
        assert (np.diff([p.loss.value for p in plans]) < 0).all()
        widths = [p.loss.high / p.loss.low for p in plans]
        assert widths[-1] > widths[1]
        assert plans[0].compute_extrapolation == 1.0
        assert plans[2].compute_extrapolation == pytest.approx(1e19 / (6 * 3e7 * 1e9))


class TestCost:
    def test_measured_flops_give_the_cost_of_a_token(self, found: Fit) -> None:
        runs = [replace(r, flops=7.5 * r.params**1.05 * r.tokens) for r in found.runs]
        cost: FlopsPerToken = flops_per_token_of(runs)
        assert cost(2e8) == pytest.approx(7.5 * 2e8**1.05)

    def test_without_measurements_it_says_what_to_give(self, found: Fit) -> None:
        with pytest.raises(Unidentified, match="flops_per_token"):
            flops_per_token_of(found.runs)

    def test_a_budget_for_nothing(self, found: Fit) -> None:
        with pytest.raises(InvalidConfig, match="does not train one parameter"):
            plan(found, 3.0)
