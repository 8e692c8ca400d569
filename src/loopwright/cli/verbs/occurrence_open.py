"""``loopwright occurrence open``: what the rule finds in flights, frozen, minimised, registered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.occurrences import DEFAULT_KEPT, Kept, told
from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.core.errors import Unidentified
from loopwright.safety.keys import SigningKey
from loopwright.safety.occurrence.event import OpeningRule
from loopwright.safety.occurrence.evidence import DEFAULT_RETENTION_DAYS, EvidenceStore
from loopwright.safety.occurrence.opening import REGRESSION, Site, make_scenario, open_occurrence
from loopwright.safety.register import Register


def main(
    flights: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FLIGHT")],
    /,
    *,
    key: Path,
    heads: Path | None = None,
    margin: float = OpeningRule().least_margin,
    retain_days: int = DEFAULT_RETENTION_DAYS,
    kept: Kept = DEFAULT_KEPT,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Look through recordings, and open an occurrence of every one that shows something.

    A limit exceeded by the measured state, a brake that tripped, a margin below the threshold.
    Call it after every flight; a flight is opened once.

    Args:
        flights: Recordings.
        key: Private key of a recorder (or an operator, or an investigator).
        heads: Their second place.
        margin: A smaller margin is an occurrence.
        retain_days: How long the evidence has to be kept; 183 at least.
        kept: Where evidence and scenarios go.
        place: Where the register lies.
    """
    with place.open() as register:
        site = Site(
            register=register,
            store=EvidenceStore(folder=kept.evidence),
            suite=kept.suite,
            key=SigningKey.read(key),
            rule=OpeningRule(least_margin=margin),
            retain_days=retain_days,
        )
        for flight in flights:
            _open(flight, heads, site, register)
    return 0


def _open(flight: Path, heads: Path | None, site: Site, register: Register) -> None:
    before = len(register)
    opened = open_occurrence(flight, site, now_s=time.time(), heads=heads)
    if opened is None:
        print(f"{flight}: nothing found")
        return
    again = ", opened before" if len(register) == before else ""
    print(f"{flight}: occurrence {opened.entry.number}{again}: {opened.occurrence.what}")
    if register.filed_numbers(opened.entry.digest, REGRESSION):
        return
    try:
        print(f"  {told(make_scenario(opened, site))}")
    except Unidentified as error:
        print(f"  no scenario: {error}")
