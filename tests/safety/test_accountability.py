from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from register_site import Site, deployment, digest_of

from loopwright.core.errors import Unidentified
from loopwright.safety.accountability import Verb, who
from loopwright.safety.directive.match import Clause, Match
from loopwright.safety.directive.orders import alternative, closure, release
from loopwright.safety.register import Register
from loopwright.safety.statement import Statement


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def story(site: Site) -> Register:
    """A deployment from its test plan to its release."""
    register = site.begin()
    plan = Statement(kind="test-plan/v1", subjects={}, predicate={"level": "D"})
    register.append(site.signed(plan, "proposer"))
    for i in range(3):
        said = {"plan": plan.digest, "from": i}
        look = Statement(kind="look/v1", subjects={}, predicate=said)
        register.append(site.signed(look, "proposer"))
    certificate = Statement(
        kind="certificate/v1", subjects={}, predicate={"plan": plan.digest, "level": "D"}
    )
    register.append(site.signed(certificate, "proposer", "approver"))
    cell = deployment("cell-1", certificate=certificate.digest)
    register.append(site.deployed(register, cell))
    order = site.directive(register)
    register.append(order)
    other = Match(any_of=(Clause(robot=("sawyer-v1",)),))
    register.append(site.directive(register, match=other, reason="not ours"))
    shown = site.evidence()
    register.append(shown)
    digest, evidence = order.statement.digest, [shown.statement.digest]
    for statement, role in (
        (
            alternative(
                register.id, digest, means="watched", limits={"headroom": 0.5}, until_s=2e9
            ),
            "authority",
        ),
        (closure(register.id, "cell-1", digest, evidence), "operator"),
        (closure(register.id, "cell-9", digest, evidence), "operator"),
        (release(register.id, digest, evidence=evidence), "authority"),
    ):
        register.append(site.signed(statement, role))  # type: ignore[arg-type]
    return register


def test_every_part_of_a_story_is_told_with_its_people(site: Site) -> None:
    register = story(site)
    found = who(register, "cell-1", time.time())
    told = [(deed.verb, deed.people, deed.entry) for deed in found.deeds]
    assert told == [
        ("planned", ("the proposer",), 1),
        ("tested", ("the proposer",), 4),
        ("proposed", ("the proposer",), 5),
        ("approved", ("the approver",), 5),
        ("deployed", ("the operator",), 6),
        ("grounded", ("the authority",), 7),
        ("allowed otherwise", ("the authority",), 10),
        ("complied", ("the operator",), 11),
        ("released", ("the authority",), 13),
    ]
    assert found.bindings == ()
    assert all(register.entry(d.entry).digest == d.digest for d in found.deeds)
    assert json.loads(json.dumps(found.to_json()))["deeds"][0]["verb"] == "planned"


def test_what_came_later_is_left_out(site: Site) -> None:
    register = story(site)
    for entry in range(1, 6):
        with pytest.raises(Unidentified):
            who(register, "cell-1", register.entry(entry).time_s)
    found = who(register, "cell-1", register.entry(7).time_s)
    assert [deed.verb for deed in found.deeds][-1] == "grounded"
    assert [binding.effect for binding in found.bindings] == ["grounded"]


def test_an_operator_may_deploy_for_later(site: Site) -> None:
    register = site.begin()
    register.append(site.deployed(register, deployment("cell-1"), start_s=time.time() + 100))
    with pytest.raises(Unidentified, match="cell-1"):
        who(register, "cell-1", time.time())
    assert who(register, "cell-1", time.time() + 101).by("deployed")


def test_the_deployment_of_that_time_is_meant(site: Site) -> None:
    register = site.begin()
    register.append(site.deployed(register, deployment("cell-1")))
    changed = deployment("cell-1", scenario="push-v1", certificate=digest_of("none"))
    register.append(site.deployed(register, changed))
    first, second = (register.entry(number).time_s for number in (1, 2))
    assert who(register, "cell-1", first).deployment.scenario == "reach-v1"
    assert who(register, "cell-1", second).deployment.scenario == "push-v1"


def test_suspensions_and_occurrences_are_told(site: Site) -> None:
    register = story(site)
    certificate = register.entry(5).digest
    verbs: list[Verb] = ["suspended", "reported"]
    suspension = Statement(
        kind="suspension/v1",
        subjects={},
        predicate={"certificate": certificate, "reason": "a new scenario fails"},
    )
    register.append(site.signed(suspension, "authority"))
    occurrence = Statement(
        kind="occurrence/v1", subjects={}, predicate={"deployment": "cell-1", "what": "wall"}
    )
    register.append(site.signed(occurrence, "recorder"))
    found = who(register, "cell-1", time.time())
    assert [found.by(verb)[0].detail for verb in verbs] == ["a new scenario fails", "wall"]
