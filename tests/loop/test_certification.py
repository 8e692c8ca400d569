"""The whole way of a certificate on the smallest rig, with the register that sites use."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loopwright.cli import main
from loopwright.core.errors import InvalidConfig, NotCertified, UnknownName, Untrusted
from loopwright.core.scenario import split_seed
from loopwright.loop import certification
from loopwright.loop.certification import (
    FIRST_SEED,
    Request,
    find_rig,
    open_campaign,
    open_subject,
    plan_for,
    run_campaign,
)
from loopwright.models.linear.policy import save
from loopwright.safety.body import Measured
from loopwright.safety.certificate.issue import approve, issue
from loopwright.safety.certificate.verify import open_for_deployment
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.safety.limits import KeepOut, Wall
from loopwright.safety.occurrence.violation import LimitWatch
from loopwright.safety.register import Register
from loopwright.scenarios.point.safety import LIMITS, PointBody
from loopwright.scenarios.registry import get_scenario

ADA, BOB, EVE = SigningKey.new(), SigningKey.new(), SigningKey.new()
RING = KeyRing(
    [
        Holder(person="Ada", public=ADA.public, roles=frozenset({"proposer"})),
        Holder(person="Bob", public=BOB.public, roles=frozenset({"approver"})),
        Holder(person="Eve", public=EVE.public, roles=frozenset({"authority"})),
    ]
)
TO_THE_GOAL = np.array([[-4.0, 0, 4, 0, 0], [0, -4.0, 0, 4, 0]])
TO_THE_EDGE = np.array([[0.0, 0, 0, 0, 1], [0.0, 0, 0, 0, 0]])


def candidate(folder: Path, weights: np.ndarray = TO_THE_GOAL) -> Path:
    folder.mkdir()
    save(folder, weights, get_scenario("point-reach-v1").interface, {})
    return folder


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return Register.create(tmp_path / "register", RING, EVE)


def silent(fraction: float, message: str) -> None:
    assert 0 <= fraction <= 1


def test_from_a_plan_to_a_certificate_that_may_be_deployed(
    tmp_path: Path, register: Register
) -> None:
    request = Request(candidate=candidate(tmp_path / "good"), scenario="point-reach-v1")
    subject = open_subject(request)
    campaign = open_campaign(request, subject, register, ADA)
    assert run_campaign(campaign, subject, silent) == "shown"
    about = subject.identity
    signed = issue(campaign.plan.digest, register, ADA, identity=about, now_s=1e9)
    with pytest.raises(Untrusted):
        register.append(signed)
    approved = approve(signed, register, RING, BOB, identity=about, now_s=1e9)
    register.append(approved)
    path = tmp_path / "certificate.json"
    path.write_text(json.dumps(approved.to_json()))
    held = open_for_deployment(request.candidate, path, ring=RING, identity=about, now_s=1e9)
    assert (held.level, held.level_without_filter, held.attempt) == ("D", "D", 1)
    assert held.covers(subject.scenario.start(7))
    (request.candidate / "more.json").touch()
    with pytest.raises(NotCertified, match=r"^candidate is not"):
        open_for_deployment(request.candidate, path, ring=RING, identity=about, now_s=1e9)


def test_the_filter_makes_the_difference_and_both_are_counted(
    tmp_path: Path, register: Register
) -> None:
    reckless = candidate(tmp_path / "reckless", TO_THE_EDGE)
    request = Request(candidate=reckless, scenario="point-reach-v1", unfiltered=10)
    subject = open_subject(request)
    campaign = open_campaign(request, subject, register, ADA)
    assert run_campaign(campaign, subject, silent) == "shown"
    counted = {claim.arm: claim for claim in campaign.claims()}
    assert counted["filter-on"].failed == 0
    # A goal on the way ends an episode before the point runs out of its limits.
    assert counted["filter-off"].failed >= 8
    assert counted["filter-off"].episodes == 10


def test_a_candidate_that_fails_ends_its_campaign_and_the_next_plan_owns_up(
    tmp_path: Path, register: Register
) -> None:
    reckless = candidate(tmp_path / "reckless", TO_THE_EDGE)
    request = Request(candidate=reckless, scenario="point-reach-v1", episodes=120)
    subject = open_subject(request)
    first = open_campaign(request, subject, register, ADA)
    assert run_campaign(first, subject, silent) == "lost"
    with pytest.raises(NotCertified, match="is lost"):
        issue(first.plan.digest, register, ADA, identity=subject.identity, now_s=1e9)
    second = open_campaign(request, subject, register, ADA)
    assert second.plan.attempt == 2
    assert second.plan.previous == (first.plan.digest,)
    assert not second.plan.seeds & first.plan.seeds
    assert min(first.plan.seeds) == split_seed("sealed", FIRST_SEED)


def test_a_campaign_that_was_cut_short_goes_on(tmp_path: Path, register: Register) -> None:
    request = Request(candidate=candidate(tmp_path / "good"), scenario="point-reach-v1")
    subject = open_subject(request)
    campaign = open_campaign(request, subject, register, ADA)

    def interrupt(fraction: float, message: str) -> None:
        if message.startswith("20 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_campaign(campaign, subject, interrupt)
    again = open_campaign(request, subject, register, ADA)
    assert again.plan == campaign.plan
    assert again.tally.episodes == 20
    # Somebody who wants something else gets another plan.
    other = open_campaign(replace(request, task_failure=0.5), subject, register, ADA)
    assert other.plan.attempt == 2


def test_strata_divide_the_domain(tmp_path: Path, register: Register) -> None:
    request = Request(
        candidate=candidate(tmp_path / "good"),
        scenario="point-reach-v1",
        strata={"goal_x_m": 2, "goal_y_m": 2},
        episodes=5,
    )
    plan = plan_for(request, open_subject(request), register)
    scenario = get_scenario("point-reach-v1")
    assert [stratum.name for stratum in plan.strata] == [
        f"goal_x_m {x}/2 goal_y_m {y}/2" for x in (1, 2) for y in (1, 2)
    ]
    for stratum in plan.strata:
        assert len(stratum.seeds) == 5
        assert all(stratum.domain.contains(scenario.start(seed)) for seed in stratum.seeds)
    with pytest.raises(InvalidConfig, match="goal_x_m in 0 parts"):
        plan_for(replace(request, strata={"goal_x_m": 0}), open_subject(request), register)


def test_an_episode_that_the_machine_cut_short_is_unknown(
    tmp_path: Path, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise MemoryError

    good = candidate(tmp_path / "good")
    request = Request(candidate=good, scenario="point-reach-v1", episodes=1000)
    subject = open_subject(request)
    campaign = open_campaign(request, subject, register, ADA)
    monkeypatch.setattr(certification, "attempt", broken)
    assert run_campaign(campaign, subject, silent) == "blocked"
    assert campaign.claims()[0].unknown == campaign.claims()[0].episodes > 0


def test_a_scenario_without_a_rig_is_named(tmp_path: Path) -> None:
    request = Request(candidate=candidate(tmp_path / "good"), scenario="emoji-paint-v1")
    with pytest.raises((UnknownName, InvalidConfig)):
        open_subject(request)
    strange = replace(request, scenario="point-reach-v1", rig="builtins:type")
    with pytest.raises(InvalidConfig, match="expected a Rig"):
        open_subject(strange)


@pytest.mark.parametrize("filtered", [True, False])
def test_the_sawyer_is_watched_with_the_filter_on_and_off(filtered: bool) -> None:
    pytest.importorskip("metaworld")
    scenario = get_scenario("button-press-v1")
    rig = find_rig(scenario)
    with closing(rig.make_world(filtered=filtered)) as world:
        world.reset(split_seed("train", 0))
        down = np.array([0.0, 0.0, -1.0, 0.0], np.float32)
        for _ in range(25):
            applied = world.step(down).applied
        assert applied.shape == (4,)
        assert world.trips == 0
        assert world.violations == 0 or not filtered


def measured(x: float, y: float, speed: tuple[float, float] = (0.0, 0.0)) -> Measured:
    return Measured(position=np.array([x, y]), speed=np.array(speed), time_s=0.0)


def test_what_is_exceeded_is_named() -> None:
    limits = replace(
        LIMITS,
        walls=(Wall(point_m=(0.5, 0.0, 0.0), inward=(-1.0, 0.0, 0.0)),),
        keep_outs=(KeepOut(low_m=(-0.5, 0.0, 0.0), high_m=(-0.5, 0.0, 0.0), radius_m=0.1),),
        speed=(1.0, 1.0),
        point_speed_m_s=1.2,
    )
    watch = LimitWatch(PointBody(), limits)
    assert set(watch.exceeded(measured(0.0, 0.0, (1.0, 0.6)))) == set()
    assert set(watch.exceeded(measured(0.0, 0.96))) == {"position"}
    assert set(watch.exceeded(measured(0.0, -0.96))) == {"position"}
    assert set(watch.exceeded(measured(0.0, 0.0, (0.0, -1.1)))) == {"speed"}
    assert set(watch.exceeded(measured(0.0, 0.0, (0.9, 0.9)))) == {"point speed"}
    assert set(watch.exceeded(measured(0.51, 0.0))) == {"wall"}
    assert set(watch.exceeded(measured(-0.45, 0.05))) == {"keep-out"}
    assert set(watch.exceeded(measured(-0.39, 0.0))) == set()
    assert set(watch.exceeded(measured(float("nan"), 0.0))) == {"not finite"}


def test_the_verbs_lead_from_keys_to_a_verified_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    candidate(tmp_path / "reacher")
    for person, role in (("Ada", "proposer"), ("Bob", "approver"), ("Eve", "authority")):
        assert main(["keys", "new", person, "--role", role]) == 0
    assert main(["keys", "ring"]) == 0
    assert "Bob     approver" not in capsys.readouterr().out
    assert main(["register", "new", "--key", "keys/eve.key"]) == 0
    asked = ["certify", "reacher", "--scenario", "point-reach-v1", "--key", "keys/ada.key"]
    assert main(asked) == 0
    assert "shown: all 2 claims are shown" in capsys.readouterr().out
    verify = ["certificate", "verify", "certificate.json", "--candidate", "reacher"]
    assert main(verify) == 1
    assert "needs the signatures of proposer and approver" in capsys.readouterr().err
    sign = ["certificate", "approve", "certificate.json", "--candidate", "reacher", "--key"]
    assert main([*sign, "keys/ada.key"]) == 1
    assert main([*sign, "keys/bob.key"]) == 0
    assert main(verify) == 0
    assert main(["certificate", "show", "certificate.json"]) == 0
    assert "level D with the filter, D without it" in capsys.readouterr().out
    (tmp_path / "reacher" / "extra").touch()
    assert main(verify) == 1
    assert "candidate is not what certificate" in capsys.readouterr().err
