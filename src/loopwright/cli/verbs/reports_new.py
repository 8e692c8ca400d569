"""``loopwright reports new``: tell the investigator, and nobody else, what you saw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.safety.reports import ReportBox


def main(
    text: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")] = None,
    /,
    *,
    box: Path = Path("reports"),
    robot: str = "",
) -> int:
    """Hand in a report. It is sealed before it touches a disk; of the time only the day is kept.

    What points to you is taken out: names of user and machine, addresses, home folders. How you
    write is not; nor is what the shell remembers of this command, so give the text by stdin.

    Args:
        text: What you saw; read from stdin by default.
        box: Folder of the box.
        robot: Versioned name of the sort of robot, arm7-v1; never which one.
    """
    receipt = ReportBox(box).submit(sys.stdin.read() if text is None else text, robot=robot)
    print(f"handed in; receipt {receipt}")
    return 0
