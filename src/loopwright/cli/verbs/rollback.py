"""``loopwright rollback``: make an earlier champion the champion again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.runs import find_run
from loopwright.loop.promotion import roll_back
from loopwright.store.workspace import Workspace


def main(
    run: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    /,
    *,
    workspace: Path = Path("runs"),
    to: str | None = None,
    reason: str = "asked for by the operator",
) -> int:
    """Go back to an earlier champion. A rollback is a promotion: on record, exactly once.

    Where the recipe promotes only with a certificate, the earlier champion must hold one now.

    Args:
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
        to: Digest (or its beginning) of an earlier champion; the one before by default.
        reason: Why, for the record.
    """
    with Workspace.open(workspace, exclusive=True) as place:
        row = find_run(place.ledger, run)
        decision = roll_back(place, row.id, to=to, reason=reason)
    before = (decision.champion_before or "")[:12]
    print(f"champion of {row.id}: {decision.candidate[:12]} (was {before})")
    return 0
