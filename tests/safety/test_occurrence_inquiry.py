"""Investigations: who may, by when, and what may come of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from register_site import Site, digest_of

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, Untrusted
from loopwright.safety.entry import Entry
from loopwright.safety.keys import Holder, KeyRing, SigningKey
from loopwright.safety.occurrence.clocks import DAY_S, Due, StageName, dues, read_clocks
from loopwright.safety.occurrence.export import export_occurrence
from loopwright.safety.occurrence.inquiry import (
    Cause,
    Outcome,
    Recommendation,
    Report,
    close,
    inquiry_of,
    investigate,
)
from loopwright.safety.occurrence.rules import Rule
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed, Statement

SAID = Report(stage="update", text="looked at the load cell")


class People(Site):
    """A site where the approver is an investigator too."""

    @property
    def ring(self) -> KeyRing:
        rest = [h for h in super().ring if "approver" not in h.roles]
        approver = Holder(
            person="Bob",
            public=self.keys["approver"].public,
            roles=frozenset({"approver", "investigator"}),
        )
        return KeyRing([*rest, approver])


@pytest.fixture
def site(tmp_path: Path) -> People:
    return People(tmp_path)


@pytest.fixture
def register(site: People) -> Iterator[Register]:
    with site.begin() as register:
        yield register


def certified(site: People, register: Register) -> str:
    plan = site.signed(Statement(kind="test-plan/v1", subjects={}, predicate={}), "proposer")
    register.append(plan)
    statement = Statement(
        kind="certificate/v1", subjects={}, predicate={"plan": plan.statement.digest}
    )
    register.append(site.signed(statement, "proposer", "approver"))
    return statement.digest


def happened(site: People, register: Register, **said: Any) -> Entry:
    statement = Statement(kind="occurrence/v1", subjects={}, predicate={"what": "wall", **said})
    return register.entry(register.append(site.signed(statement, "recorder")))


def test_the_stages_of_an_investigation_are_told_in_order(site: People, register: Register) -> None:
    entry, key = happened(site, register), site.keys["investigator"]
    assert inquiry_of(register, entry).state == "open"
    tree = Cause.from_json(
        {"text": "wall crossed", "because": ["load of 8 kg", "no residual rung"]}
    )
    first = Recommendation(
        id="R1", text="weigh first", owner="Ada", due_s=entry.time_s + 90 * DAY_S
    )
    investigate(register, entry, replace(SAID, harm="serious", causes=(tree,)), key)
    investigate(register, entry, replace(SAID, recommendations=(first,)), key)
    investigate(register, entry, replace(SAID, answers={"R1": "scale bought"}), key)
    found = inquiry_of(register, entry)
    assert (found.state, found.harm) == ("under investigation", "serious")
    assert list(found.causes[0].lines()) == ["wall crossed", "  load of 8 kg", "  no residual rung"]
    assert found.recommendations == (first,)
    assert found.answers == {"R1": "scale bought"}
    states = {
        due.name: due.state(entry.time_s + 1) for due in found.dues(read_clocks(), entry.time_s)
    }
    assert states["answer to R1, Ada"] == "done"
    assert states["notify-serious"] == "running"
    close(register, entry, Outcome(none_because="a drill"), "nothing to learn", key)
    assert inquiry_of(register, entry).state == "closed"
    with pytest.raises(InvalidConfig, match="is closed"):
        investigate(register, entry, SAID, key)
    with pytest.raises(InvalidConfig, match="closed already"):
        close(register, entry, Outcome(none_because="again"), "again", key)


def test_who_signed_the_certificate_may_not_investigate(site: People, register: Register) -> None:
    entry = happened(site, register, certificate=certified(site, register))
    bob = site.keys["approver"]
    with pytest.raises(Untrusted, match="Bob signed the certificate"):
        investigate(register, entry, SAID, bob)
    with pytest.raises(Untrusted, match="Bob signed the certificate"):
        close(register, entry, Outcome(none_because="all is well"), "all is well", bob)
    investigate(register, entry, SAID, site.keys["investigator"])


def test_what_such_a_person_registers_all_the_same_is_void(
    site: People, register: Register
) -> None:
    entry = happened(site, register, certificate=certified(site, register))
    finding = Outcome(none_because="all is well").statement(
        register.id, entry.digest, "all is well"
    )
    number = register.append(site.signed(finding, "approver"))
    found = inquiry_of(register, entry)
    assert found.state == "open"
    assert [void.number for void in found.void] == [number]


def test_the_approver_of_another_certificate_may(site: People, register: Register) -> None:
    certified(site, register)
    entry = happened(site, register)
    investigate(register, entry, SAID, site.keys["approver"])
    assert inquiry_of(register, entry).state == "under investigation"


def test_a_certificate_that_is_not_registered_bars_everybody(
    site: People, register: Register
) -> None:
    entry = happened(site, register, certificate=digest_of("elsewhere"))
    with pytest.raises(Untrusted, match="nobody can tell"):
        investigate(register, entry, SAID, site.keys["investigator"])


def test_only_investigators_investigate(site: People, register: Register) -> None:
    entry = happened(site, register)
    with pytest.raises(Untrusted, match="signed by investigator"):
        investigate(register, entry, SAID, site.keys["operator"])
    with pytest.raises(Untrusted, match="not on the key ring"):
        investigate(register, entry, SAID, SigningKey.new())


def test_an_outcome_is_something_or_a_reasoned_nothing() -> None:
    with pytest.raises(InvalidConfig, match="ends in one or more"):
        Outcome()
    with pytest.raises(InvalidConfig, match="ends in one or more"):
        Outcome(directives=("a" * 64,), none_because="nothing to do")
    assert Outcome(directives=("a" * 64,), rules=("b" * 64,))


def test_an_outcome_names_what_is_registered_and_cites_it(site: People, register: Register) -> None:
    entry, other, key = happened(site, register), happened(site, register, what="other"), None
    key = site.keys["investigator"]
    with pytest.raises(Untrusted, match="no registered directive"):
        close(register, entry, Outcome(directives=(digest_of("no"),)), "grounded", key)
    directive = site.directive(register)
    register.append(directive)
    rule = Rule(name="weigh", text="weigh", source=f"occurrence:{other.digest}", date="2026-11-22")
    register.append(Signed.by(rule.statement(), key))
    with pytest.raises(Untrusted, match="does not come from occurrence"):
        close(register, entry, Outcome(rules=(rule.statement().digest,)), "a rule", key)
    own = replace(rule, source=f"occurrence:{entry.digest}")
    register.append(Signed.by(own.statement(), key))
    outcome = Outcome(directives=(directive.statement.digest,), rules=(own.statement().digest,))
    close(register, entry, outcome, "grounded, and a rule", key)
    finding = inquiry_of(register, entry).finding
    assert finding is not None
    assert finding[1] == outcome


def test_recommendations_have_owners_and_are_answered_by_name(
    site: People, register: Register
) -> None:
    entry, key = happened(site, register), site.keys["investigator"]
    with pytest.raises(InvalidConfig, match="an owner"):
        Recommendation(id="R1", text="weigh", owner=" ", due_s=0.0)
    with pytest.raises(UnknownName, match="R9"):
        investigate(register, entry, replace(SAID, answers={"R9": "done"}), key)
    one = Recommendation(id="R1", text="weigh", owner="Ada", due_s=0.0)
    investigate(register, entry, replace(SAID, recommendations=(one,)), key)
    with pytest.raises(InvalidConfig, match="is there already"):
        investigate(register, entry, replace(SAID, recommendations=(one,)), key)


@pytest.mark.parametrize(
    "change",
    [{"stage": "final"}, {"stage": "guess"}, {"text": " "}, {"harm": "much"}, {"causes": [3]}],
)
def test_an_illegible_report_is_refused_at_the_door(
    site: People, register: Register, change: dict[str, Any]
) -> None:
    entry = happened(site, register)
    good = SAID.statement(register.id, entry.digest)
    bad = replace(good, predicate={**good.predicate, **change})
    with pytest.raises(DamagedData):
        register.append(site.signed(bad, "investigator"))


def clock_states(
    done: list[tuple[StageName, float]], harm: Any, now_days: float
) -> dict[str, list[str]]:
    times = [(stage, days * DAY_S) for stage, days in done]
    states: dict[str, list[str]] = {}
    due: Due
    for due in dues(read_clocks(), 0.0, times, harm, now_days * DAY_S):
        states.setdefault(due.name, []).append(due.state(now_days * DAY_S))
    return states


@pytest.mark.parametrize(
    ("done", "harm", "now_days", "expected"),
    [
        ([], "none", 29, {"preliminary": ["running"], "final": ["running"]}),
        ([], "none", 31, {"preliminary": ["overdue"], "final": ["running"]}),
        ([("preliminary", 31)], "none", 40, {"preliminary": ["done late"], "final": ["running"]}),
        ([("final", 9)], "none", 400, {"preliminary": ["done"], "final": ["done"]}),
        (
            [("preliminary", 9), ("interim", 300)],
            "none",
            400,
            {"preliminary": ["done"], "final": ["done", "running"]},
        ),
        (
            [("preliminary", 9), ("interim", 300)],
            "none",
            800,
            {"preliminary": ["done"], "final": ["done", "overdue", "running"]},
        ),
        (
            [("notified", 12)],
            "serious",
            20,
            {"preliminary": ["running"], "final": ["running"], "notify-serious": ["done"]},
        ),
        (
            [("notified", 12)],
            "death",
            20,
            {"preliminary": ["running"], "final": ["running"], "notify-death": ["done late"]},
        ),
        (
            [],
            "widespread",
            3,
            {"preliminary": ["running"], "final": ["running"], "notify-widespread": ["overdue"]},
        ),
    ],
)
def test_clocks(
    done: list[tuple[StageName, float]],
    harm: str,
    now_days: float,
    expected: dict[str, list[str]],
) -> None:
    assert clock_states(done, harm, now_days) == expected


def test_a_site_may_have_clocks_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "clocks.toml"
    path.write_text(
        '[call]\ndays = 1\ndone_by = ["opened"]\nsource = "house rule"\ndate = "today"\n'
    )
    (clock,) = read_clocks(path)
    assert (clock.name, clock.days) == ("call", 1.0)
    path.write_text('[call]\ndays = 1\ndone_by = ["opened"]\nsource = ""\ndate = "today"\n')
    with pytest.raises(InvalidConfig, match="a source"):
        read_clocks(path)


def test_an_export_says_what_is_missing(site: People, register: Register) -> None:
    entry = happened(site, register, robot="arm7-v1")
    investigate(register, entry, replace(SAID, harm="damage"), site.keys["investigator"])
    found = export_occurrence(inquiry_of(register, entry), {"country": "XX", "reports": [1]})
    assert found["aiid"]["implicated_systems"] == ["arm7-v1"]
    assert found["aiid"]["reports"] == [1]
    assert "Alleged deployer of AI system" in found["aiid"]["missing"]
    assert "reports" not in found["aiid"]["missing"]
    assert (found["oecd"]["kind"], found["oecd"]["country"]) == ("incident", "XX")
    assert all(
        found[name][field] is None for name in ("aiid", "oecd") for field in found[name]["missing"]
    )
    assert found["loopwright"]["occurrence"] == entry.digest
    with pytest.raises(UnknownName, match="did you mean 'country'"):
        export_occurrence(inquiry_of(register, entry), {"contry": "XX"})


def test_without_harm_it_is_a_hazard(site: People, register: Register) -> None:
    found = export_occurrence(inquiry_of(register, happened(site, register)))
    assert found["oecd"]["kind"] == "hazard"
    assert "harm_severity" in found["oecd"]["missing"]
