from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from certificate_parts import (
    ADA,
    BOB,
    DAY_S,
    EVE,
    NOW_S,
    RING,
    ListRegister,
    holder,
    identity,
    opened,
    plan,
    run,
    shown,
    trials,
)

from loopwright.core.errors import DamagedData, InvalidConfig, NotCertified, UnknownName, Untrusted
from loopwright.core.scenario import Box
from loopwright.safety.certificate.campaign import Campaign, read_account
from loopwright.safety.certificate.claims import Aim
from loopwright.safety.certificate.document import Certificate, Degraded
from loopwright.safety.certificate.issue import approve, issue
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.statement import Signed, Statement

NO_CAMERA = Degraded(
    absent=("wrist camera",), category="C", filter="f" * 64, condition="one person watches"
)


@pytest.fixture
def register() -> ListRegister:
    return ListRegister()


def drawn_up(register: ListRegister, **changes: object) -> Signed:
    usual: dict[str, object] = {"identity": identity(), "now_s": NOW_S, "key": ADA}
    arguments = {**usual, **changes}
    return issue(plan().digest, register, arguments.pop("key"), **arguments)  # type: ignore[arg-type]


def test_a_certificate_says_what_the_register_says(register: ListRegister) -> None:
    shown(register)
    signed = drawn_up(register, valid_days=30, degraded=[NO_CAMERA])
    certificate = Certificate.from_statement(signed.statement)
    assert signed.statement.kind == "certificate/v1"
    account = read_account(plan().digest, register)
    assert certificate == Certificate(
        identity=identity(),
        scenario="reach-v1",
        level="D",
        domain={"near": Box(low={"x_m": 0.0}, high={"x_m": 1.0})},
        claims=account.tally.claims(),
        alpha=0.05,
        attempt=1,
        plan=plan().digest,
        logged=account.logged,
        issued_s=NOW_S,
        expires_s=NOW_S + 30 * DAY_S,
        degraded=(NO_CAMERA,),
    )
    assert signed.statement.subjects == {
        **identity().subjects,
        "plan": plan().digest,
        "logged": account.logged,
    }
    assert [name for name, _ in signed.signatures] == [ADA.id]
    assert certificate.digest == signed.statement.digest


def test_a_certificate_is_valid_for_ninety_days_unless_said_otherwise(
    register: ListRegister,
) -> None:
    shown(register)
    certificate = Certificate.from_statement(drawn_up(register).statement)
    assert certificate.expires_s == NOW_S + 90 * DAY_S
    assert certificate.degraded == ()


def test_no_certificate_without_a_plan(register: ListRegister) -> None:
    with pytest.raises(NotCertified, match="is not registered"):
        drawn_up(register)


def test_no_certificate_while_a_claim_is_open_or_lost(register: ListRegister) -> None:
    campaign = opened(plan(), register)
    with pytest.raises(NotCertified, match="is open: 2 claims are open"):
        drawn_up(register)
    run(campaign, 150)
    drawn_up(register)
    campaign.record(*trials(campaign, "near", "filter-on", 20, True))
    with pytest.raises(NotCertified, match="is lost"):
        drawn_up(register)


@pytest.mark.parametrize("part", ["candidate", "scenario", "robot", "filter", "build"])
def test_no_certificate_for_something_else_than_was_tested(
    register: ListRegister, part: str
) -> None:
    shown(register)
    with pytest.raises(NotCertified, match=f"^{part} is not what was tested"):
        drawn_up(register, identity=identity(**{part: "x"}))
    signed = drawn_up(register)
    with pytest.raises(NotCertified, match=f"^{part} is not what was tested"):
        approve(signed, register, RING, BOB, identity=identity(**{part: "x"}), now_s=NOW_S)


def test_who_registered_the_plan_proposes_the_certificate(register: ListRegister) -> None:
    shown(register)
    with pytest.raises(Untrusted, match=f"registered with key {ADA.id}, not {EVE.id}"):
        drawn_up(register, key=EVE)


def test_another_person_approves(register: ListRegister) -> None:
    shown(register)
    approved = approve(
        drawn_up(register), register, RING, BOB, identity=identity(), now_s=NOW_S + 1
    )
    people = approved.require(RING, "proposer", "approver")
    assert [person.person for person in people] == ["Ada", "Bob"]


def test_nobody_approves_alone() -> None:
    register = ListRegister()
    shown(register, EVE)
    signed = drawn_up(register, key=EVE)
    with pytest.raises(Untrusted, match="different people with different keys"):
        approve(signed, register, RING, EVE, identity=identity(), now_s=NOW_S)
    second = SigningKey.new()
    ring = KeyRing([*RING, holder("eve", second, "approver")])
    with pytest.raises(Untrusted, match="different people with different keys"):
        approve(signed, register, ring, second, identity=identity(), now_s=NOW_S)


