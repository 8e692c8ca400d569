from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from certificate_parts import ADA, ListRegister, identity, plan, seeds, stratum

from loopwright.core.errors import DamagedData, InvalidConfig, NotCertified, UnknownName
from loopwright.core.scenario import Box, split_seed
from loopwright.safety.certificate.claims import Aim, Claim, level_aims
from loopwright.safety.certificate.plan import (
    Stratum,
    TestPlan,
    burnt_seeds,
    claim_alpha,
    find_plan,
    previous_plans,
    register_plan,
    registered_plans,
)
from loopwright.safety.statement import Signed

OFF = Aim(kind="violation", arm="filter-off", bound=None, episodes=20)


def test_a_plan_comes_back_equal_and_its_digest_covers_everything() -> None:
    one = plan(aims=level_aims("D", task_failure=0.2), strata=(stratum(), stratum("far", 500, 9)))
    assert TestPlan.from_json(one.to_json()) == one
    assert one.statement().kind == "test-plan/v1"
    assert (one.alpha, one.max_unknown_share, one.previous) == (0.05, 0.02, ())
    assert one.statement().subjects == one.identity.subjects
    changes: list[dict[str, Any]] = [
        {"identity": identity(build="x")},
        {"scenario": "x"},
        {"level": "D", "aims": level_aims("C")},
        {"strata": (stratum(),)},
        {"alpha": 0.01},
        {"max_unknown_share": 0.1},
        {"previous": ("a" * 64,)},
    ]
    digests = {replace(one, **change).digest for change in changes}
    assert len(digests | {one.digest}) == len(changes) + 1


def test_the_budget_is_split_over_claims_and_attempts() -> None:
    one = plan(aims=level_aims("D", task_failure=0.2), strata=(stratum(), stratum("far", 500)))
    assert one.claim_alpha == pytest.approx(0.05 / 2 / 6)
    assert replace(one, previous=("a", "b")).claim_alpha == pytest.approx(0.05 / 12 / 6)
    assert claim_alpha(0.04, 2, 1) == pytest.approx(0.04 / 6)
    shares = math.fsum(claim_alpha(0.05, attempt, 1) for attempt in range(1, 10_000))
    assert 0.0499 < shares < 0.05


def test_cells_are_every_stratum_with_the_filter_on_and_off() -> None:
    one = plan(strata=(stratum(), stratum("far", 500)))
    assert one.cells == (
        ("near", "filter-on"),
        ("near", "filter-off"),
        ("far", "filter-on"),
        ("far", "filter-off"),
    )
    assert one.stratum("far").seeds[0] == split_seed("sealed", 500)
    with pytest.raises(UnknownName, match="did you mean 'far'"):
        one.stratum("fae")
    both = plan(aims=level_aims("D", task_failure=0.5))
    assert both.kinds("filter-on") == ("violation", "task-failure")
    assert both.kinds("filter-off") == ("violation",)


def test_a_claim_is_an_aim_with_what_was_counted() -> None:
    one = plan()
    assert one.claim(OFF, "near", episodes=9, failed=2, unknown=1) == Claim(
        kind="violation",
        stratum="near",
        arm="filter-off",
        bound=None,
        least_episodes=20,
        alpha=one.claim_alpha,
        episodes=9,
        failed=2,
        unknown=1,
    )


@pytest.mark.parametrize(
    ("aims", "message"),
    [
        ((), "count violations with filter-on"),
        (level_aims("D")[:1], "count violations with filter-off"),
        (level_aims("D")[1:], "count violations with filter-on"),
        ((*level_aims("D"), OFF), "at most once"),
        ((Aim(kind="violation", arm="filter-on", bound=0.051), OFF), "needs violations below 0.05"),
        ((Aim(kind="violation", arm="filter-on", bound=None), OFF), "the plan aims at None"),
        ((Aim(kind="task-failure", arm="filter-on", bound=0.01), OFF), "with filter-on"),
    ],
)
def test_a_plan_must_be_able_to_support_its_level(aims: tuple[Aim, ...], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        plan(aims=aims)


def test_violations_without_the_filter_may_be_stated_only() -> None:
    assert plan(aims=(level_aims("D")[0], OFF)).claim_alpha == pytest.approx(0.0125)
    assert plan(level="D", aims=level_aims("B"))


def test_level_a_cannot_be_planned() -> None:
    with pytest.raises(InvalidConfig, match="level A is not available"):
        plan(level="A")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strata": ()}, "needs a stratum"),
        ({"strata": (stratum(), stratum(first=500))}, "a name occurs twice"),
        ({"strata": (stratum(), stratum("far", 199))}, "occurs in two strata"),
        ({"alpha": 0.0}, "alpha 0.0"),
        ({"alpha": 0.051}, "at most 0.05"),
        ({"alpha": math.nan}, "alpha nan"),
        ({"max_unknown_share": 1.0}, "max_unknown_share"),
        ({"max_unknown_share": -0.1}, "max_unknown_share"),
        ({"aims": (level_aims("D")[0], replace(OFF, episodes=201))}, "only 200 seeds"),
    ],
)
def test_impossible_plans_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        plan(**change)


