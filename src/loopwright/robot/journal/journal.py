"""The journal on disk: append-only events in SQLite, durable before anybody acts on them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData
from loopwright.robot.database import Database
from loopwright.robot.journal.events import Event, event_from_json

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS events (
        number INTEGER PRIMARY KEY, time_s REAL NOT NULL, monotonic_s REAL NOT NULL,
        kind TEXT NOT NULL, task TEXT, cause INTEGER, data TEXT NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS events_of_task ON events (task, number)",
    "CREATE INDEX IF NOT EXISTS tasks_asked ON events (task) WHERE kind = 'task-asked'",
    """CREATE INDEX IF NOT EXISTS tasks_ended ON events (number, task) WHERE kind = 'task-ended'""",
    """CREATE TRIGGER IF NOT EXISTS events_stay BEFORE UPDATE ON events
        BEGIN SELECT raise(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER IF NOT EXISTS events_remain BEFORE DELETE ON events
        BEGIN SELECT raise(ABORT, 'the journal is append-only'); END""",
)
VERSION = 2
_REMEDY = "look at it with the loopwright that wrote it, and let the fleet begin in another folder"
_OF = {
    "one": "task = :task",
    "one and the fleet": "(task IS NULL OR task = :task)",
    # Of the open tasks and those that ended last.
    "late ones and the fleet": """(task IS NULL OR task IN (
        SELECT task FROM events WHERE kind = 'task-asked' AND task NOT IN (
            SELECT task FROM events WHERE kind = 'task-ended'
            ORDER BY number DESC LIMIT -1 OFFSET :ended)))""",
    # Until it was over; of an unknown task, everything.
    "one and what was beside it": """number <= ifnull(
            (SELECT max(number) FROM events WHERE task = :task AND kind = 'task-ended'), 9e18)
        AND (task IS NULL OR task IN (
            SELECT task FROM events WHERE kind = 'task-asked' AND task NOT IN (
                SELECT task FROM events WHERE kind = 'task-ended' AND number < (
                    SELECT min(number) FROM events WHERE task = :task))))""",
    "all": "true",
}
"""Of which tasks events are wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An event in the journal."""

    number: int
    time_s: float
    """Wall clock, seconds since 1970."""
    task: str | None
    cause: int | None
    """Number of the event that led to it."""
    event: Event


class Journal:
    """Append-only; one coordinator writes, anybody reads."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or make a journal.

        Args:
            path: The SQLite file.
            read_only: Only look, also while a coordinator writes; it must be there then.

        Raises:
            StorageError: It cannot be opened or made.
            DamagedData: The file is no journal, one of another version, or missing where only read.
        """
        self.path = path
        self._database = (
            Database.to_read(path, version=VERSION, remedy=_REMEDY)
            if read_only
            else Database(path, _SCHEMA, version=VERSION, remedy=_REMEDY)
        )

    def append(
        self,
        events: Sequence[Event],
        *,
        task: str | None = None,
        cause: int | None = None,
        durable: bool = True,
    ) -> tuple[Entry, ...]:
        """Write events as one transaction; returns once they are on the disk.

        Args:
            events: What happened, in order.
            task: The task they belong to; an event that names its own task keeps that.
            cause: Number of the event that led to them.
            durable: False for what nobody acts on: no crash of a process takes it back, but a power
                cut before the next durable event may.

        Raises:
            StorageError: Nothing was written (disk full, read-only); nobody may act on them.
        """
        if not events:
            return ()
        now_s, monotonic_s = time.time(), time.monotonic()
        entries = []
        with self._database.change(durable=durable) as connection:
            for event in events:
                own = getattr(event, "task", None) or task
                plain = canonical_json(event.to_json()).decode()
                cursor = connection.execute(
                    "INSERT INTO events (time_s, monotonic_s, kind, task, cause, data)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (now_s, monotonic_s, event.KIND, own, cause, plain),
                )
                assert cursor.lastrowid is not None
                entries.append(
                    Entry(number=cursor.lastrowid, time_s=now_s, task=own, cause=cause, event=event)
                )
        return tuple(entries)

    def sync(self) -> None:
        """Have everything that was appended survive a power cut; one wait for all of it.

        Raises:
            StorageError: It may not; nobody may act on it.
        """
        self._database.sync()

    def entries(
        self, *, task: str | None = None, since: int = 0, limit: int | None = None
    ) -> Iterator[Entry]:
        """Yield events in order, of all tasks or of one, whose number is above ``since``.

        Args:
            task: Only its events.
            since: The number of the last event that is known already.
            limit: At most so many, so that a long journal holds nobody up.
        """
        of = "all" if task is None else "one"
        return self._select(of, task=task, since=since, limit=-1 if limit is None else limit)

    def around(self, task: str) -> Iterator[Entry]:
        """Yield the events of one task and those of no task: who was there, and was stopped."""
        return self._select("one and the fleet", task=task)

    def beside(self, task: str) -> Iterator[Entry]:
        """Yield what tells why one task went as it did, until it was over.

        These are its own events, those of the tasks that were open at the same time, and those of
        no task. Of a task that is unknown, all events.
        """
        return self._select("one and what was beside it", task=task)

    def lately(self, ended: int) -> Iterator[Entry]:
        """Yield what one must know to go on, in a time that does not grow with all that is past.

        These are the events of no task, of the open tasks, and of those that ended last.

        Args:
            ended: How many tasks that are over are remembered.
        """
        return self._select("late ones and the fleet", ended=ended)

    def _select(self, of: str, *, since: int = 0, limit: int = -1, **given: Any) -> Iterator[Entry]:
        query = (
            "SELECT number, time_s, task, cause, kind, data FROM events"
            f" WHERE number > :since AND {_OF[of]} ORDER BY number LIMIT :limit"
        )
        rows = self._database.rows(query, {"since": since, "limit": limit, **given})
        for number, time_s, of_task, cause, kind, data in rows:
            try:
                plain = json.loads(data)
            except ValueError as error:
                raise DamagedData(f"event {number} of {self.path} is damaged: {error}") from error
            yield Entry(
                number=number,
                time_s=time_s,
                task=of_task,
                cause=cause,
                event=event_from_json(kind, plain),
            )

    def close(self) -> None:
        """Close it; idempotent."""
        self._database.close()
