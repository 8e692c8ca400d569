"""``loopwright occurrence list``: the occurrences of a site, and what is overdue."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.occurrences import late
from loopwright.cli.site import DEFAULT_PLACE, Place, written
from loopwright.safety.occurrence.clocks import read_clocks
from loopwright.safety.occurrence.inquiry import inquiry_of
from loopwright.safety.occurrence.record import OCCURRENCE


def main(
    *,
    open_only: bool = False,
    clocks: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    place: Place = DEFAULT_PLACE,
) -> int:
    """List occurrences, how their investigations stand, and what is overdue.

    Args:
        open_only: Leave out those that are closed.
        clocks: Table of clocks; the built-in one by default.
        json_output: Print JSON, one a line.
        place: Where the register lies.
    """
    table, now_s = read_clocks(clocks), time.time()
    with place.open() as register:
        found = [inquiry_of(register, entry) for entry in register.statements(OCCURRENCE)]
    rows = Table("", "opened (UTC)", "state", "what", "overdue", box=None)
    for inquiry in found:
        if open_only and inquiry.state == "closed":
            continue
        number, what = inquiry.entry.number, str(inquiry.entry.statement.predicate["what"])
        overdue = late(inquiry, table, now_s)
        if json_output:
            said = {"number": number, "digest": inquiry.entry.digest, "what": what}
            print(json.dumps({**said, "state": inquiry.state, "overdue": overdue}))
        opened = written(inquiry.entry.time_s)
        rows.add_row(str(number), opened, inquiry.state, what, ", ".join(overdue))
    if not json_output:
        stdout_console().print(rows if rows.row_count else "no occurrence")
    return 0
