"""The fit finds laws that are known, says how sure it is, and refuses what tells no law."""

from __future__ import annotations

import json
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_laws import CHINCHILLA, SIZES, SMALL, TOKENS, runs_of

from loopwright.core.errors import InvalidConfig, Unidentified
from loopwright.train.scaling.fit import Fit, LogLossCurve, fit
from loopwright.train.scaling.law import Law, ScalingRun
from loopwright.train.scaling.plan import plan
from loopwright.train.scaling.predict import compare, hold_back_largest, predict
from loopwright.train.scaling.regression import FitConfig

QUICK = FitConfig(replicates=200)
BUDGET = 6 * 1.2e8 * 4e9

laws = st.builds(
    lambda rest, small, little, alpha, beta: Law(
        # Shares of the loss at the middle of the grid: every term is there to be seen.
        E=3 * rest,
        A=3 * small * 5.5e6**alpha,
        B=3 * little * 1.4e8**beta,
        alpha=alpha,
        beta=beta,
    ),
    rest=st.floats(0.2, 0.8),
    small=st.floats(0.1, 0.6),
    little=st.floats(0.1, 0.6),
    alpha=st.floats(0.2, 0.8),
    beta=st.floats(0.2, 0.8),
)


class TestRecovery:
    @settings(max_examples=10)
    @given(law=laws)
    def test_a_law_without_noise_is_found_exactly(self, law: Law) -> None:
        found = fit(runs_of(law), FitConfig(replicates=100)).law
        assert astuple(found) == pytest.approx(astuple(law), rel=1e-3)

    def test_no_known_solver_finds_a_lower_minimum(self) -> None:
        """SciPy from the truth itself, with tight tolerances, is the judge."""
        from scipy.optimize import minimize

        runs = runs_of(SMALL, noise=0.01, seed=3)
        found = fit(runs, FitConfig(replicates=100, huber_delta=1e-3))
        size, data, loss = np.log([[r.params, r.tokens, r.loss] for r in runs]).T
        curve = LogLossCurve(size=size, data=data)

        def objective(unknowns: np.ndarray) -> float:
            missed = np.abs(loss - curve.values(unknowns[None])[0])
            return float(np.where(missed < 1e-3, missed**2 / 2, 1e-3 * (missed - 5e-4)).sum())

        def unknowns(law: Law) -> np.ndarray:
            return np.array([np.log(law.E), np.log(law.A), np.log(law.B), law.alpha, law.beta])

        options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 20_000, "maxfev": 20_000}
        judge = minimize(objective, unknowns(SMALL), method="Nelder-Mead", options=options)
        assert objective(unknowns(found.law)) <= judge.fun * (1 + 1e-6)

    def test_one_run_gone_wrong_moves_the_law_little(self) -> None:
        runs = runs_of(SMALL, noise=0.003)
        spoilt = [replace(runs[0], loss=runs[0].loss * 1.3), *runs[1:]]
        ours, plain = (
            fit(spoilt, replace(QUICK, huber_delta=delta)).law.loss(1.2e8, 4e9)
            for delta in (None, 1e3)
        )
        truth = SMALL.loss(1.2e8, 4e9)
        assert abs(ours / truth - 1) < 0.03
        assert abs(ours / truth - 1) < abs(plain / truth - 1) / 3

    def test_the_same_runs_and_seed_give_the_same_fit(self) -> None:
        first, second = (fit(runs_of(SMALL, noise=0.01), QUICK) for _ in range(2))
        assert np.array_equal(first.draws, second.draws)

    @settings(max_examples=4)
    @given(params=st.sampled_from([1e-3, 50.0]), tokens=st.sampled_from([1e-2, 8.0]))
    def test_units_do_not_matter(self, params: float, tokens: float) -> None:
        """Counting in millions changes A and B as it must, and nothing else."""
        runs = runs_of(SMALL, noise=0.01)
        scaled = [replace(r, params=r.params * params, tokens=r.tokens * tokens) for r in runs]
        one, other = fit(runs, QUICK), fit(scaled, QUICK)
        for name in ("E", "alpha", "beta", "size_exponent"):
            assert other.estimates()[name] == pytest.approx(one.estimates()[name], rel=1e-4)
        size_factor = other.law.A
        assert size_factor == pytest.approx(one.law.A * params**one.law.alpha, rel=1e-3)
        assert other.law.loss(2e8 * params, 3e9 * tokens) == pytest.approx(
            one.law.loss(2e8, 3e9), rel=1e-5
        )

    @settings(max_examples=10)
    @given(law=laws, seed=st.integers(0, 99))
    def test_more_size_and_more_data_never_hurt(self, law: Law, seed: int) -> None:
        found = fit(runs_of(law, noise=0.005, seed=seed), FitConfig(replicates=100))
        along = np.geomspace(1e5, 1e10, 40)
        for losses in (found.law.loss(along, 1e8), found.law.loss(1e7, along)):
            assert (np.diff(losses) <= 0).all()
        assert (np.diff(found.drawn_losses(along, 1e8), axis=1) <= 0).all()


