"""``loopwright occurrence investigate``: say what was found out, at a stage of an investigation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, read_json
from loopwright.core.errors import InvalidConfig
from loopwright.safety.keys import SigningKey
from loopwright.safety.occurrence.clocks import Harm
from loopwright.safety.occurrence.inquiry import (
    Cause,
    Recommendation,
    Report,
    investigate,
    recommendation_due_s,
)
from loopwright.safety.occurrence.record import find_occurrence


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found."""

    harm: Harm | None = None
    """What came of it."""
    causes: Path | None = None
    """JSON file {"causes": [{"text": ..., "because": [...]}]}; it replaces what was said before."""
    recommend: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A recommendation, "R1: Ada Lovelace: check the load cell"; an answer is due in 90 days."""
    answer: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What the owner answered, "R1: done, see work order 12"."""


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER|DIGEST")],
    /,
    *,
    text: str,
    key: Path,
    stage: str = "update",
    findings: Annotated[Findings, tyro.conf.OmitArgPrefixes] = Findings(),
    place: Place = DEFAULT_PLACE,
) -> int:
    """Register a report of the investigation of an occurrence.

    Whoever signed the certificate that the robot flew under may not investigate.

    Args:
        name: Number or digest of the occurrence.
        text: What is to be said.
        key: Private key of an investigator.
        stage: opened, notified, preliminary, interim or update; stops the clocks of its name.
        findings: What was found.
        place: Where the register lies.
    """
    signer = SigningKey.read(key)
    with place.open() as register:
        occurrence = find_occurrence(register, name)
        report = Report(
            stage=stage,  # type: ignore[arg-type]
            text=text,
            harm=findings.harm,
            causes=_causes(findings.causes),
            recommendations=tuple(
                _recommendation(item, occurrence.time_s) for item in findings.recommend
            ),
            answers=dict(_split(item, 2) for item in findings.answer),
        )
        number = investigate(register, occurrence, report, signer)
    print(f"entry {number}: {stage} report on occurrence {occurrence.number}")
    return 0


def _causes(path: Path | None) -> tuple[Cause, ...]:
    if path is None:
        return ()
    causes: Any = read_json(path).get("causes")
    if not isinstance(causes, list):
        raise InvalidConfig(f"{path} has no list 'causes'")
    return tuple(Cause.from_json(cause) for cause in causes)


def _recommendation(text: str, opened_s: float) -> Recommendation:
    identity, owner, what = _split(text, 3)
    due_s = recommendation_due_s(opened_s)
    return Recommendation(id=identity, owner=owner, text=what, due_s=due_s)


def _split(text: str, parts: int) -> list[str]:
    found = [part.strip() for part in text.split(":", parts - 1)]
    if len(found) != parts or not all(found):
        raise InvalidConfig(f"{text!r} has not {parts} parts with colons between them")
    return found
