"""The memory itself: sightings on the disk, beliefs above them, questions in space and time."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np

from loopwright.core.errors import DamagedData, LoopwrightError, StorageError
from loopwright.robot.logic import Fact, Facts, Symbols, Truth
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.predicates import observe
from loopwright.robot.memory.things import Things
from loopwright.robot.sighting import Sighting

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS sightings (
        number INTEGER PRIMARY KEY, entity TEXT NOT NULL, time_s REAL NOT NULL,
        sighting TEXT NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS sightings_of ON sightings (entity, time_s)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS places USING rtree (number, x0, x1, y0, y1, z0, z1)",
)
KEEP_EVERY_S = 1.0
"""A sensor that sees the same again is believed at once, and kept on the disk so often."""
FORGET_RELATIONS_S = 3600.0
"""How long what a hand felt is believed when nobody feels anew."""


class Outdated(LoopwrightError):
    """Somebody else changed the belief meanwhile; read it again."""


class Memory:
    """What is believed of the world, with its history. One process writes."""

    def __init__(
        self, path: Path, things: Things, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Open or make a memory; beliefs are made anew from what was seen.

        Args:
            path: The SQLite file.
            things: What there is.
            clock: Wall clock, seconds since 1970.

        Raises:
            StorageError: It cannot be opened or made.
            DamagedData: The file is no memory.
        """
        self.path, self.things, self._clock = path, things, clock
        self._lock = threading.RLock()
        self._beliefs: dict[str, Estimate] = {}
        self._felt: dict[Fact, tuple[bool, float]] = {}
        self._kept: dict[tuple[str, str], Sighting] = {}
        with self._own_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # A sighting that a power cut loses is seen again; the journal keeps what was decided.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for statement in _SCHEMA:
                self._connection.execute(statement)
            rows = self._connection.execute("SELECT sighting FROM sightings ORDER BY number")
            for (plain,) in rows:
                self._believe(_read(plain, path))

    # Remembering ---------------------------------------------------------------------------------

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Remember what was seen; of things that have no name here nothing is kept.

        Raises:
            StorageError: It could not be written; nothing of it is believed.
        """
        known = [s for s in sightings if s.entity in self.things]
        if not known:
            return
        with self._lock, self._own_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for sighting in known:
                    if self._is_news(sighting):
                        self._store(sighting)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise
            for sighting in known:
                self._believe(sighting)

    def revise(self, sighting: Sighting, *, expected: int) -> Estimate:
        """Remember a sighting only if the belief is still the one that was read.

        Raises:
            Outdated: The belief has another version than ``expected`` (0: none yet).
        """
        with self._lock:
            present = self._beliefs.get(sighting.entity)
            version = present.version if present else 0
            if version != expected:
                raise Outdated(
                    f"the belief about {sighting.entity!r} has version {version}, not {expected}; "
                    "read it again and decide anew"
                )
            self.take((sighting,))
            return self._beliefs[sighting.entity]

    def _is_news(self, sighting: Sighting) -> bool:
        """Tell whether a sighting says something else than the last one that was kept."""
        kept = self._kept.get((sighting.entity, sighting.by))
        if (
            kept is None
            or kept.relations != sighting.relations
            or sighting.time_s - kept.time_s >= KEEP_EVERY_S
            or (kept.pose is None) != (sighting.pose is None)
        ):
            return True
        if kept.pose is None or sighting.pose is None:
            return False
        moved_m = np.linalg.norm(np.array(kept.pose[:3]) - np.array(sighting.pose[:3]))
        return bool(moved_m > max(kept.sigma_m, sighting.sigma_m))

    def _store(self, sighting: Sighting) -> None:
        cursor = self._connection.execute(
            "INSERT INTO sightings (entity, time_s, sighting) VALUES (?, ?, ?)",
            (sighting.entity, sighting.time_s, json.dumps(sighting.to_json())),
        )
        if sighting.pose is not None:
            x, y, z = sighting.pose[:3]
            self._connection.execute(
                "INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)",
                (cursor.lastrowid, x, x, y, y, z, z),
            )

        self._kept[sighting.entity, sighting.by] = sighting

    def _believe(self, sighting: Sighting) -> None:
        if sighting.entity not in self.things:
            return
        for condition in sighting.conditions():
            before = self._felt.get(condition.fact)
            if before is None or before[1] <= sighting.time_s:
                self._felt[condition.fact] = (condition.holds, sighting.time_s)
        if sighting.pose is None:
            return
        drift = self.things[sighting.entity].drift_m_per_root_s
        present = self._beliefs.get(sighting.entity)
        if present is None:
            self._beliefs[sighting.entity] = Estimate(
                entity=sighting.entity,
                pose=sighting.pose,
                sigma_m=sighting.sigma_m,
                time_s=sighting.time_s,
                by=sighting.by,
                version=1,
            )
        elif sighting.time_s >= present.time_s:
            self._beliefs[sighting.entity] = present.seen(sighting, drift)

    # Asking --------------------------------------------------------------------------------------

    def where(self, entity: str) -> Estimate | None:
        """Return where something is believed to be now, as sure as that still is; None: unseen.

        Raises:
            UnknownName: There is no such thing.
        """
        thing = self.things[entity]
        with self._lock:
            belief = self._beliefs.get(entity)
        return belief.aged(self._clock(), thing.drift_m_per_root_s) if belief else None

    def where_was(self, entity: str, at_s: float) -> Sighting | None:
        """Return the last sighting of something at or before a moment, with who saw it."""
        self.things[entity]
        rows = self._rows(
            "SELECT sighting FROM sightings WHERE entity = ? AND time_s <= ?"
            " AND json_extract(sighting, '$.pose') IS NOT NULL ORDER BY time_s DESC LIMIT 1",
            (entity, at_s),
        )
        return _read(rows[0][0], self.path) if rows else None

    def history(self, entity: str, *, since_s: float = 0.0) -> Iterator[Sighting]:
        """Yield every sighting of something, the oldest first."""
        self.things[entity]
        for (plain,) in self._rows(
            "SELECT sighting FROM sightings WHERE entity = ? AND time_s >= ? ORDER BY number",
            (entity, since_s),
        ):
            yield _read(plain, self.path)

    def near(
        self, position_m: Sequence[float], radius_m: float, *, between_s: tuple[float, float]
    ) -> tuple[Sighting, ...]:
        """Return what was seen within a distance of a point, between two moments."""
        box = [bound for x in position_m for bound in (x - radius_m, x + radius_m)]
        rows = self._rows(
            "SELECT sighting FROM places JOIN sightings USING (number)"
            " WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ? AND z1 >= ? AND z0 <= ?"
            " AND time_s >= ? AND time_s <= ? ORDER BY number",
            (*box, *between_s),
        )
        found = (_read(plain, self.path) for (plain,) in rows)
        centre_m = np.array(position_m)
        return tuple(
            s
            for s in found
            if s.pose and np.linalg.norm(np.array(s.pose[:3]) - centre_m) <= radius_m
        )

    def facts(self, *, since_s: float | None = None) -> Facts:
        """Return who can say what holds now, by what was seen (since some moment)."""
        view = _View(self, since_s)
        return lambda fact: observe(view, fact)

    def symbols(self) -> Symbols:
        """Return every fact that is believed to hold."""
        facts, things = self.facts(), self.things
        objects = [t.name for t in things.of_kind("object")]
        carriers = [t.name for t in things.carriers]
        robots = [t.name for t in things.of_kind("robot")]
        stations = [t.name for t in things.of_kind("station")]
        placed = [*robots, *(t.name for t in things.of_kind("surface"))]
        asked: list[Fact] = [
            *(Fact("on", pair) for pair in product(objects, carriers)),
            *(Fact("at", pair) for pair in product(placed, stations)),
            *(Fact("astray", (robot,)) for robot in robots),
            *(Fact("holding", pair) for pair in product(robots, objects)),
            *(Fact("free-hand", (robot,)) for robot in robots),
            *(Fact("clear", (carrier,)) for carrier in carriers),
        ]
        return Symbols(frozenset(fact for fact in asked if facts(fact)))

    def close(self) -> None:
        """Close it; idempotent."""
        with self._lock:
            self._connection.close()

    def belief_since(self, entity: str, since_s: float | None) -> Estimate | None:
        """Return the belief about something, if a sighting at or after a moment supports it."""
        found = self.where(entity)
        return None if found and since_s is not None and found.time_s < since_s else found

    def felt_since(self, fact: Fact, since_s: float | None) -> Truth:
        """Return what a sensor said of a relation last, if it spoke since a moment."""
        with self._lock:
            holds, time_s = self._felt.get(fact, (None, 0.0))
        oldest_s = self._clock() - FORGET_RELATIONS_S if since_s is None else since_s
        return holds if time_s >= oldest_s else None

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple]:
        with self._lock, self._own_errors():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise DamagedData(
                f"{self.path} is damaged: {error}; move it away, it is made anew"
            ) from error
        except OSError as error:
            raise StorageError(f"{self.path} cannot be opened: {error}") from error


class _View:
    """The memory as an observer may ask it, from some moment on."""

    def __init__(self, memory: Memory, since_s: float | None) -> None:
        self.things = memory.things
        self._memory, self._since_s = memory, since_s

    def estimate(self, name: str) -> Estimate | None:
        return self._memory.belief_since(name, self._since_s)

    def felt(self, fact: Fact) -> Truth:
        return self._memory.felt_since(fact, self._since_s)


def _read(plain: str, path: Path) -> Sighting:
    try:
        return Sighting.from_json(json.loads(plain))
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(f"a sighting in {path} is damaged: {error}") from error
