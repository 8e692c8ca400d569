"""What a certificate lets through, what it costs a good policy, and how rivals do.

``python -m benchmarks.certificate`` (or ``make bench NAME=certificate``):

1. Policies that fail exactly as often as their level allows, tested until they pass or run out of
   episodes: how often does one claim come out wrong, how often a whole certificate? Beside it the
   common mistake, Clopper-Pearson after each episode.
2. Good policies: how surely are they certified, with how many episodes, beside a test of fixed
   size and Wald's sequential probability ratio test (SPRT), which needs to be told how good they
   are.
3. Trying again after a plan has failed, up to ten times.

A rule over episodes is two numbers per count of failures, and a campaign is the times of its
failures, so that thousands of campaigns of thousands of episodes take seconds, without
approximation. The numbers of our rule are asked of the code that certifies
(:class:`~loopwright.safety.certificate.claims.Claim`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.harness import Benchmark, Measurement, figure
from loopwright.core.seeds import generator
from loopwright.core.statistics import binomial_lower_tail, clopper_pearson
from loopwright.safety.certificate.claims import LEVELS, Claim
from loopwright.safety.certificate.plan import MAX_ALPHA, claim_alpha

SEED = 20261123
EPISODES_PER_BOUND = 100
"""A cell has at most this many episodes divided by its bound: 2,000, 10,000, 100,000."""
MOST_FAILURES = 240
"""More are not followed; a policy at its limit has 100 on average, and 240 in no campaign."""
ATTEMPTS = 10
GOOD_SHARES = (0.0, 0.1, 0.2, 0.5)
"""Failure rates of good policies as shares of the bound."""
SPRT_GOOD = 0.2
"""What the SPRT is told of a good policy, as a share of the bound."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rule:
    """When a cell stops. Index: failures so far, 0 to K - 1."""

    most: int
    """Episodes after which it stops in any case."""
    passes_from: np.ndarray
    """int64 ``(K,)``: the fewest episodes at which so many failures pass; ``most + 1`` if none."""
    fails_until: np.ndarray
    """int64 ``(K,)``: the most episodes at which so many failures refuse; 0 if none do."""


def evidence_rule(bound: float, alpha: float) -> Rule:
    """Return our rule: a claim at its share of the error budget."""
    most = most_episodes(bound)

    def passes(episodes: int, failed: int) -> bool:
        return Claim(
            kind="violation",
            stratum="all",
            arm="filter-on",
            bound=bound,
            least_episodes=1,
            alpha=alpha,
            episodes=episodes,
            failed=failed,
            unknown=0,
        ).is_met

    return Rule(
        most=most,
        passes_from=fewest_episodes(passes, most),
        fails_until=np.zeros(MOST_FAILURES, np.int64),
    )


def naive_rule(bound: float, alpha: float) -> Rule:
    """Return the common mistake: the exact one-sided bound of a fixed size, after each episode."""
    most = most_episodes(bound)

    def passes(episodes: int, failed: int) -> bool:
        return binomial_lower_tail(failed, episodes, bound) <= alpha

    return Rule(
        most=most,
        passes_from=fewest_episodes(passes, most),
        fails_until=np.zeros(MOST_FAILURES, np.int64),
    )


