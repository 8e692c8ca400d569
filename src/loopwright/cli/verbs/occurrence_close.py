"""``loopwright occurrence close``: say what comes of an occurrence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, digest_named
from loopwright.core.errors import InvalidConfig
from loopwright.safety.keys import SigningKey
from loopwright.safety.occurrence.inquiry import Outcome, close
from loopwright.safety.occurrence.record import find_occurrence
from loopwright.safety.occurrence.rules import Rule, read_rules
from loopwright.safety.register import Register
from loopwright.safety.statement import Signed


@dataclass(frozen=True, kw_only=True)
class Results:
    """What comes of it: one or more of these, or the reason why nothing does."""

    directive: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Number or digest of the entry of a directive."""
    scenario: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Number or digest of the entry of a regression scenario."""
    rule: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Name of a rule in the file of rules, which cites this occurrence; it is registered."""
    none_because: str = ""
    """Why nothing comes of it."""


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER|DIGEST")],
    /,
    *,
    text: str,
    key: Path,
    results: Annotated[Results, tyro.conf.OmitArgPrefixes] = Results(),
    rules: Path | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Close an occurrence with a finding.

    Args:
        name: Number or digest of the occurrence.
        text: What was found, in a sentence or more.
        key: Private key of an investigator who did not sign the certificate concerned.
        results: What comes of it.
        rules: File of rules; the built-in one by default.
        place: Where the register lies.
    """
    signer = SigningKey.read(key)
    with place.open() as register:
        occurrence = find_occurrence(register, name)
        outcome = Outcome(
            directives=tuple(digest_named(register, item) for item in results.directive),
            scenarios=tuple(digest_named(register, item) for item in results.scenario),
            rules=tuple(_registered(register, _rule(item, rules), signer) for item in results.rule),
            none_because=results.none_because,
        )
        number = close(register, occurrence, outcome, text, signer)
    print(f"entry {number}: occurrence {occurrence.number} is closed")
    return 0


def _rule(name: str, path: Path | None) -> Rule:
    found = [rule for rule in read_rules(path) if rule.name == name]
    if not found:
        raise InvalidConfig(f"there is no rule {name!r} in {path or 'the built-in file'}")
    return found[0]


def _registered(register: Register, rule: Rule, key: SigningKey) -> str:
    """Return the digest of a rule, registered now unless it was before."""
    statement = rule.statement()
    if register.find(statement.digest) is None:
        register.append(Signed.by(statement, key))
    return statement.digest
