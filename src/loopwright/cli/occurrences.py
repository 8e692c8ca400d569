"""What the verbs about occurrences share: where evidence and suite lie, and how things are said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.safety.occurrence.clocks import Clock
from loopwright.safety.occurrence.inquiry import Inquiry
from loopwright.safety.occurrence.minimise import Shortest
from loopwright.safety.occurrence.opening import Scenario


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where a site keeps what belongs to its occurrences."""

    evidence: Path = Path("evidence")
    """Folder of the frozen evidence."""
    suite: Path = Path("suite")
    """Folder of the regression scenarios."""


Kept = Annotated[Folders, tyro.conf.OmitArgPrefixes]
DEFAULT_KEPT = Folders()


def told(scenario: Scenario) -> str:
    """Return what a scenario came to, in a line."""
    short: Shortest = scenario.shortest
    regression = scenario.regression
    return (
        f"scenario {scenario.file} (entry {scenario.entry}): {regression.what} after "
        f"{regression.event_after} steps, {len(short.script)} of {short.flight_requests} requests"
        + ("" if short.tells else "; no rung prevents it: with all of them it still happens")
    )


def late(inquiry: Inquiry, clocks: tuple[Clock, ...], now_s: float) -> list[str]:
    """Return the names of what is overdue."""
    return [due.name for due in inquiry.dues(clocks, now_s) if due.state(now_s) == "overdue"]
