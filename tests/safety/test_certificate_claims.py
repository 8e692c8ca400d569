from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from certificate_parts import identity
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.digest import digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.sequential import log_e_rare
from loopwright.safety.certificate.claims import (
    LEVELS,
    Aim,
    Claim,
    anytime_upper_bound,
    bound_of,
    level_aims,
    level_reached,
)
from loopwright.safety.certificate.identity import Identity


def claim(**changes: object) -> Claim:
    usual: dict[str, object] = {
        "kind": "violation",
        "stratum": "near",
        "arm": "filter-on",
        "bound": 0.05,
        "least_episodes": 1,
        "alpha": 0.05,
        "episodes": 0,
        "failed": 0,
        "unknown": 0,
    }
    return Claim(**{**usual, **changes})  # type: ignore[arg-type]


def test_levels_are_what_the_page_says() -> None:
    assert LEVELS == {"D": 0.05, "C": 0.01, "B": 0.001}
    assert [bound_of(level) for level in "DCB"] == [0.05, 0.01, 0.001]


def test_level_a_is_not_available_from_simulation() -> None:
    with pytest.raises(InvalidConfig, match="level A is not available from simulation"):
        bound_of("A")
    with pytest.raises(UnknownName, match="unknown level 'E'"):
        bound_of("E")


@pytest.mark.parametrize(
    ("bound", "level"),
    [
        (0.0001, "B"),
        (0.001, "B"),
        (0.0011, "C"),
        (0.01, "C"),
        (0.05, "D"),
        (0.06, None),
        (None, None),
    ],
)
def test_the_strictest_level_that_a_bound_is_enough_for(
    bound: float | None, level: str | None
) -> None:
    assert level_reached(bound) == level


def test_a_level_aims_at_its_bound_with_and_without_the_filter() -> None:
    assert level_aims("C") == (
        Aim(kind="violation", arm="filter-on", bound=0.01),
        Aim(kind="violation", arm="filter-off", bound=0.01),
    )
    assert level_aims("C", task_failure=0.2)[2:] == (
        Aim(kind="task-failure", arm="filter-on", bound=0.2),
    )


@pytest.mark.parametrize("bound", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_bound_is_a_rate_that_can_be_wrong(bound: float) -> None:
    with pytest.raises(InvalidConfig, match="expected above 0 and below 1"):
        Aim(kind="violation", arm="filter-on", bound=bound)


def test_aims_are_of_known_kinds_and_arms() -> None:
    with pytest.raises(UnknownName, match="kind of claim"):
        Aim(kind="crash", arm="filter-on", bound=0.1)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="arm"):
        Aim(kind="violation", arm="on", bound=0.1)  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match="at least 0 episodes"):
        Aim(kind="violation", arm="filter-on", bound=0.1, episodes=0)
    assert Aim(kind="violation", arm="filter-on", bound=None).episodes == 1


@pytest.mark.parametrize(
    "counts",
    [
        {"episodes": 1, "failed": 2},
        {"episodes": 1, "failed": 1, "unknown": 1},
        {"episodes": 3, "failed": -1},
        {"episodes": 3, "unknown": -1},
        {"episodes": 3, "failed": 2, "unknown": -1},
        {"episodes": -1},
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"bound": 1.0},
        {"least_episodes": 0},
    ],
)
def test_counts_that_no_campaign_has_are_refused(counts: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig):
        claim(**counts)


def test_a_claim_is_met_as_soon_as_the_evidence_is_enough_and_not_before() -> None:
    first = next(n for n in range(1000) if claim(episodes=n).is_met)
    # By the definition, not by our code: the mean of ((1 - u) / (1 - b))^n over u = b v^2, v in
    # [0, 1] evenly, which has the density of the mixture.
    u = 0.05 * ((np.arange(20_000) + 0.5) / 20_000) ** 2
    assert math.exp(claim(episodes=60).log_evidence()) == pytest.approx(
        float(np.mean(((1 - u) / 0.95) ** 60))
    )
    assert first == next(n for n in range(1000) if np.mean(((1 - u) / 0.95) ** n) >= 20) == 74
    assert claim(episodes=50).log_evidence(10) == claim(episodes=60).log_evidence()


def test_a_failure_and_an_unknown_outcome_weigh_the_same() -> None:
    failed, unknown = claim(episodes=99, failed=1), claim(episodes=99, unknown=1)
    assert failed.log_evidence() == unknown.log_evidence() < claim(episodes=99).log_evidence()
    assert failed.upper_bound == unknown.upper_bound > claim(episodes=99).upper_bound
    assert (claim(episodes=9, failed=2, unknown=3).passed, unknown.against) == (4, 1)


def test_a_smaller_budget_asks_for_more_evidence() -> None:
    enough = next(n for n in range(1000) if claim(episodes=n).is_met)
    assert not claim(episodes=enough, alpha=0.01).is_met
    assert claim(alpha=0.01).log_threshold == pytest.approx(math.log(100))


