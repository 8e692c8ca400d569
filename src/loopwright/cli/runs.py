"""Finding the run that a verb is about."""

from __future__ import annotations

from loopwright.core.errors import UnknownName, WorkspaceError
from loopwright.store.ledger import Ledger, RunRow


def find_run(ledger: Ledger, name: str | None) -> RunRow:
    """Return the run with an id (or the beginning of one) or recipe name; the newest by default.

    Raises:
        WorkspaceError: There is no run yet.
        UnknownName: None is called so.
    """
    runs = ledger.runs()
    if not runs:
        raise WorkspaceError(
            "this workspace has no run yet; start one: loopwright run button-press"
        )
    if name is None:
        return runs[-1]
    matching = [r for r in runs if r.recipe == name or r.id.startswith(name)]
    if not matching:
        raise UnknownName("run", name, [r.id for r in runs] + [r.recipe for r in runs])
    return matching[-1]