def test_a_plan_may_need_all_its_seeds() -> None:
    assert plan(aims=(level_aims("D")[0], replace(OFF, episodes=200)), max_unknown_share=0.0)
    with pytest.raises(InvalidConfig, match="only 150 seeds"):
        plan(
            aims=(level_aims("D")[0], replace(OFF, episodes=200)),
            strata=(stratum(), stratum("far", 500, 150)),
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": " "}, "must have a name"),
        ({"seeds": ()}, "has no seeds"),
        ({"seeds": (*seeds(0, 2), *seeds(0, 1))}, "a seed twice"),
        ({"seeds": (*seeds(0, 2), split_seed("gate", 7))}, "of the gate split"),
        ({"seeds": (split_seed("train", 7),)}, "of the train split"),
    ],
)
def test_strata_hold_new_sealed_seeds(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        replace(stratum(), **change)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {}},
        {"level": "E"},
        {"aims": 3},
        {"aims": [{"kind": "violation"}]},
        {"strata": [{}]},
        {"strata": [{"name": "x", "domain": {"low": {}, "high": {"x": 1}}, "seeds": [1]}]},
        {"previous": None},
        {"more": 1},
    ],
)
def test_what_is_no_plan_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DamagedData, match=r"no test plan|no identity"):
        TestPlan.from_json({**plan().to_json(), **change})
    lacking = plan().to_json()
    del lacking["strata"]
    with pytest.raises(DamagedData, match="no test plan"):
        TestPlan.from_json(lacking)


def test_a_registered_plan_is_found_with_its_signature() -> None:
    register = ListRegister()
    assert register_plan(plan(), register, ADA) == 1
    found, signed = find_plan(plan().digest, register)
    assert found == plan()
    assert signed.signatures[0][0] == ADA.id
    assert list(registered_plans(register)) == [plan()]


def test_a_plan_that_is_not_registered_is_not_found() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    with pytest.raises(NotCertified, match="is not registered"):
        find_plan(plan(scenario="x").digest, register)


def second(**changes: Any) -> TestPlan:
    """A second plan for the same identity, with new seeds, that names the first."""
    usual = plan(strata=(stratum(first=1000),), previous=(plan().digest,))
    return replace(usual, **changes)


def test_a_second_plan_names_the_first_and_shares_its_budget() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    register_plan(second(), register, ADA)
    assert second().attempt == 2
    assert second().claim_alpha == pytest.approx(plan().claim_alpha / 3)
    assert find_plan(second().digest, register)[0] == second()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"previous": ()}, "1 plans were registered before .* the plan names 0"),
        ({"previous": ("a" * 64,)}, "plans were registered before"),
        ({"previous": ("a" * 64, "b" * 64)}, "the plan names 2"),
        ({"alpha": 0.01}, "budget is one for all"),
        ({"strata": (stratum(first=199),)}, "1 seeds of the plan are burnt, such as 2000000199"),
    ],
)
def test_a_second_plan_that_conceals_the_first_is_refused(
    change: dict[str, Any], message: str
) -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    with pytest.raises(NotCertified, match=message):
        register_plan(second(**change), register, ADA)
    assert len(register.lines) == 1


def test_another_filter_or_build_opens_no_new_budget_but_another_robot_does() -> None:
    first = plan()
    for part in ("filter", "build"):
        assert previous_plans(identity(**{part: "x"}), [first]) == (first.digest,)
    assert previous_plans(identity(filter="x", build="x"), [first]) == (first.digest,)
    for part in ("candidate", "scenario", "robot"):
        assert previous_plans(identity(**{part: "x"}), [first]) == ()


def test_a_plan_for_another_candidate_needs_other_seeds_but_names_nothing() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    other = identity(candidate="another")
    with pytest.raises(NotCertified, match="200 seeds of the plan are burnt"):
        register_plan(plan(identity=other), register, ADA)
    register_plan(plan(identity=other, strata=(stratum(first=200),), alpha=0.01), register, ADA)


def test_another_scenario_has_seeds_of_its_own() -> None:
    assert burnt_seeds("reach-v1", [plan()]) == set(seeds(0, 200))
    assert burnt_seeds("push-v1", [plan()]) == frozenset()
    assert burnt_seeds("reach-v1", [plan(), second()]) == {*seeds(0, 200), *seeds(1000, 200)}


def test_of_two_plans_registered_at_one_moment_the_later_is_refused() -> None:
    register = ListRegister()
    late = plan(level="D", aims=level_aims("C"))
    for one in (plan(), late):  # both were checked against an empty register
        register.append(Signed.by(one.statement(), ADA))
    assert find_plan(plan().digest, register)[0] == plan()
    with pytest.raises(NotCertified, match="plans were registered before"):
        find_plan(late.digest, register)


def test_a_stratum_comes_back_equal() -> None:
    one = Stratum(name="far", domain=Box(low={"x": 1.0}, high={"x": 2.0}), seeds=seeds(3, 4))
    assert Stratum.from_json(one.to_json()) == one
