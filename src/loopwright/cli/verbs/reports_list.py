"""``loopwright reports list``: read what was reported, with the investigator's key."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.safety.reports import InvestigatorKey, ReportBox


def main(
    *,
    key: Path,
    box: Path = Path("reports"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Print every report, oldest day first.

    Args:
        key: The investigator's private key.
        box: Folder of the box.
        json_output: Print JSON.
    """
    reports = list(ReportBox(box).read(InvestigatorKey.read(key)))
    if json_output:
        print(json.dumps([{"receipt": name, **asdict(report)} for name, report in reports]))
        return 0
    console = stdout_console()
    for name, report in reports:
        robot = f", {report.robot}" if report.robot else ""
        console.print(f"{report.day}{robot} ({name})", markup=False, highlight=False)
        console.print(f"  {report.text}", markup=False, highlight=False)
    if not reports:
        console.print("no reports")
    return 0
