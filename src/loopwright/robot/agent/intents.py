"""What an agent has heard and begun, on its own disk: no attempt is ever begun twice.

Every change is durable before the robot moves. What had begun when the agent died is interrupted.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.robot.database import Database
from loopwright.robot.messages import (
    Ended,
    IntentStanding,
    MalformedMessage,
    message_from_json,
)

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS attempts (
        number INTEGER PRIMARY KEY, intent TEXT NOT NULL UNIQUE, report TEXT) STRICT""",
    "CREATE TABLE IF NOT EXISTS epochs (epoch INTEGER NOT NULL) STRICT",
)
_VERSION = 1
_REMEDY = (
    "see that the robot is at rest and cancel its tasks, then move the file away: without it the "
    "robot does not know what it has begun"
)
REMEMBERED = 10_000
"""So many attempts stay on the disk; a coordinator asks after the few that are open."""


class IntentLog:
    """The attempts of one robot."""

    def __init__(self, path: Path) -> None:
        """Open or make the record; what had begun and not ended is ``interrupted`` from now on.

        Raises:
            StorageError: It cannot be opened or made; no order is taken.
            DamagedData: The file is no such record.
        """
        self._database = Database(path, _SCHEMA, version=_VERSION, remedy=_REMEDY)
        self._lock = threading.Lock()
        rows = self._database.rows("SELECT max(epoch) FROM epochs")
        self.epoch: int = rows[0][0] or 0
        """The newest coordinator epoch that was heard of."""
        self._running: set[str] = set()
        self._unwritten: dict[str, Ended] = {}

    def standing(self, intent: str) -> IntentStanding:
        """Return what is known of an attempt."""
        if intent in self._running:
            return "running"
        rows = self._database.rows("SELECT report FROM attempts WHERE intent = ?", (intent,))
        if not rows:
            return "never-heard"
        return "interrupted" if self.report(intent) is None else "ended"

    def report(self, intent: str) -> Ended | None:
        """Return the report of an attempt that has ended."""
        if intent in self._unwritten:
            return self._unwritten[intent]
        rows = self._database.rows(
            "SELECT report FROM attempts WHERE intent = ? AND report IS NOT NULL", (intent,)
        )
        if not rows:
            return None
        try:
            report = message_from_json(json.loads(rows[0][0]))
        except (ValueError, MalformedMessage) as error:
            where = f"attempt {intent} in {self._database.path}"
            raise DamagedData(f"{where} is damaged: {error}; {_REMEDY}") from error
        assert isinstance(report, Ended)
        return report

    def begin(self, intent: str) -> None:
        """Write down that an attempt begins; durable when this returns.

        Raises:
            StorageError: It could not be written; the attempt may not begin.
        """
        with self._database.change() as connection:
            connection.execute("INSERT INTO attempts (intent) VALUES (?)", (intent,))
            connection.execute(
                "DELETE FROM attempts WHERE number <= (SELECT max(number) FROM attempts) - ?",
                (REMEMBERED,),
            )
        self._running.add(intent)

    def end(self, report: Ended) -> None:
        """Write down how an attempt ended; durable when this returns.

        Raises:
            StorageError: It could not be written; it is known until this agent dies, and counts as
                interrupted from then on.
        """
        plain = json.dumps(report.to_json(), separators=(",", ":"))
        self._unwritten[report.intent] = report
        self._running.discard(report.intent)
        with self._database.change() as connection:
            connection.execute(
                "UPDATE attempts SET report = ? WHERE intent = ?", (plain, report.intent)
            )
        del self._unwritten[report.intent]

    def fence(self, epoch: int) -> bool:
        """Return whether a coordinator epoch is the newest; a newer one is remembered for ever."""
        with self._lock:
            if epoch > self.epoch:
                with self._database.change() as connection:
                    connection.execute("DELETE FROM epochs")
                    connection.execute("INSERT INTO epochs VALUES (?)", (epoch,))
                self.epoch = epoch
            return epoch == self.epoch

    def close(self) -> None:
        """Close the file; idempotent."""
        self._database.close()
