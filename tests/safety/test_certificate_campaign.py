from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from certificate_parts import ADA, BOB, ListRegister, opened, plan, run, seeds, stratum, trials

from loopwright.core.digest import digest_json
from loopwright.core.errors import (
    ContractError,
    DamagedData,
    InvalidConfig,
    NotCertified,
    UnknownName,
    Untrusted,
)
from loopwright.safety.certificate.campaign import Campaign, Tally, Trial, read_account
from loopwright.safety.certificate.claims import Aim, level_aims
from loopwright.safety.certificate.plan import register_plan
from loopwright.safety.statement import Signed, Statement


def first_trial(**changes: Any) -> Trial:
    usual = Trial(stratum="near", arm="filter-on", seed=seeds(0, 1)[0], failed={"violation": False})
    return replace(usual, **changes)


def counts(campaign: Campaign) -> list[tuple[int, int, int]]:
    return [(claim.episodes, claim.failed, claim.unknown) for claim in campaign.claims()]


def test_a_plan_that_was_not_registered_cannot_be_run() -> None:
    with pytest.raises(NotCertified, match="is not registered"):
        Campaign(plan(), ListRegister(), ADA)


def test_who_registered_a_plan_runs_it() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    with pytest.raises(Untrusted, match=f"registered with key {ADA.id}, not {BOB.id}"):
        Campaign(plan(), register, BOB)


def test_every_episode_is_logged_before_it_counts() -> None:
    register = ListRegister()
    campaign = opened(plan(), register)
    trial = first_trial(evidence="e" * 64)
    campaign.record(trial)
    assert counts(campaign) == [(1, 0, 0), (0, 0, 0)]
    statement = register.lines[-1].signed.statement
    assert statement.kind == "look/v1"
    assert statement.subjects == {"plan": plan().digest}
    assert statement.predicate == {
        "plan": plan().digest,
        "from": 0,
        "trials": [trial.to_json()],
        "ended": None,
    }
    assert register.lines[-1].signed.signatures[0][0] == ADA.id


def test_what_cannot_be_logged_does_not_count() -> None:
    class FullDisk(ListRegister):
        def append(self, signed: Signed, /) -> int:
            if signed.statement.kind == "look/v1":
                raise OSError("no space left")
            return super().append(signed)

    campaign = opened(plan(), FullDisk())
    with pytest.raises(OSError, match="no space"):
        campaign.record(first_trial())
    assert counts(campaign) == [(0, 0, 0), (0, 0, 0)]
    assert campaign.tally.next_seed("near", "filter-on") == seeds(0, 1)[0]
    with pytest.raises(OSError, match="no space"):
        campaign.end("given up")
    assert campaign.ended is None


def test_a_campaign_that_is_reopened_goes_on_where_it_stood() -> None:
    register = ListRegister()
    campaign = opened(plan(), register)
    run(campaign, 3)
    campaign.record(*trials(campaign, "near", "filter-on", 1, True))
    campaign.record(*trials(campaign, "near", "filter-on", 1, None))
    again = Campaign(plan(), register, ADA)
    assert counts(again) == counts(campaign) == [(5, 1, 1), (3, 0, 0)]
    assert again.tally.next_seed("near", "filter-on") == seeds(5, 1)[0]
    assert [line.signed.statement.predicate["from"] for line in register.lines[1:]] == [0, 3, 6, 7]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seed": seeds(1, 1)[0]}, ContractError, "^near, filter-on: seed 2000000001 is not"),
        ({"seed": True}, ContractError, "is not the one that is due"),
        ({"stratum": "far"}, UnknownName, "unknown stratum 'far'"),
        ({"arm": "off"}, UnknownName, "unknown arm 'off'"),
        ({"failed": {}}, ContractError, "expected True, False or None"),
        ({"failed": {"violation": 0}}, ContractError, "expected True, False or None"),
        ({"failed": {"violation": "no"}}, ContractError, "expected True, False or None"),
        (
            {"failed": {"violation": False, "task-failure": False}},
            ContractError,
            "expected True, False or None",
        ),
        ({"failed": {"task-failure": False}}, ContractError, "expected True, False or None"),
    ],
)
def test_a_trial_that_the_plan_does_not_foresee_is_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    register = ListRegister()
    campaign = opened(plan(), register)
    with pytest.raises(error, match=message):
        campaign.record(first_trial(**change))
    assert len(register.lines) == 1
    assert counts(campaign) == [(0, 0, 0), (0, 0, 0)]


def test_every_outcome_of_a_trial_is_checked() -> None:
    campaign = opened(plan(aims=level_aims("D", task_failure=0.5)), ListRegister())
    with pytest.raises(ContractError, match=r"^near, filter-on: outcomes \{"):
        campaign.record(first_trial(failed={"violation": False, "task-failure": 1}))


def test_no_trial_of_a_look_counts_if_one_is_refused() -> None:
    campaign = opened(plan(), ListRegister())
    good = trials(campaign, "near", "filter-on", 2)
    with pytest.raises(ContractError):
        campaign.record(*good, good[0])
    assert counts(campaign)[0] == (0, 0, 0)
    campaign.record(*good)
    assert counts(campaign)[0] == (2, 0, 0)
    with pytest.raises(InvalidConfig, match="without trials"):
        campaign.record()


