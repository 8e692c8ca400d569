"""``loopwright history``: every round of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.cli.runs import find_run
from loopwright.loop.story import tell
from loopwright.report.terminal import history_table, status_view
from loopwright.store.workspace import Workspace


def main(
    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    /,
    *,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Show what every round tried, what the gate said and what it cost.

    Args:
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
        json_output: Print the decisions, promotions and refusals as JSON.
    """
    with Workspace.open(workspace) as place:
        row = find_run(place.ledger, run)
        report = tell(place, row)
        decisions = place.ledger.decisions(row.id)
    if json_output:
        facts = [
            {
                "id": d.id,
                "kind": d.kind,
                "candidate": d.candidate,
                "champion_before": d.champion_before,
                "gate_report": d.gate_report,
                "reason": d.reason,
            }
            for d in decisions
        ]
        print(json.dumps(facts))
        return 0
    console = stdout_console()
    console.print(status_view(report))
    console.print()
    console.print(history_table(report))
    return 0
