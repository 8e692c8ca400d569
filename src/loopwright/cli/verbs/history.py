"""``loopwright history``: every round of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Group
from rich.text import Text

from loopwright.cli.display import stdout_console
from loopwright.cli.runs import find_run
from loopwright.cli.scores import scores_table
from loopwright.loop.story import tell
from loopwright.recipes.scorings import RecordedScoring, recorded_scorings
from loopwright.report.terminal import history_table, status_view
from loopwright.store.ledger import Decision
from loopwright.store.workspace import Workspace


def main(
    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    /,
    *,
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Show what every round tried, what the gate said, what it cost, and what candidates scored.

    In a workspace without a run, show what 'score --workspace' kept there.

    Args:
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
        json_output: Print the decisions, promotions, refusals and scores as JSON.
    """
    with Workspace.open(workspace) as place:
        ledger = place.ledger
        scorings = recorded_scorings(ledger)
        if run is None and scorings and not ledger.runs():
            decisions, views = [], []
        else:
            row = find_run(ledger, run)
            decisions = ledger.decisions(row.id)
            tried = {decision.candidate for decision in decisions}
            scorings = [each for each in scorings if each.model in tried]
            report = tell(place, row)
            views = [status_view(report), Text(), history_table(report)]
    if json_output:
        print(json.dumps([*map(_decision, decisions), *map(_score, scorings)]))
        return 0
    if scorings:
        views += [*([Text()] if views else []), scores_table(scorings)]
    stdout_console().print(Group(*views))
    return 0


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "kind": decision.kind,
        "candidate": decision.candidate,
        "champion_before": decision.champion_before,
        "gate_report": decision.gate_report,
        "reason": decision.reason,
    }


def _score(recorded: RecordedScoring) -> dict[str, Any]:
    scoring = recorded.scoring
    return {
        "kind": "score",
        "candidate": recorded.model,
        "receipt": scoring.receipt,
        "scored_at": recorded.scored_at,
        "task": scoring.facts["task"],
        "list": scoring.name,
        # Of a model that had learned items, 'score --contaminated' shows it.
        "scores": scoring.facts["scores"] if scoring.is_clean else None,
    }
