"""Rules: what must hold from now on, each with the occurrence or the hazard that it comes from.

A rule without a source is refused, so that nobody has to guess later why it is there, and whether
it may go.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, InvalidConfig, LoopwrightError, UnknownName
from loopwright.safety.directive.restriction import check_restriction, tightened
from loopwright.safety.limits import Limits
from loopwright.safety.statement import Statement

RULE = "rule/v1"
_SOURCE = re.compile(r"occurrence:(?P<occurrence>[0-9a-f]{64})|hazard:(?P<hazard>[a-z0-9-]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What must hold."""

    name: str
    text: str
    source: str
    """``"occurrence:<digest>"`` or ``"hazard:<name>"``."""
    date: str
    robots: tuple[str, ...] = ()
    """Versioned names; empty: all."""
    limits: Mapping[str, Json] = field(default_factory=dict)
    """That tighten those of the robot; may be empty, where people see to it."""

    def __post_init__(self) -> None:
        """Refuse a rule that says nothing, comes from nowhere, or restricts what cannot be."""
        if not self.name.strip() or not self.text.strip():
            raise InvalidConfig(f"rule {self.name!r} says nothing; give it a text")
        if not _SOURCE.fullmatch(self.source):
            raise InvalidConfig(
                f"rule {self.name!r} has the source {self.source!r}; expected "
                "'occurrence:<64 hexadecimal digits>' or 'hazard:<name>'"
            )
        check_restriction(self.limits)

    @property
    def occurrence(self) -> str:
        """Digest of the occurrence it comes from; empty if it is a hazard."""
        return _part(self.source, "occurrence")

    @property
    def hazard(self) -> str:
        """Name of the hazard it comes from; empty if it is an occurrence."""
        return _part(self.source, "hazard")

    def statement(self) -> Statement:
        """Return it as a statement; an investigator or an authority signs it."""
        predicate: dict[str, Any] = {
            "name": self.name,
            "text": self.text,
            "source": self.source,
            "date": self.date,
            "robots": list(self.robots),
            "limits": dict(self.limits),
        }
        if self.occurrence:
            predicate["occurrence"] = self.occurrence
        return Statement(kind=RULE, subjects={}, predicate=predicate)

    @classmethod
    def from_json(cls, name: str, data: Mapping[str, Any]) -> Rule:
        """Read the row of a table.

        Raises:
            InvalidConfig: It is no rule.
        """
        known = {"text", "source", "date", "robots", "limits"}
        if unknown := set(data) - known:
            raise UnknownName("field of a rule", min(unknown), known)
        return cls(
            name=name,
            text=str(data.get("text", "")),
            source=str(data.get("source", "")),
            date=str(data.get("date", "")),
            robots=tuple(map(str, data.get("robots", ()))),
            limits=dict(data.get("limits", {})),
        )


def read_rules(path: Path | None = None) -> tuple[Rule, ...]:
    """Read a file of rules; the built-in one by default.

    Raises:
        InvalidConfig: It is none, or a rule in it comes from nowhere; all of them are named.
    """
    findings = lint_rules(path)
    if findings:
        raise InvalidConfig("; ".join(findings))
    table = _table(path)
    return tuple(Rule.from_json(name, row) for name, row in table.get("rule", {}).items())


def lint_rules(path: Path | None = None, occurrences: Iterable[str] | None = None) -> list[str]:
    """Return what is wrong with a file of rules, a line each.

    Args:
        path: The file; the built-in one by default.
        occurrences: Digests of the occurrences there are, if they are known.
    """
    try:
        table = _table(path)
    except InvalidConfig as error:
        return [str(error)]
    if unknown := set(table) - {"hazard", "rule"}:
        return [f"tables {sorted(unknown)}; expected 'hazard' and 'rule'"]
    hazards = table.get("hazard", {})
    findings = [
        f"hazard {name!r} needs a text and how it was found"
        for name, row in hazards.items()
        if not (str(row.get("text", "")).strip() and str(row.get("found", "")).strip())
    ]
    known = None if occurrences is None else set(occurrences)
    for name, row in table.get("rule", {}).items():
        try:
            rule = Rule.from_json(name, row)
        except LoopwrightError as error:
            findings.append(str(error))
            continue
        if rule.hazard and rule.hazard not in hazards:
            findings.append(f"rule {name!r} cites the hazard {rule.hazard!r}, which is not listed")
        if known is not None and rule.occurrence and rule.occurrence not in known:
            findings.append(f"rule {name!r} cites an occurrence that is not registered")
    return findings


def ruled(limits: Limits, robot: str, rules: Iterable[Rule]) -> Limits:
    """Return the limits of a robot that keep the rules too; a rule never loosens one.

    Raises:
        InvalidConfig: A rule does not fit the robot.
    """
    about = [rule.limits for rule in rules if not rule.robots or robot in rule.robots]
    return tightened(limits, about)


def check_form(statement: Statement) -> None:
    """Refuse a rule without a source.

    Raises:
        DamagedData: It is no rule, or cites another occurrence than it names.
    """
    said: Mapping[str, Any] = statement.predicate
    try:
        fields = {name: value for name, value in said.items() if name not in ("name", "occurrence")}
        rule = Rule.from_json(str(said["name"]), fields)
    except (KeyError, TypeError, ValueError, InvalidConfig, UnknownName) as error:
        raise DamagedData(f"this is no rule: {error}") from error
    if said.get("occurrence", "") != rule.occurrence:
        raise DamagedData(f"rule {rule.name!r} names another occurrence than its source")


def _part(source: str, name: str) -> str:
    found = _SOURCE.fullmatch(source)
    return (found[name] or "") if found else ""


def _table(path: Path | None) -> dict[str, Any]:
    try:
        text = path.read_text() if path else _built_in()
        table = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"{path or 'rules.toml'} is no file of rules: {error}") from error
    for name, rows in table.items():
        if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
            raise InvalidConfig(f"{path or 'rules.toml'}: {name!r} is no table of tables")
    return table


def _built_in() -> str:
    return resources.files("loopwright.safety.occurrence").joinpath("rules.toml").read_text()
