"""The ledger: who did what, once. One SQLite file; every change is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loopwright.store.ledger.database import Database
from loopwright.store.ledger.decisions import Decision, DecisionTable
from loopwright.store.ledger.episodes import EpisodeRow, EpisodeTable
from loopwright.store.ledger.events import Event, EventTable
from loopwright.store.ledger.runs import RoundRow, RunRow, RunTable
from loopwright.store.ledger.stages import Attempt, AttemptRow, LiveChild, StageTable

__all__ = [
    "Attempt",
    "AttemptRow",
    "Decision",
    "EpisodeRow",
    "Event",
    "Ledger",
    "LiveChild",
    "RoundRow",
    "RunRow",
]


class Ledger(StageTable, EpisodeTable, RunTable, DecisionTable, EventTable):
    """Everything that is remembered besides bytes: stages, episodes, runs, decisions, events.

    Several processes may hold one open; their transactions queue. It may be shared by threads,
    but not taken through a fork.
    """

    def __init__(self, path: Path) -> None:
        """Open the ledger at ``path``; make it if the file does not exist.

        Raises:
            WorkspaceError: A newer version wrote it, or it is no ledger.
            StorageError: The operating system refused.
            DamagedData: The file is damaged.
        """
        super().__init__(Database(path))

    def all_text(self) -> Iterator[str]:
        """Yield every text in the ledger, for whoever looks for names in it."""
        return self._database.texts()

    def close(self) -> None:
        """Close the file; idempotent."""
        self._database.close()
