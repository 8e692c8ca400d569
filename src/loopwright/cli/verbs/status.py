"""``loopwright status``: where runs stand, and what models scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.cli.scores import scores_table
from loopwright.loop.certifying import waiting
from loopwright.loop.config import LoopConfig
from loopwright.loop.rounds import recorded_ending, recorded_rounds
from loopwright.recipes.scorings import recorded_scorings
from loopwright.store.workspace import Workspace


def main(
    *,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Show every run of a workspace: rounds done, champion, success of its last operation.

    Below stands what models scored that 'score --workspace' was asked about.

    Args:
        workspace: Folder of the workspace.
        json_output: Print the runs as JSON; scores are in 'history --json'.
    """
    from rich.table import Table

    with Workspace.open(workspace) as place:
        ledger = place.ledger
        scorings = recorded_scorings(ledger)
        rows = []
        for run in ledger.runs():
            config = LoopConfig.from_json(run.config)
            records = recorded_rounds(ledger, run.id)
            operated = records[-1].operated if records else None
            rows.append(
                {
                    "run": run.id,
                    "recipe": run.recipe,
                    "seed": config.seed,
                    "rounds": f"{len(records)} of {len(config.plans)}",
                    "finished": recorded_ending(ledger, run.id) is not None,
                    "waits_for_approval": _waits(place, run.id),
                    "champion": ledger.champion(run.id),
                    "operated": f"{operated.successes}/{operated.decided}" if operated else None,
                }
            )
    if json_output:
        print(json.dumps(rows))
        return 0
    table = Table("run", "recipe", "seed", "rounds", "finished", "champion", "last operation")
    for row in rows:
        table.add_row(
            row["run"],
            row["recipe"],
            str(row["seed"]),
            row["rounds"],
            "waits for approval"
            if row["waits_for_approval"]
            else ("yes" if row["finished"] else "no"),
            (row["champion"] or "-")[:12],
            row["operated"] or "-",
        )
    console = stdout_console()
    if rows or not scorings:
        console.print(table)
    if scorings:
        console.print(scores_table(scorings))
    return 0


def _waits(place: Workspace, run_id: str) -> str | None:
    file = waiting(place, run_id)
    return None if file is None else str(file)