def test_a_seed_is_run_once_in_an_arm_and_never_skipped() -> None:
    campaign = opened(plan(strata=(stratum(count=2),)), ListRegister())
    campaign.record(*trials(campaign, "near", "filter-off", 2))
    assert campaign.tally.next_seed("near", "filter-off") is None
    assert campaign.tally.next_seed("near", "filter-on") == seeds(0, 1)[0]
    with pytest.raises(ContractError, match=r"the one that is due \(None\)"):
        campaign.record(first_trial(arm="filter-off", seed=seeds(2, 1)[0]))


def test_the_cells_are_counted_apart() -> None:
    both = (stratum(), stratum("far", 500))
    campaign = opened(plan(strata=both, aims=level_aims("D", task_failure=0.3)), ListRegister())
    campaign.record(*trials(campaign, "far", "filter-off", 2, True))
    two = {"violation": False, "task-failure": True}
    campaign.record(*[replace(t, failed=two) for t in trials(campaign, "near", "filter-on", 3)])
    assert {(c.kind, c.stratum, c.arm): (c.episodes, c.failed) for c in campaign.claims()} == {
        ("violation", "near", "filter-on"): (3, 0),
        ("task-failure", "near", "filter-on"): (3, 3),
        ("violation", "near", "filter-off"): (0, 0),
        ("violation", "far", "filter-on"): (0, 0),
        ("task-failure", "far", "filter-on"): (0, 0),
        ("violation", "far", "filter-off"): (2, 2),
    }
    assert {claim.alpha for claim in campaign.claims()} == {campaign.plan.claim_alpha}


def test_a_campaign_without_failures_shows_all_claims() -> None:
    campaign = opened(plan(), ListRegister())
    assert campaign.standing()[0] == "open"
    assert campaign.tally.open_cells() == campaign.plan.cells
    enough = next(
        n
        for n in range(1000)
        if plan().claim(plan().aims[0], "near", episodes=n, failed=0, unknown=0).is_met
    )
    campaign.record(*trials(campaign, "near", "filter-on", enough))
    assert campaign.tally.open_cells() == (("near", "filter-off"),)
    campaign.record(*trials(campaign, "near", "filter-off", enough - 1))
    standing, why = campaign.standing()
    assert standing == "open"
    assert why.startswith("1 claims are open, such as violation, near, filter-off: 0 failed")
    campaign.record(*trials(campaign, "near", "filter-off", 1))
    assert campaign.standing() == ("shown", "all 2 claims are shown")
    assert campaign.tally.open_cells() == ()


def test_a_bad_stratum_is_not_hidden_by_a_good_one() -> None:
    both = (stratum(), stratum("far", 500))
    campaign = opened(plan(strata=both), ListRegister())
    for name, arm in campaign.plan.cells:
        campaign.record(*trials(campaign, name, arm, 190))
    assert campaign.standing()[0] == "shown"
    campaign.record(*trials(campaign, "far", "filter-on", 9, True))
    standing, why = campaign.standing()
    assert standing == "lost"
    assert why.startswith("out of reach within 200 episodes: violation, far, filter-on: 9 failed")


def test_a_claim_is_lost_only_when_no_success_could_save_it() -> None:
    few = plan(strata=(stratum(count=120),))
    enough = next(
        n
        for n in range(1000)
        if few.claim(few.aims[0], "near", episodes=n, failed=0, unknown=0).is_met
    )
    just = opened(plan(strata=(stratum(count=enough),)), ListRegister())
    assert just.standing()[0] == "open"
    assert opened(plan(strata=(stratum(count=enough - 1),)), ListRegister()).standing()[0] == "lost"
    just.record(*trials(just, "near", "filter-off", 1, True))
    assert just.standing()[0] == "lost"


def test_unknown_outcomes_block_past_the_declared_share() -> None:
    campaign = opened(plan(max_unknown_share=0.02), ListRegister())
    campaign.record(*trials(campaign, "near", "filter-off", 4, None))  # 2 % of 200 planned
    assert campaign.standing()[0] != "blocked"
    campaign.record(*trials(campaign, "near", "filter-off", 1, None))
    standing, why = campaign.standing()
    assert standing == "blocked"
    assert why.startswith(
        "near, filter-off: 5 of 5 episodes have no known outcome, more than 2% of 200"
    )
    assert why.endswith("; find out why")


def test_an_arm_stands_for_itself_whichever_comes_first() -> None:
    campaign = opened(plan(max_unknown_share=0.02), ListRegister())
    first, second = (arm for _, arm in campaign.plan.cells)
    campaign.record(*trials(campaign, "near", second, 5, None))
    assert campaign.tally.standing([second])[0] == "blocked"
    assert campaign.tally.standing([first])[0] == "open"
    assert campaign.tally.open_cells([first]) == (("near", first),)


