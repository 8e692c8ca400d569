"""``loopwright occurrence show``: one occurrence whole, its evidence verified."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli import EXIT_FAILED
from loopwright.cli.occurrences import DEFAULT_KEPT, Kept
from loopwright.cli.site import DEFAULT_PLACE, Place, written
from loopwright.core.errors import DamagedData
from loopwright.safety.occurrence.clocks import Clock, read_clocks
from loopwright.safety.occurrence.evidence import EvidenceStore
from loopwright.safety.occurrence.export import export_occurrence
from loopwright.safety.occurrence.inquiry import Inquiry, inquiry_of
from loopwright.safety.occurrence.record import find_occurrence
from loopwright.safety.register import Register


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER|DIGEST")],
    /,
    *,
    clocks: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    kept: Kept = DEFAULT_KEPT,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Show what happened, whether the evidence is what was frozen, causes, clocks and outcome.

    Exit code 1 if the evidence is not what was frozen.

    Args:
        name: Number or digest of the occurrence.
        clocks: Table of clocks; the built-in one by default.
        json_output: Print JSON.
        kept: Where the evidence lies.
        place: Where the register lies.
    """
    with place.open() as register:
        inquiry = inquiry_of(register, find_occurrence(register, name))
        trouble = _trouble(register, inquiry, EvidenceStore(folder=kept.evidence))
    if json_output:
        said = export_occurrence(inquiry)["loopwright"]
        print(json.dumps({**said, "evidence_trouble": trouble}))
    else:
        _print(inquiry, trouble, read_clocks(clocks), time.time())
    return EXIT_FAILED if trouble else 0


def _trouble(register: Register, inquiry: Inquiry, store: EvidenceStore) -> str:
    """Return what is wrong with the evidence; empty if nothing, or if there is none."""
    digest = inquiry.entry.statement.predicate.get("evidence")
    frozen = register.find(digest) if isinstance(digest, str) else None
    if frozen is None:
        return ""
    try:
        store.verify(frozen.statement)
    except DamagedData as error:
        return str(error)
    return ""


def _print(inquiry: Inquiry, trouble: str, clocks: tuple[Clock, ...], now_s: float) -> None:
    said: Any = inquiry.entry.statement.predicate
    print(f"occurrence {inquiry.entry.number}, {inquiry.state}: {said['what']}")
    print(f"digest {inquiry.entry.digest}")
    for event in said.get("events", []):
        span = f"step {event['first_step']}, {event['steps']} in all"
        print(f"  {event['kind']} {event['what']}: {span}")
    if "keep_until_s" in said:
        print(f"evidence: {trouble or 'as frozen'}; kept until {written(said['keep_until_s'])}")
    for entry, report in inquiry.reports:
        print(f"{written(entry.time_s)} {report.stage}: {report.text}")
    for cause in inquiry.causes:
        print("\n".join(f"  {line}" for line in cause.lines()))
    for item in inquiry.recommendations:
        answer = inquiry.answers.get(item.id, "no answer yet")
        print(f"  {item.id}, {item.owner}: {item.text}; {answer}")
    for due in inquiry.dues(clocks, now_s):
        print(f"  {due.state(now_s):9} {due.name}, due {written(due.due_s)} ({due.source})")
    for entry in inquiry.void:
        print(f"void: entry {entry.number}, by somebody who signed the certificate concerned")
    if inquiry.finding is not None:
        print(f"finding, entry {inquiry.finding[0].number}: {inquiry.finding[1]}")