def truths(law: Law) -> dict[str, float]:
    """Return what a fit estimates, for a law that is known."""
    a = law.beta / (law.alpha + law.beta)
    scale = (law.alpha * law.A / (law.beta * law.B)) ** (1 / (law.alpha + law.beta))
    params = scale * (BUDGET / 6) ** a
    tokens = BUDGET / 6 / params
    return {
        "E": law.E,
        "A": law.A,
        "B": law.B,
        "alpha": law.alpha,
        "beta": law.beta,
        "size_exponent": a,
        "plan params": params,
        "plan tokens": tokens,
        "plan loss": law.loss(params, tokens),
        "predicted loss": law.loss(1.2e8, 4e9),
    }


def coverage(law: Law, *, noise: float, simulations: int, **grid: tuple[float, ...]) -> dict:
    """Return the share of simulated studies whose intervals hold the truth."""
    held: dict[str, list[bool]] = {}
    for seed in range(simulations):
        found = fit(
            runs_of(law, noise=noise, seed=seed, **grid), FitConfig(replicates=300, seed=seed)
        )
        planned = plan(found, BUDGET, iso_points=3)
        predicted = predict(found, params=1.2e8, tokens=4e9)
        intervals = {
            **found.estimates(),
            "plan params": planned.params,
            "plan tokens": planned.tokens,
            "plan loss": planned.loss,
            "predicted loss": predicted.loss,
        }
        for name, truth in truths(law).items():
            held.setdefault(name, []).append(intervals[name].low <= truth <= intervals[name].high)
        luck = float(np.exp(noise * np.random.default_rng(10**6 + seed).standard_normal()))
        held.setdefault("one more run", []).append(
            predicted.one_run.low <= law.loss(1.2e8, 4e9) * luck <= predicted.one_run.high
        )
    return {name: float(np.mean(hits)) for name, hits in held.items()}


class TestIntervals:
    def test_they_hold_the_truth_as_often_as_they_say(self) -> None:
        """20 studies: below 75 % has a chance of one in 3000 where 95 % is true."""
        shares = coverage(SMALL, noise=0.005, simulations=20)
        assert min(shares.values()) >= 0.75, shares

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("law", "noise", "sizes", "tokens"),
        [
            (SMALL, 0.005, tuple(np.geomspace(1e6, 3e7, 3)), TOKENS),
            (CHINCHILLA, 0.01, tuple(np.geomspace(1e6, 3e7, 5)), tuple(np.geomspace(2e7, 1e9, 5))),
        ],
        ids=["nine runs", "25 runs, loud"],  # each is some minutes; docs/concepts has more
    )
    def test_coverage_over_200_studies(
        self, law: Law, noise: float, sizes: tuple[float, ...], tokens: tuple[float, ...]
    ) -> None:
        shares = coverage(law, noise=noise, simulations=200, sizes=sizes, tokens=tokens)
        assert all(0.90 <= share <= 0.99 for share in shares.values()), shares

    def test_less_noise_gives_narrower_intervals(self) -> None:
        loud, quiet = (
            predict(fit(runs_of(SMALL, noise=s), QUICK), params=1.2e8, tokens=4e9).loss
            for s in (0.01, 0.001)
        )
        assert quiet.high - quiet.low < (loud.high - loud.low) / 3

    def test_an_irreducible_loss_that_cannot_be_told_is_called_so(self) -> None:
        hidden = Law(E=0.05, A=12.0, B=20.0, alpha=0.12, beta=0.12)
        assert not fit(runs_of(hidden, noise=0.01), QUICK).is_irreducible_loss_identified
        assert fit(runs_of(SMALL, noise=0.002), QUICK).is_irreducible_loss_identified


