from __future__ import annotations

import numpy as np
import pytest

from benchmarks.certificate import (
    Rule,
    evidence_rule,
    failure_times,
    fixed_rule,
    judge_times,
    naive_rule,
    sprt_rule,
)
from loopwright.core.digest import digest_json
from loopwright.core.scenario import Box, split_seed
from loopwright.core.seeds import generator
from loopwright.safety.certificate.campaign import Tally, Trial
from loopwright.safety.certificate.claims import Aim
from loopwright.safety.certificate.identity import Identity
from loopwright.safety.certificate.plan import Stratum, TestPlan

BOUND, ALPHA = 0.2, 0.05
MOST = 500


def one_by_one(rule: Rule, failures: set[int]) -> tuple[bool, int]:
    """Apply a rule the long way: an episode at a time."""
    failed = 0
    if rule.passes_from[0] > rule.most:
        return False, 0
    for episode in range(1, rule.most + 1):
        failed += episode in failures
        if episode in failures and (
            episode <= rule.fails_until[failed] or rule.passes_from[failed] > rule.most
        ):
            return False, episode
        if episode >= rule.passes_from[failed]:
            return True, episode
    return False, rule.most


@pytest.mark.parametrize(
    "rule",
    [
        evidence_rule(BOUND, ALPHA),
        naive_rule(BOUND, ALPHA),
        fixed_rule(BOUND, ALPHA, allowed=2),
        sprt_rule(BOUND, ALPHA),
    ],
    ids=["evidence", "naive", "fixed", "sprt"],
)
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.2, 0.5])
def test_all_campaigns_at_once_are_each_by_itself(rule: Rule, rate: float) -> None:
    times = failure_times(rate, 60, generator(1, str(rate)))
    outcome = judge_times(rule, times)
    for row, passed, episodes in zip(times, outcome.passed, outcome.episodes, strict=True):
        assert (passed, episodes) == one_by_one(rule, set(row.tolist()))


def test_our_rule_is_what_a_campaign_does() -> None:
    """The same failures, told to the code that certifies."""
    digests = {
        part: digest_json(part) for part in ("candidate", "scenario", "robot", "filter", "build")
    }
    seeds = tuple(split_seed("sealed", index) for index in range(MOST))
    plan = TestPlan(
        identity=Identity(**digests),
        scenario="reach-v1",
        level="D",
        aims=(
            Aim(kind="violation", arm="filter-on", bound=0.05),
            Aim(kind="violation", arm="filter-off", bound=BOUND),
        ),
        strata=(Stratum(name="all", domain=Box(low={}, high={}), seeds=seeds),),
    )
    rule = evidence_rule(BOUND, plan.claim_alpha)
    times = failure_times(0.12, 8, generator(2))
    outcome = judge_times(rule, times)
    for row, passed, episodes in zip(times, outcome.passed, outcome.episodes, strict=True):
        tally, failures = Tally(plan=plan), set(row.tolist())
        for episode in range(1, int(episodes) + 1):
            assert not tally.is_met(tally.claims()[1])
            failed = {"violation": episode in failures}
            tally.add(
                Trial(stratum="all", arm="filter-off", seed=seeds[episode - 1], failed=failed)
            )
        claim = tally.claims()[1]
        assert tally.is_met(claim) == passed
        assert claim.is_lost(MOST - claim.episodes) == (not passed)


def test_fixed_sizes_are_the_published_ones() -> None:
    assert [fixed_rule(bound, 0.05).most for bound in (0.05, 0.01, 0.001)] == [59, 299, 2995]
    assert [fixed_rule(0.01, 0.05, allowed=n).most for n in (1, 2)] == [473, 628]


def test_a_wrong_claim_is_rare_and_the_common_mistake_is_not() -> None:
    times = failure_times(0.05, 4000, generator(3))
    ours = judge_times(evidence_rule(0.05, 0.05), times).passed.mean()
    naive = judge_times(naive_rule(0.05, 0.05), times).passed.mean()
    assert 0.02 < ours < 0.05
    assert 0.22 < naive < 0.32
    assert np.all(judge_times(fixed_rule(0.05, 0.05), times).episodes <= 59)