def test_a_proposer_does_not_approve(register: ListRegister) -> None:
    shown(register)
    other = SigningKey.new()
    ring = KeyRing([*RING, holder("Tim", other, "proposer", "operator", "authority")])
    with pytest.raises(Untrusted, match="needs the signatures of proposer and approver"):
        approve(drawn_up(register), register, ring, other, identity=identity(), now_s=NOW_S)


def test_an_approver_signs_what_the_register_says_and_nothing_else(
    register: ListRegister,
) -> None:
    shown(register)
    certificate = Certificate.from_statement(drawn_up(register).statement)
    better = tuple(replace(c, episodes=10_000) for c in certificate.claims)
    wider = {"near": Box(low={}, high={})}
    for change in (
        {"claims": better},
        {"level": "B"},
        {"domain": wider},
        {"logged": "0" * 64},
        {"scenario": "other-v1"},
        {"alpha": 0.04},
        {"attempt": 2},
    ):
        forged = Signed.by(replace(certificate, **change).statement(), ADA)
        with pytest.raises(NotCertified, match="something else than the register"):
            approve(forged, register, RING, BOB, identity=identity(), now_s=NOW_S)
    other = replace(certificate, identity=identity(filter="x"))
    with pytest.raises(NotCertified, match="something else than the register"):
        approve(
            Signed.by(other.statement(), ADA), register, RING, BOB, identity=identity(), now_s=NOW_S
        )


def test_an_approver_signs_no_plan_of_somebody_else(register: ListRegister) -> None:
    shown(register)
    stolen = Signed.by(drawn_up(register).statement, EVE)
    with pytest.raises(Untrusted, match=f"signed with key {EVE.id}, its plan with {ADA.id}"):
        approve(stolen, register, RING, BOB, identity=identity(), now_s=NOW_S)


def test_episodes_logged_after_the_proposal_must_be_in_it(register: ListRegister) -> None:
    shown(register)
    signed = drawn_up(register)
    campaign = Campaign(plan(), register, ADA)
    campaign.record(*trials(campaign, "near", "filter-on", 1))
    with pytest.raises(NotCertified, match="something else than the register"):
        approve(signed, register, RING, BOB, identity=identity(), now_s=NOW_S)
    campaign.record(*trials(campaign, "near", "filter-on", 20, True))
    with pytest.raises(NotCertified, match="is lost"):
        approve(signed, register, RING, BOB, identity=identity(), now_s=NOW_S)


@pytest.mark.parametrize("moment_s", [NOW_S - 1, NOW_S + 90 * DAY_S, NOW_S + 91 * DAY_S])
def test_a_certificate_is_approved_in_its_time(register: ListRegister, moment_s: float) -> None:
    shown(register)
    signed = drawn_up(register)
    with pytest.raises(NotCertified, match="is not valid at"):
        approve(signed, register, RING, BOB, identity=identity(), now_s=moment_s)


def test_a_signature_that_does_not_hold_is_not_approved(register: ListRegister) -> None:
    shown(register)
    signed = drawn_up(register)
    forged = Signed(statement=signed.statement, signatures=((ADA.id, bytes(64)),))
    with pytest.raises(Untrusted, match="does not fit"):
        approve(forged, register, RING, BOB, identity=identity(), now_s=NOW_S)


def test_what_is_no_certificate_is_not_approved(register: ListRegister) -> None:
    shown(register)
    other = Signed.by(Statement(kind="rule/v1", subjects={}, predicate={}), ADA)
    with pytest.raises(DamagedData, match="this is a rule/v1, no certificate/v1"):
        approve(other, register, RING, BOB, identity=identity(), now_s=NOW_S)


# -- the document ---------------------------------------------------------------------------------


def certificate(**changes: object) -> Certificate:
    register = ListRegister()
    shown(register)
    usual = Certificate.from_statement(drawn_up(register, degraded=[NO_CAMERA]).statement)
    return replace(usual, **changes)  # type: ignore[arg-type]


def test_a_certificate_comes_back_equal() -> None:
    one = certificate()
    assert Certificate.from_json(one.to_json()) == one
    assert Certificate.from_statement(one.statement()) == one


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {}},
        {"domain": 3},
        {"domain": {"near": {"low": {"x": 2}, "high": {"x": 1}}}},
        {"domain": {}},
        {"claims": []},
        {"claims": [{}]},
        {"claims": None},
        {"level": "A"},
        {"level": "E"},
        {"alpha": 0.06},
        {"alpha": 0},
        {"attempt": 0},
        {"expires_s": NOW_S},
        {"expires_s": "never"},
        {"degraded": [{"absent": ["x"]}]},
        {"more": 1},
    ],
)
def test_what_is_no_certificate_is_refused(change: dict[str, object]) -> None:
    data = certificate().to_json()
    with pytest.raises(DamagedData):
        Certificate.from_json({**data, **change})
    del data["plan"]
    with pytest.raises(DamagedData, match="no certificate"):
        Certificate.from_json(data)