class TestRefusals:
    @pytest.mark.parametrize(
        ("runs", "advice"),
        [
            (runs_of(SMALL)[:5], "5 runs .* add at least 1 more"),
            (runs_of(SMALL, sizes=(1e7,), tokens=tuple(np.geomspace(1e7, 1e9, 8))), "1 of the 3"),
            (runs_of(SMALL, sizes=(1e6, 1e7)), "2 of the 3 different sizes"),
            (runs_of(SMALL, tokens=(1e8, 1.0000001e8, 1e8 + 5)), "different amounts of training"),
            (runs_of(SMALL, tokens=(1e8, 1.2e8, 1.4e8)), "factor of 1.40 in tokens"),
            (
                [r for n in SIZES for r in runs_of(SMALL, sizes=(n,), tokens=(20 * n, 20.1 * n))],
                "in step",
            ),
            ([replace(r, loss=2.5) for r in runs_of(SMALL)], "all 12 losses are 2.5"),
        ],
        ids=["few", "one size", "two sizes", "one D", "narrow D", "in step", "equal losses"],
    )
    def test_runs_that_tell_no_law(self, runs: list[ScalingRun], advice: str) -> None:
        with pytest.raises(Unidentified, match=advice):
            fit(runs, QUICK)

    def test_a_loss_that_does_not_fall_with_size(self) -> None:
        runs = [replace(r, loss=2 + 900 * r.tokens**-0.4) for r in runs_of(SMALL)]
        with pytest.raises(Unidentified, match="power law of size"):
            fit(runs, QUICK)

    @pytest.mark.parametrize("loss", [float("nan"), float("inf"), 0.0, -1.0])
    def test_a_run_that_diverged(self, loss: float) -> None:
        with pytest.raises(InvalidConfig, match="leave out runs that diverged"):
            ScalingRun(params=1e6, tokens=1e7, loss=loss)


class TestHeldBack:
    def test_the_largest_run_is_predicted_from_the_rest(self) -> None:
        rest, largest = hold_back_largest(runs_of(SMALL, noise=0.004, seed=1))
        held = compare(fit(rest, QUICK), largest)
        assert (largest.params, largest.tokens) == (max(SIZES), max(TOKENS))
        assert held.is_inside
        assert abs(held.relative_error) < 0.02
        assert held.prediction.extrapolation == 1.0  # its size and its data were both seen

    def test_a_run_of_the_fit_is_no_check(self) -> None:
        runs = runs_of(SMALL)
        with pytest.raises(InvalidConfig, match="part of the fit"):
            compare(fit(runs, QUICK), runs[0])

    def test_a_wrong_law_is_found_out(self) -> None:
        """A run that breaks with the law lies outside, and is reported so."""
        rest, largest = hold_back_largest(runs_of(SMALL, noise=0.002))
        broken = replace(largest, loss=largest.loss * 1.2)
        assert not compare(fit(rest, QUICK), broken).is_inside

    def test_extrapolation_is_counted_from_the_edge(self) -> None:
        found = fit(runs_of(SMALL), QUICK)
        assert predict(found, params=9e7, tokens=1e8).extrapolation == pytest.approx(3)
        assert predict(found, params=1e7, tokens=2e6).extrapolation == pytest.approx(10)


def test_a_fit_survives_a_file() -> None:
    found = fit(runs_of(SMALL, noise=0.01), QUICK)
    again = Fit.from_json(json.loads(json.dumps(found.to_json())))
    assert again.law == found.law
    assert again.runs == found.runs
    assert predict(again, params=1e8, tokens=1e9) == predict(found, params=1e8, tokens=1e9)
