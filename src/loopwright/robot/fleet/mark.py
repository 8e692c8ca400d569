"""A mark in what a fleet wrote down: how far it was read, and what one must know to go on there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopwright.core.errors import StorageError
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.simulation.warehouse.worldlog import Place

_PAGE = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """How far a journal and the logs of the world were read."""

    journal_s: float
    """Wall clock of the journal's first event: by it another journal is told apart."""
    number: int
    """Of the last event that was read."""
    joins: tuple[int, ...]
    """Numbers of the events by which robots joined that are needed still, in order."""
    tasks: tuple[str, ...]
    """Those of which attempts may still come."""
    passed: tuple[str, ...]
    """Attempts of these tasks that were dealt with."""
    log: str = ""
    """File of the log that attempts to come begin in, or a later one; empty if none is known."""
    place: Place | None = None
    """Where in it to begin; None at its beginning."""

    @classmethod
    def read(cls, path: Path) -> Mark | None:
        """Return a mark; None if there is none, or none that can be read: then all is read again.

        Nothing is lost by that but time.
        """
        try:
            plain: dict[str, Any] = json.loads(path.read_text())
            place = plain.pop("place")
            listed: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
            }
            return cls(place=Place(*place) if place else None, **listed)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write(self, path: Path) -> None:
        """Put it in the place of an earlier one.

        Raises:
            StorageError: The operating system refused.
        """
        partial = path.with_name(f"{path.name}.partial")
        try:
            partial.write_text(json.dumps(asdict(self)))
            os.replace(partial, path)
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error


def entries_from(journal: Journal, mark: Mark | None) -> Iterator[Entry]:
    """Yield the events after a mark, and before them those that are needed to understand them."""
    if mark is not None:
        needed = [e for n in mark.joins for e in journal.entries(since=n - 1, limit=1)]
        for task in mark.tasks:
            needed += [e for e in journal.entries(task=task) if e.number <= mark.number]
        yield from sorted(needed, key=lambda entry: entry.number)
    since = mark.number if mark else 0
    while page := list(journal.entries(since=since, limit=_PAGE)):
        yield from page
        since = page[-1].number


def began_s(journal: Journal) -> float:
    """Return the wall clock of a journal's first event; 0 if it has none."""
    return next((entry.time_s for entry in journal.entries(limit=1)), 0.0)
