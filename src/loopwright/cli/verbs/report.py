"""``loopwright report``: write the page of a run again."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.runs import find_run
from loopwright.loop.story import tell
from loopwright.report.page import write_page
from loopwright.store.workspace import Workspace


def main(
    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    /,
    *,
    workspace: Path = Path("runs"),
    out: Path | None = None,
) -> int:
    """Write the report page of a run, finished or not, and print where it is.

    Args:
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
        out: File to write; by default reports/RUN.html in the workspace.
    """
    with Workspace.open(workspace) as place:
        row = find_run(place.ledger, run)
        target = out or place.root / "reports" / f"{row.id}.html"
        seed = str(row.config["seed"])
        command = shlex.join(
            ["loopwright", "run", row.recipe, "--workspace", str(workspace), "--seed", seed]
        )
        print(write_page(tell(place, row, command=command), target))
    return 0