def test_unknown_outcomes_of_any_kind_block() -> None:
    aims = level_aims("D", task_failure=0.5)
    campaign = opened(plan(aims=aims, max_unknown_share=0.0), ListRegister())
    half = {"violation": False, "task-failure": None}
    campaign.record(first_trial(failed=half))
    assert campaign.standing()[0] == "blocked"


def test_a_claim_waits_while_too_many_of_its_outcomes_are_unknown() -> None:
    aims = (*level_aims("D"), Aim(kind="task-failure", arm="filter-on", bound=0.9))
    campaign = opened(plan(aims=aims, max_unknown_share=0.1), ListRegister())
    campaign.record(
        *[
            replace(trial, failed={"violation": False, "task-failure": None if i < 2 else False})
            for i, trial in enumerate(trials(campaign, "near", "filter-on", 19))
        ]
    )
    task = next(claim for claim in campaign.claims() if claim.kind == "task-failure")
    assert task.is_met
    assert not campaign.tally.is_met(task)  # 2 of 19 is more than a tenth
    campaign.record(
        *[
            replace(t, failed=dict.fromkeys(t.failed, False))
            for t in trials(campaign, "near", "filter-on", 1)
        ]
    )
    task = next(claim for claim in campaign.claims() if claim.kind == "task-failure")
    assert campaign.tally.is_met(task)


def test_an_end_is_for_ever() -> None:
    register = ListRegister()
    campaign = opened(plan(), register)
    with pytest.raises(InvalidConfig, match="abandoned with a reason only; 2 claims are open"):
        campaign.end()
    with pytest.raises(InvalidConfig, match="with a reason only"):
        campaign.end(" ")
    assert campaign.end("the robot was sold") == "the robot was sold"
    for again in (campaign, Campaign(plan(), register, ADA)):
        assert again.ended == "the robot was sold"
        with pytest.raises(NotCertified, match=r"has ended \(the robot was sold\)"):
            again.record(first_trial())
        with pytest.raises(NotCertified, match="has ended"):
            again.end("again")


def test_a_campaign_that_is_decided_ends_without_being_told_why() -> None:
    campaign = opened(plan(), ListRegister())
    run(campaign, 150)
    assert campaign.end() == "shown: all 2 claims are shown"


def log(register: ListRegister, key: object = ADA, **predicate: object) -> None:
    """Put a look into the register past the campaign."""
    usual = {"plan": plan().digest, "trials": [], "ended": None}
    statement = Statement(kind="look/v1", subjects={}, predicate={**usual, **predicate})  # type: ignore[dict-item]
    register.append(Signed.by(statement, key))  # type: ignore[arg-type]


def test_the_account_is_what_the_register_says() -> None:
    register = ListRegister()
    campaign = opened(plan(), register)
    run(campaign, 2)
    campaign.end("enough")
    account = read_account(plan().digest, register)
    assert (account.plan, account.signer, account.ended) == (plan(), ADA.id, "enough")
    assert account.tally.claims() == campaign.claims()
    looks = [line.signed.statement.digest for line in register.lines[1:]]
    assert account.logged == digest_json(looks)


def test_looks_of_other_plans_do_not_count() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    log(register, plan="f" * 64, trials=[first_trial().to_json()])
    assert read_account(plan().digest, register).tally.claims()[0].episodes == 0
    log(register, trials=[first_trial().to_json()])
    assert read_account(plan().digest, register).tally.claims()[0].episodes == 1


def test_looks_with_another_key_are_refused() -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    log(register, BOB, trials=[first_trial().to_json()])
    with pytest.raises(Untrusted, match=r"entry 2 logs plan .* with another key"):
        read_account(plan().digest, register)


def test_looks_after_the_end_are_refused() -> None:
    register = ListRegister()
    opened(plan(), register).end("given up")
    log(register, trials=[first_trial().to_json()])
    with pytest.raises(DamagedData, match=r"entry 3 logs plan .*, which had ended"):
        read_account(plan().digest, register)


@pytest.mark.parametrize(
    "predicate",
    [
        {"trials": None},
        {"trials": "x"},
        {"trials": [3]},
        {"trials": [{}]},
        {"trials": [{**first_trial().to_json(), "more": 1}]},
        {"trials": [{**first_trial().to_json(), "failed": 3}]},
        {"trials": [first_trial(seed=seeds(1, 1)[0]).to_json()]},
        {"trials": [first_trial().to_json()] * 2},
        {"trials": [first_trial(stratum="x").to_json()]},
        {"ended": 3},
    ],
)
def test_looks_that_do_not_follow_the_plan_are_refused(predicate: dict[str, object]) -> None:
    register = ListRegister()
    register_plan(plan(), register, ADA)
    log(register, **predicate)
    with pytest.raises(DamagedData):
        read_account(plan().digest, register)


def test_a_tally_needs_no_register() -> None:
    tally = Tally(plan=plan())
    tally.add(first_trial())
    assert first_trial().evidence == ""
    with pytest.raises(ContractError):
        tally.add(first_trial())
    assert tally.claims()[0].episodes == 1
