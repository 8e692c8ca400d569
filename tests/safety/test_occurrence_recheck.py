"""Old certificates under new scenarios: failing ones are suspended, unknown ones are no pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trolley
from register_site import digest_of
from trolley import CLAMP_ONLY, Ground, gently, limits

from loopwright.core.errors import NotCertified, Untrusted
from loopwright.core.scenario import Box
from loopwright.safety.certificate.claims import Claim
from loopwright.safety.certificate.document import Certificate, Degraded
from loopwright.safety.certificate.identity import Identity, robot_digest
from loopwright.safety.certificate.verify import SUSPENSION, suspended, verify_certificate
from loopwright.safety.ladder import ALL, Rungs
from loopwright.safety.occurrence.configuration import Configuration
from loopwright.safety.occurrence.opening import make_scenario, open_occurrence
from loopwright.safety.occurrence.recheck import (
    RECHECK,
    note,
    read_suite,
    recheck,
    run_suite,
    suspend,
)
from loopwright.safety.statement import Signed, Statement

NOW_S = 1_800_000_000.0
BODY = trolley.make_body()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """A site with one scenario in its suite: a trolley that went through the wall."""
    made = Ground(tmp_path)
    opened = open_occurrence(made.fly(), made.site, now_s=NOW_S, heads=made.heads)
    assert opened is not None
    make_scenario(opened, made.site)
    yield made
    made.register.close()


def filter_of(rungs: Rungs, **changes: Any) -> str:
    return Configuration(limits=limits(**changes), rungs=rungs).make_filter(BODY).digest


def certify(
    ground: Ground, filter_digest: str, *, robot: str = "", days: float = 90, stand_in: str = ""
) -> Signed:
    """Register a certificate of a trolley with a filter."""
    plan = ground.people.signed(
        Statement(kind="test-plan/v1", subjects={}, predicate={"filter": filter_digest}), "proposer"
    )
    if ground.register.find(plan.statement.digest) is None:
        ground.register.append(plan)
    claim = Claim(
        kind="violation", stratum="all", arm="filter-on", bound=0.05, least_episodes=1,
        alpha=0.05, episodes=100, failed=0, unknown=0,
    )  # fmt: skip
    identity = Identity(
        candidate=digest_of("candidate"),
        scenario=digest_of("scenario"),
        robot=robot or robot_digest(BODY.spec, trolley.ENTRY),
        filter=filter_digest,
        build=digest_of("build"),
    )
    certificate = Certificate(
        identity=identity, scenario="reach-v1", level="D", domain={"all": Box(low={}, high={})},
        claims=(claim,), alpha=0.05, attempt=1, plan=plan.statement.digest,
        logged=digest_of("logged"), issued_s=NOW_S, expires_s=NOW_S + days * 86_400,
        degraded=(
            (Degraded(absent=("scale",), category="C", filter=stand_in, condition="unladen"),)
            if stand_in
            else ()
        ),
    )  # fmt: skip
    signed = ground.people.signed(certificate.statement(), "proposer", "approver")
    ground.register.append(signed)
    return signed


def test_every_certificate_in_force_gets_its_verdict(ground: Ground) -> None:
    bad, good = certify(ground, filter_of(CLAMP_ONLY)), certify(ground, filter_of(ALL))
    unknown = certify(ground, digest_of("filter of another version"))
    certify(ground, filter_of(CLAMP_ONLY), days=1)
    certify(ground, digest_of("elsewhere"), robot=digest_of("another robot"))
    suite = read_suite(ground.site.suite, ground.register)
    verdicts = recheck(ground.register, suite, NOW_S + 2 * 86_400)
    assert {verdict.certificate: verdict.state for verdict in verdicts} == {
        bad.statement.digest: "fails",
        good.statement.digest: "passes",
        unknown.statement.digest: "undecided",
    }
    authority = ground.people.keys["authority"]
    (number,) = suspend(ground.register, verdicts, authority)
    assert "wall happens again" in str(ground.register.entry(number).statement.predicate["reason"])
    revoked = suspended(ground.register.statements(SUSPENSION))
    assert revoked == {bad.statement.digest}
    identity = Certificate.from_statement(bad.statement).identity
    with pytest.raises(NotCertified, match="is suspended"):
        verify_certificate(bad, ground.people.ring, identity, NOW_S, revoked=revoked)


def test_a_suspension_is_not_repeated_and_a_pass_is_noted_once(ground: Ground) -> None:
    certify(ground, filter_of(CLAMP_ONLY))
    good = certify(ground, filter_of(ALL))
    suite = read_suite(ground.site.suite, ground.register)
    authority = ground.people.keys["authority"]
    verdicts = recheck(ground.register, suite, NOW_S)
    assert len(suspend(ground.register, verdicts, authority)) == 1
    (number,) = note(ground.register, verdicts, authority)
    noted = ground.register.entry(number)
    assert (noted.kind, noted.statement.predicate["certificate"]) == (
        RECHECK,
        good.statement.digest,
    )
    assert suspend(ground.register, verdicts, authority) == ()
    assert note(ground.register, verdicts, authority) == ()
    assert [v.state for v in recheck(ground.register, suite, NOW_S)] == ["passes"]


def test_only_an_authority_or_an_approver_suspends(ground: Ground) -> None:
    certify(ground, filter_of(CLAMP_ONLY))
    verdicts = recheck(ground.register, read_suite(ground.site.suite, ground.register), NOW_S)
    with pytest.raises(Untrusted):
        suspend(ground.register, verdicts, ground.people.keys["operator"])


def test_a_configuration_that_is_told_is_tried(ground: Ground) -> None:
    slow = Configuration(limits=limits(headroom=0.8))
    certify(ground, slow.make_filter(BODY).digest)
    suite = read_suite(ground.site.suite, ground.register)
    assert [v.state for v in recheck(ground.register, suite, NOW_S)] == ["undecided"]
    assert [v.state for v in recheck(ground.register, suite, NOW_S, [slow])] == ["passes"]


def test_what_may_stand_in_for_a_filter_is_tried_too(ground: Ground) -> None:
    certify(ground, filter_of(ALL), stand_in=filter_of(CLAMP_ONLY))
    suite = read_suite(ground.site.suite, ground.register)
    (verdict,) = recheck(ground.register, suite, NOW_S)
    assert (verdict.state, verdict.suspends) == ("fails", True)


def test_a_filter_that_would_never_have_come_there_is_not_condemned(ground: Ground) -> None:
    """The scenario begins at 0.6 m/s, which the slow filter does not allow."""
    slow = Configuration(limits=limits(speed=(0.1, 1.0)), rungs=CLAMP_ONLY)
    certify(ground, slow.make_filter(BODY).digest)
    suite = read_suite(ground.site.suite, ground.register)
    (verdict,) = recheck(ground.register, suite, NOW_S, [slow])
    assert (verdict.state, verdict.suspends) == ("undecided", False)
    assert "would not have let the robot come" in verdict.why


def test_a_brake_that_trips_suspends_nothing(tmp_path: Path) -> None:
    ground = Ground(tmp_path)
    entry = trolley.RobotEntry(
        body=trolley.ENTRY.body, plant=trolley.ENTRY.plant, config={"drift_m_s": 0.4}
    )
    full = Configuration(limits=limits())
    path = ground.fly("drifting", gently, configuration=full, entry=entry)
    opened = open_occurrence(path, ground.site, now_s=NOW_S, heads=ground.heads)
    assert opened is not None
    make_scenario(opened, ground.site)
    certify(ground, filter_of(ALL))
    suite = read_suite(ground.site.suite, ground.register)
    (verdict,) = recheck(ground.register, suite, NOW_S)
    assert (verdict.state, verdict.suspends) == ("fails", False)
    ((_, report),) = run_suite(suite)
    assert not isinstance(report, str)
    assert report.holds
    ground.register.close()


@pytest.mark.parametrize("what", ["gone", "altered"])
def test_a_suite_is_held_against_the_register(ground: Ground, what: str) -> None:
    (path,) = ground.site.suite.iterdir()
    raw = path.read_text()
    path.unlink()
    if what == "altered":
        path.write_text(raw.replace('"event_after":', '"event_after": '))
    suite = read_suite(ground.site.suite, ground.register)
    assert suite.members == ()
    assert f"{path.name} (entry 3) is missing or was altered" in suite.problems
    assert len(suite.problems) == (2 if what == "altered" else 1)


def test_a_scenario_that_cannot_be_run_is_reported(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    certify(ground, filter_of(ALL))
    suite = read_suite(ground.site.suite, ground.register)
    monkeypatch.delattr(trolley, "make_plant")
    ((_, report),) = run_suite(suite)
    assert isinstance(report, str)
    assert "make_plant" in report
    (verdict,) = recheck(ground.register, suite, NOW_S)
    assert verdict.state == "undecided"
