"""``loopwright explain``: why a round ended as it did."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.display import stdout_console
from loopwright.cli.runs import find_run
from loopwright.core.errors import WorkspaceError
from loopwright.loop.story import tell
from loopwright.report.terminal import explain_view
from loopwright.store.workspace import Workspace


def main(
    round_index: Annotated[int | None, tyro.conf.Positional, tyro.conf.arg(metavar="ROUND")] = None,
    /,
    *,
    run: str | None = None,
    workspace: Path = Path("runs"),
) -> int:
    """Explain why the challenger of a round was or was not promoted.

    Args:
        round_index: Number of the round; the newest by default.
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
    """
    with Workspace.open(workspace) as place:
        report = tell(place, find_run(place.ledger, run))
    if not report.rounds:
        raise WorkspaceError(f"{report.title} has not finished a round yet")
    index = report.rounds[-1].index if round_index is None else round_index
    stdout_console().print(explain_view(report, index))
    return 0
