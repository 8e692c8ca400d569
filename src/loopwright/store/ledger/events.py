"""Events in the ledger: what happened, in order, for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopwright.core.digest import Json, canonical_json
from loopwright.store.ledger.database import Table, now_s, stored_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened."""

    time: float
    """Seconds since 1970."""
    name: str
    data: dict[str, Any]


class EventTable(Table):
    """An append-only diary. Nothing is decided from it."""

    def add_event(self, name: str, **data: Json) -> None:
        """Append an event."""
        with self._database.change() as connection:
            connection.execute(
                "INSERT INTO events (time, name, data) VALUES (?, ?, ?)",
                (now_s(), name, canonical_json(data).decode()),
            )

    def events(self, limit: int = 100) -> list[Event]:
        """Return the newest events, oldest first."""
        found = self._database.rows(
            "SELECT time, name, data FROM events ORDER BY number DESC LIMIT ?", [limit]
        )
        return [
            Event(time=time, name=name, data=stored_json(data, f"event {name!r}"))
            for time, name, data in found[::-1]
        ]
