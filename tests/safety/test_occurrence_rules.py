"""Rules come from somewhere, and tighten."""

from __future__ import annotations

from pathlib import Path

import pytest
from register_site import Site, digest_of
from trolley import limits

from loopwright.core.errors import DamagedData, InvalidConfig, Untrusted
from loopwright.safety.occurrence.rules import Rule, lint_rules, read_rules, ruled
from loopwright.safety.statement import Statement

HAZARD = '[hazard.sag]\ntext = "it sags"\nfound = "measured"\n'
RULE = '[rule.hold]\ntext = "hold"\nsource = "{source}"\ndate = "2026-11-22"\n'


def test_the_rules_that_ship_come_from_somewhere() -> None:
    assert lint_rules() == []
    assert read_rules()


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (RULE.format(source=""), "has the source ''"),
        (RULE.format(source="common sense"), "has the source 'common sense'"),
        (RULE.format(source="hazard:sag"), "which is not listed"),
        (RULE.format(source="occurrence:12"), "has the source"),
        ('[rule.hold]\ntext = " "\nsource = "hazard:sag"\n' + HAZARD, "says nothing"),
        ('[hazard.sag]\ntext = "it sags"\n', "how it was found"),
        (HAZARD + RULE.format(source="hazard:sag") + "limits = { slew = 3 }", "limit to tighten"),
        (HAZARD + RULE.format(source="hazard:sag") + 'owner = "Ada"', "field of a rule"),
        ("[idea.x]\n", "expected 'hazard' and 'rule'"),
        ("rule = 3", "no table of tables"),
        ("[rule", "is no file of rules"),
    ],
)
def test_what_comes_from_nowhere_is_refused(tmp_path: Path, text: str, finding: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    assert [finding in line for line in lint_rules(path)] == [True]
    with pytest.raises(InvalidConfig):
        read_rules(path)


def test_a_cited_occurrence_must_be_registered_where_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULE.format(source=f"occurrence:{digest_of('wall')}"))
    assert lint_rules(path) == []
    assert lint_rules(path, [digest_of("wall")]) == []
    assert lint_rules(path, []) == ["rule 'hold' cites an occurrence that is not registered"]


def test_a_rule_tightens_the_limits_of_its_robots() -> None:
    slow = Rule(
        name="slow",
        text="slow",
        source="hazard:sag",
        date="",
        robots=("trolley-v1",),
        limits={"speed": 0.5, "point_speed_m_s": 9.0},
    )
    found = ruled(limits(), "trolley-v1", [slow])
    assert found.speed == (0.5, 0.5)
    assert found.point_speed_m_s == limits().point_speed_m_s, "a rule never loosens"
    assert ruled(limits(), "cart-v1", [slow]) == limits()


def test_a_registered_rule_cites_what_is_registered(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.begin() as register:
        rule = Rule(name="r", text="t", source=f"occurrence:{digest_of('wall')}", date="")
        with pytest.raises(Untrusted, match="no registered occurrence"):
            register.append(site.signed(rule.statement(), "investigator"))
        said = {**rule.statement().predicate, "occurrence": digest_of("other")}
        with pytest.raises(DamagedData, match="another occurrence than its source"):
            register.append(
                site.signed(Statement(kind="rule/v1", subjects={}, predicate=said), "authority")
            )
        with pytest.raises(DamagedData, match="is no rule"):
            register.append(
                site.signed(Statement(kind="rule/v1", subjects={}, predicate={}), "authority")
            )