def fixed_rule(bound: float, alpha: float, allowed: int = 0) -> Rule:
    """Return the test of fixed size that allows so many failures: one look, at its end."""
    size = allowed + 1
    while binomial_lower_tail(allowed, size, bound) > alpha:
        size += max(1, size // 2000)
    while size > allowed + 1 and binomial_lower_tail(allowed, size - 1, bound) <= alpha:
        size -= 1
    passes_from = np.where(np.arange(MOST_FAILURES) <= allowed, size, size + 1)
    return Rule(most=size, passes_from=passes_from, fails_until=np.zeros(MOST_FAILURES, np.int64))


def sprt_rule(bound: float, alpha: float, miss: float = 0.05) -> Rule:
    """Return Wald's test of "the bound" against "a fifth of it", missing so many good ones."""
    good, most = SPRT_GOOD * bound, most_episodes(bound)
    per_failure = math.log(good / bound) - math.log1p(-good) + math.log1p(-bound)
    per_episode = math.log1p(-good) - math.log1p(-bound)
    failed = np.arange(MOST_FAILURES)
    upper, lower = math.log((1 - miss) / alpha), math.log(miss / (1 - alpha))
    passes = np.ceil((upper - failed * per_failure) / per_episode)
    fails = np.floor((lower - failed * per_failure) / per_episode)
    return Rule(
        most=most,
        passes_from=np.minimum(passes, most + 1).astype(np.int64),
        fails_until=np.clip(fails, 0, most).astype(np.int64),
    )


def most_episodes(bound: float) -> int:
    """Return how many episodes a cell may take."""
    return round(EPISODES_PER_BOUND / bound)


def fewest_episodes(passes: Callable[[int, int], bool], most: int) -> np.ndarray:
    """Return by bisection from how many episodes on a count of failures passes; int64 ``(K,)``."""
    found = np.full(MOST_FAILURES, most + 1)
    low = 1
    for failed in range(MOST_FAILURES):
        low, high = max(low, failed), most + 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if passes(middle, failed) else (middle + 1, high)
        found[failed] = low
        if low > most:
            break
    return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """What became of many cells."""

    passed: np.ndarray
    """bool ``(cells,)``."""
    episodes: np.ndarray
    """int64 ``(cells,)``: how many were run."""


def run_cells(rule: Rule, rate: float, cells: int, rng: np.random.Generator) -> Outcome:
    """Run many cells of a policy with a failure rate until each has passed or failed."""
    if rate == 0:
        return Outcome(
            passed=np.full(cells, rule.passes_from[0] <= rule.most),
            episodes=np.full(cells, min(rule.passes_from[0], rule.most)),
        )
    times = failure_times(rate, cells, rng)
    return judge_times(rule, times)


def failure_times(rate: float, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Draw after how many episodes failure 1, 2, ... comes: int64 ``(cells, K)``."""
    return rng.geometric(rate, size=(cells, MOST_FAILURES)).cumsum(axis=1)


def judge_times(rule: Rule, times: np.ndarray) -> Outcome:
    """Judge cells from when their failures came, int64 ``(cells, K)``."""
    begins = np.concatenate([np.zeros_like(times[:, :1]), times[:, :-1]], axis=1)
    # With k failures the cell stays from begins[k] to times[k] - 1, and passes in between or not.
    passes_at = np.maximum(begins, rule.passes_from)
    passes = (passes_at < times) & (passes_at <= rule.most)
    # It is refused at failure k itself, or when no episode without failure could save it.
    hopeless = rule.passes_from > rule.most
    fails = (begins <= rule.fails_until) & (begins > 0) | hopeless | (begins > rule.most)
    never = times.shape[1]
    first_pass = np.where(passes.any(axis=1), passes.argmax(axis=1), never)
    first_fail = np.where(fails.any(axis=1), fails.argmax(axis=1), never)
    rows = np.arange(len(times))
    passed = first_pass < first_fail
    ends = np.where(first_fail < never, begins[rows, np.minimum(first_fail, never - 1)], rule.most)
    episodes = np.where(passed, passes_at[rows, np.minimum(first_pass, never - 1)], ends)
    return Outcome(passed=passed, episodes=np.minimum(episodes, rule.most))


def share(passed: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the share that passed, with its exact 95 % interval."""
    low, high = clopper_pearson(int(passed.sum()), len(passed))
    return float(passed.mean()), (low, high)


# -- 1. exactly at the limit ----------------------------------------------------------------------


def measure_errors(bench: Benchmark, campaigns: int) -> None:
    """Run policies at their limit, one claim at 5 % and whole certificates."""
    for level, bound in bench.track(LEVELS.items(), f"{campaigns:,} campaigns at the limit"):
        times = failure_times(bound, campaigns, generator(SEED, "limit", level))
        ours, interval = share(judge_times(evidence_rule(bound, MAX_ALPHA), times).passed)
        naive = share(judge_times(naive_rule(bound, MAX_ALPHA), times).passed)[0]
        sprt = share(judge_times(sprt_rule(bound, MAX_ALPHA), times).passed)[0]
        bench.add(
            Measurement(
                metric=f"wrong claim, level {level}, a look after each episode",
                value=ours,
                unit="of campaigns",
                interval=interval,
                n=campaigns,
                compared_with=f"Clopper-Pearson after each episode {naive:.3f}; SPRT {sprt:.3f}",
                target=f"<= {MAX_ALPHA}",
                holds=interval[1] <= MAX_ALPHA,
            )
        )
        # One stratum, filter on and off; perfect with one of them, at the limit with the other.
        shipped = evidence_rule(bound, claim_alpha(MAX_ALPHA, 1, 2))
        certified, certified_interval = share(judge_times(shipped, times).passed)
        bench.add(
            Measurement(
                metric=f"wrong certificate, level {level}, first plan, worst case",
                value=certified,
                unit="of campaigns",
                interval=certified_interval,
                n=campaigns,
                compared_with=f"its share of the budget {claim_alpha(MAX_ALPHA, 1, 2):.4f}",
                target=f"<= {MAX_ALPHA}",
                holds=certified_interval[1] <= MAX_ALPHA,
            )
        )


# -- 2. good policies -----------------------------------------------------------------------------


def measure_power(bench: Benchmark, campaigns: int) -> None:
    """Run good policies through one claim at 5 %, beside rivals with the same error."""
    cases = [(level, good) for level in LEVELS for good in GOOD_SHARES]
    for level, good in bench.track(cases, "good policies, one claim"):
        bound = LEVELS[level]
        rivals = {
            "fixed, no failure": fixed_rule(bound, MAX_ALPHA),
            "fixed, two failures": fixed_rule(bound, MAX_ALPHA, allowed=2),
            "SPRT": sprt_rule(bound, MAX_ALPHA),
        }
        rng = generator(SEED, "good", level, str(good))
        ours = run_cells(evidence_rule(bound, MAX_ALPHA), good * bound, campaigns, rng)
        others = {name: run_cells(r, good * bound, campaigns, rng) for name, r in rivals.items()}
        passed, interval = share(ours.passed)
        bench.add(
            Measurement(
                metric=f"passed, level {level}, true rate {good * bound:.3%}",
                value=passed,
                unit="of claims",
                interval=interval,
                n=campaigns,
                compared_with=", ".join(f"{n} {o.passed.mean():.3f}" for n, o in others.items()),
            )
        )
        bench.add(
            Measurement(
                metric=f"mean episodes, level {level}, true rate {good * bound:.3%}",
                value=float(ours.episodes.mean()),
                unit="episodes",
                n=campaigns,
                compared_with=", ".join(
                    f"{n} {figure(float(o.episodes.mean()))}" for n, o in others.items()
                ),
            )
        )


def measure_certificates(bench: Benchmark, campaigns: int) -> None:
    """Run good policies through whole certificates: the price of strata, arms and attempts."""
    cases = [(level, strata) for level in LEVELS for strata in (1, 2, 4)]
    for level, strata in bench.track(cases, "good policies, whole certificates"):
        bound, cells = LEVELS[level], 2 * strata
        rule = evidence_rule(bound, claim_alpha(MAX_ALPHA, 1, cells))
        rng = generator(SEED, "certificates", level, strata)
        runs = [run_cells(rule, 0.1 * bound, campaigns, rng) for _ in range(cells)]
        passed, interval = share(np.all([run.passed for run in runs], axis=0))
        episodes = float(np.sum([run.episodes for run in runs], axis=0).mean())
        bench.add(
            Measurement(
                metric=f"certified, level {level}, {strata} strata, true rate {0.1 * bound:.3%}",
                value=passed,
                unit="of campaigns",
                interval=interval,
                n=campaigns,
                compared_with=f"{figure(episodes)} episodes, {figure(episodes / cells)} a cell",
                target=">= 0.95",
            )
        )


# -- 3. trying again ------------------------------------------------------------------------------


def measure_attempts(bench: Benchmark, campaigns: int) -> None:
    """Try a policy at its limit again and again: plans share the budget, habits do not."""
    bound = LEVELS["D"]
    rng = generator(SEED, "attempts")
    ours, naive, fixed = (np.zeros(campaigns, bool) for _ in range(3))
    for attempt in bench.track(range(1, ATTEMPTS + 1), f"{ATTEMPTS} plans one after another"):
        times = failure_times(bound, campaigns, rng)
        ours |= judge_times(evidence_rule(bound, claim_alpha(MAX_ALPHA, attempt, 1)), times).passed
        naive |= judge_times(naive_rule(bound, MAX_ALPHA), times).passed
        fixed |= judge_times(fixed_rule(bound, MAX_ALPHA), times).passed
    passed, interval = share(ours)
    bench.add(
        Measurement(
            metric=f"wrong claim in any of {ATTEMPTS} plans, level D",
            value=passed,
            unit="of policies",
            interval=interval,
            n=campaigns,
            compared_with=(
                f"Clopper-Pearson after each episode {naive.mean():.3f}, "
                f"fixed size at 5 % each {fixed.mean():.3f}"
            ),
            target=f"<= {MAX_ALPHA}",
            holds=interval[1] <= MAX_ALPHA,
        )
    )


def measure_rules(levels: Sequence[str] = tuple(LEVELS)) -> list[str]:
    """Say how many episodes without any failure each rule asks for."""
    lines = []
    for level in levels:
        bound = LEVELS[level]
        ours, fixed = evidence_rule(bound, MAX_ALPHA), fixed_rule(bound, MAX_ALPHA)
        shipped = evidence_rule(bound, claim_alpha(MAX_ALPHA, 1, 2))
        lines.append(
            f"Level {level} without any failure: {ours.passes_from[0]:,} episodes for one claim at "
            f"5 % (fixed size {fixed.most:,}), {shipped.passes_from[0]:,} a cell in a first "
            "certificate with one stratum."
        )
    return lines


def main() -> None:
    with Benchmark("certificate", "What a certificate lets through", seeds=(SEED,)) as bench:
        campaigns = 10_000 if bench.quick else 50_000
        measure_errors(bench, campaigns)
        measure_power(bench, campaigns // 5)
        measure_certificates(bench, campaigns // 5)
        measure_attempts(bench, campaigns // 5)
        for line in measure_rules():
            bench.note(line)
        bench.note(
            "At the limit: the true failure rate equals the bound of the level, up to "
            f"{EPISODES_PER_BOUND} expected failures; a campaign stops when it passes."
        )


if __name__ == "__main__":
    main()