def test_evidence_that_is_just_enough_is_enough() -> None:
    evidence = {n: claim(episodes=n).log_evidence() for n in range(20, 120)}
    exact = {n: e for n, e in evidence.items() if -math.log(math.exp(-e)) == e}
    assert exact
    for episodes, value in exact.items():
        just = claim(episodes=episodes, alpha=math.exp(-value))
        assert just.is_met
        assert not just.is_lost(0)


def test_a_claim_needs_its_least_number_of_episodes() -> None:
    assert not claim(episodes=299, least_episodes=300).is_met
    assert claim(episodes=300, least_episodes=300).is_met


def test_a_claim_that_is_not_tested_is_met_by_counting() -> None:
    stated = claim(bound=None, least_episodes=20, episodes=20, failed=20)
    assert stated.is_met
    assert not claim(bound=None, least_episodes=20, episodes=19).is_met
    assert stated.log_evidence() == 0.0
    assert not stated.is_lost(0)
    assert claim(bound=None, least_episodes=20, episodes=10).is_lost(9)
    assert not claim(bound=None, least_episodes=20, episodes=10).is_lost(10)


def test_a_claim_is_lost_when_no_further_success_could_save_it() -> None:
    enough = next(n for n in range(1000) if claim(episodes=n).is_met)
    assert not claim(episodes=enough - 5).is_lost(5)
    assert claim(episodes=enough - 5).is_lost(4)
    assert claim(episodes=enough, least_episodes=enough + 2).is_lost(1)
    assert not claim(episodes=enough, least_episodes=enough + 2).is_lost(2)


@given(st.integers(1, 400), st.integers(0, 40), st.sampled_from([0.05, 0.01, 0.004]))
def test_a_claim_is_met_exactly_when_its_bound_is_excluded(
    episodes: int, failed: int, alpha: float
) -> None:
    failed = min(failed, episodes)
    upper = anytime_upper_bound(failed, episodes, alpha)
    assert failed / episodes <= upper
    for bound in (0.001, 0.01, 0.05, 0.3, 0.9):
        one = claim(episodes=episodes, failed=failed, alpha=alpha, bound=bound)
        if bound > failed / episodes:
            assert one.is_met == (bound > upper)
        else:
            assert not one.is_met


@given(st.integers(1, 400), st.integers(0, 40))
def test_evidence_rises_with_the_bound_above_the_observed_rate(episodes: int, failed: int) -> None:
    failed = min(failed, episodes - 1)
    rate = failed / episodes
    bounds = np.linspace(rate, 1.0, 52)[1:-1]
    evidence = [log_e_rare(failed, episodes - failed, float(b)) for b in bounds]
    assert all(a <= b + 1e-9 for a, b in itertools.pairwise(evidence))


def test_the_bound_of_nothing_or_of_failures_alone_is_one() -> None:
    assert anytime_upper_bound(0, 0, 0.05) == 1.0
    assert anytime_upper_bound(7, 7, 0.05) == 1.0
    with pytest.raises(InvalidConfig):
        anytime_upper_bound(8, 7, 0.05)


def test_a_claim_says_what_it_counted() -> None:
    text = str(claim(episodes=1200, failed=3, unknown=2))
    assert text.startswith("violation, near, filter-on: 3 failed and 2 unknown of 1,200 episodes, ")
    assert text.endswith(" (to show < 0.05)")
    assert str(claim(bound=None, episodes=9)).endswith(" (stated)")
    assert ": 0 failed of 9 episodes, below " in str(claim(episodes=9))
    assert "below 11.80% " in str(claim(episodes=30))


def test_a_claim_comes_back_equal() -> None:
    one = claim(episodes=12, failed=3, unknown=2)
    assert Claim.from_json(one.to_json()) == one
    for change in ({"more": 1}, {"episodes": 1}, {"kind": "crash"}, {"alpha": 2}):
        with pytest.raises(DamagedData, match="no claim"):
            Claim.from_json({**one.to_json(), **change})


def test_an_identity_holds_five_digests() -> None:
    one = identity()
    assert one.subjects == {
        name: digest_json(name) for name in ("candidate", "scenario", "robot", "filter", "build")
    }
    assert Identity.from_json(one.to_json()) == one
    assert one.differences(identity()) == ()
    assert one.differences(identity(filter="x", robot="y")) == ("robot", "filter")


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n", 3])
def test_what_is_no_digest_is_refused(digest: object) -> None:
    parts = {**identity().subjects, "filter": digest}
    with pytest.raises(InvalidConfig, match="filter of an identity is"):
        Identity(**parts)  # type: ignore[arg-type]
    with pytest.raises(DamagedData, match="no identity"):
        Identity.from_json(parts)


def test_an_identity_with_other_parts_is_refused() -> None:
    with pytest.raises(DamagedData):
        Identity.from_json({**identity().subjects, "more": "a" * 64})
    with pytest.raises(DamagedData):
        Identity.from_json({"candidate": "a" * 64})