def test_subjects_that_are_not_what_it_speaks_of_are_refused() -> None:
    statement = certificate().statement()
    for subjects in ({}, {**statement.subjects, "filter": "0" * 64}):
        other = Statement(kind=statement.kind, subjects=subjects, predicate=statement.predicate)
        with pytest.raises(DamagedData, match="the subjects of this certificate"):
            Certificate.from_statement(other)


def test_a_certificate_holds_for_a_year_at_most() -> None:
    assert certificate(expires_s=NOW_S + 365 * DAY_S)
    assert certificate(expires_s=NOW_S + 1)
    for expires_s in (NOW_S + 365 * DAY_S + 1, NOW_S, NOW_S - 1):
        with pytest.raises(InvalidConfig, match="at most 365 days"):
            certificate(expires_s=expires_s)


def test_the_error_budget_of_a_certificate_is_bounded() -> None:
    for change in ({"alpha": 0.051}, {"alpha": 0.0}, {"attempt": 0}):
        with pytest.raises(InvalidConfig, match="error budget"):
            certificate(**change)


def test_what_was_shown_without_the_filter_is_a_level_of_its_own() -> None:
    one = certificate()
    assert one.level_without_filter == "D"

    def bounds(*values: float | None) -> Certificate:
        off = next(claim for claim in one.claims if claim.arm == "filter-off")
        other = tuple(replace(off, bound=value, kind="violation") for value in values)
        return replace(one, claims=other)

    assert bounds(0.001).level_without_filter == "B"
    assert bounds(0.001, 0.01).level_without_filter == "C"
    assert bounds(0.001, 0.2).level_without_filter is None
    assert bounds(0.001, None).level_without_filter is None
    only_on = tuple(claim for claim in one.claims if claim.arm == "filter-on")
    assert replace(one, claims=only_on).level_without_filter is None
    task = replace(one.claims[1], kind="task-failure", bound=0.001)
    assert replace(one, claims=(*one.claims, task)).level_without_filter == "D"


def test_it_holds_inside_its_operating_domain() -> None:
    one = certificate()
    assert one.covers({"x_m": 0.5})
    assert one.covers({"x_m": 1.0, "y_m": 3.0})
    assert not one.covers({"x_m": 1.1})
    assert not one.covers({"y_m": 0.5})
    two = certificate(domain={**one.domain, "far": Box(low={"x_m": 2.0}, high={"x_m": 3.0})})
    assert [two.covers({"x_m": x}) for x in (0.5, 1.5, 2.5)] == [True, False, True]


def test_what_may_be_off_is_listed_exactly() -> None:
    for absent in ((), ("b", "a"), ("a", "a")):
        with pytest.raises(InvalidConfig, match="expected names, sorted, each once"):
            replace(NO_CAMERA, absent=absent)
    with pytest.raises(UnknownName, match="category"):
        replace(NO_CAMERA, category="A")
    with pytest.raises(InvalidConfig, match="two entries for the same"):
        certificate(degraded=(NO_CAMERA, replace(NO_CAMERA, category="D")))


@pytest.mark.parametrize(("category", "days"), [("B", 3), ("C", 10), ("D", 120)])
def test_calendar_days_do_not_count_the_day_of_discovery(category: str, days: int) -> None:
    item = replace(NO_CAMERA, category=category)
    discovered = date(2027, 1, 1)
    midnight_s = 1_798_761_600.0  # 2027-01-01 00:00 UTC
    assert not item.may_run_at(discovered, midnight_s - 1)
    assert item.may_run_at(discovered, midnight_s)
    assert item.may_run_at(discovered, midnight_s + (days + 1) * DAY_S - 1)
    assert not item.may_run_at(discovered, midnight_s + (days + 1) * DAY_S)


def test_a_certificate_may_claim_more_than_its_level(register: ListRegister) -> None:
    aims = (
        Aim(kind="violation", arm="filter-on", bound=0.04),
        Aim(kind="violation", arm="filter-off", bound=None, episodes=30),
    )
    one = plan(aims=aims)
    campaign = opened(one, register)
    campaign.record(*trials(campaign, "near", "filter-on", 170))
    campaign.record(*trials(campaign, "near", "filter-off", 30, True))
    signed = issue(one.digest, register, ADA, identity=identity(), now_s=NOW_S)
    certificate = Certificate.from_statement(signed.statement)
    assert certificate.level_without_filter is None
    assert certificate.claims[1].failed == 30
