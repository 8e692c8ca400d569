"""The memory itself: sightings on the disk, beliefs above them, questions in space and time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from sqlite3 import Connection

import numpy as np

from loopwright.core.errors import DamagedData, LoopwrightError
from loopwright.robot.database import Database
from loopwright.robot.logic import Fact, Facts, Symbols, Truth
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.frames import in_world
from loopwright.robot.memory.predicates import observe
from loopwright.robot.memory.things import Things
from loopwright.robot.sighting import Sighting

_SCHEMA = (
    # A row holds from one moment until another: who sees the same again moves its end.
    """CREATE TABLE IF NOT EXISTS sightings (
        number INTEGER PRIMARY KEY, entity TEXT NOT NULL, from_s REAL NOT NULL,
        until_s REAL NOT NULL, sighting TEXT NOT NULL) STRICT""",
    "CREATE INDEX IF NOT EXISTS sightings_of ON sightings (entity, from_s)",
    "CREATE INDEX IF NOT EXISTS sightings_until ON sightings (until_s)",
    "CREATE VIRTUAL TABLE IF NOT EXISTS places USING rtree (number, x0, x1, y0, y1, z0, z1)",
)
_LAST_PLACES = "SELECT max(number) FROM places JOIN sightings USING (number) GROUP BY entity"
VERSION = 2
REMEDY = "move it away, it is made anew"
KEEP_EVERY_S = 1.0
"""A sensor that sees the same again is believed at once; so often that is written down."""
UNSEEN_S = 5.0
"""Between two sightings of the same that lie farther apart, nobody knows whether it held."""
FORGET_S = 30 * 86_400.0
"""So long sightings stay on the disk; the last place of a thing stays for ever."""
FORGET_EVERY_S = 3600.0
CLOCKS_APART_S = 3.0
"""By so much the clocks of two machines may differ."""
FORGET_RELATIONS_S = 3600.0
"""How long what a hand felt is believed when nobody feels anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """What a sensor saw of a thing last, as it was written down."""

    sighting: Sighting
    number: int
    until_s: float

    def goes_on_with(self, later: Sighting) -> bool:
        """Tell whether a sighting says that the same still holds."""
        kept = self.sighting
        if kept.relations != later.relations or later.time_s - self.until_s > UNSEEN_S:
            return False
        if kept.pose is None or later.pose is None:
            return kept.pose is later.pose
        moved_m = np.linalg.norm(np.array(kept.pose[:3]) - np.array(later.pose[:3]))
        return bool(moved_m <= max(kept.sigma_m, later.sigma_m))


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
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._database = Database(path, _SCHEMA, version=VERSION, remedy=REMEDY)
        self._forgot_s = self._clock()
        self._forget()
        for row in self._database.rows(
            "SELECT until_s, sighting FROM sightings WHERE until_s >= "
            f"(SELECT max(until_s) FROM sightings) - ? OR number IN ({_LAST_PLACES})"
            " ORDER BY until_s, number",
            (FORGET_RELATIONS_S,),
        ):
            self._believe(read_sighting(row, path))

    # Remembering ---------------------------------------------------------------------------------

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Remember what was seen; of things that have no name here nothing is kept.

        Nor is anything of a frame that is no thing with a known pose.

        Raises:
            StorageError: It could not be written; nothing of it is believed.
        """
        named = (s for s in sightings if s.entity in self.things)
        with self._lock:
            placed = (in_world(s, self.things, self.where) for s in named)
            known = [s for s in placed if s is not None]
            if not known:
                return
            # A sighting that a power cut loses is seen again; the journal keeps what was decided.
            with self._database.change(durable=False) as connection:
                kept = {}
                for sighting in known:
                    kept |= self._keep(sighting, kept, connection)
            self._kept |= kept
            for sighting in known:
                self._believe(sighting)
            if self._clock() - self._forgot_s > FORGET_EVERY_S:
                self._forgot_s = self._clock()
                self._forget()

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

    def _keep(
        self, sighting: Sighting, lately: dict[tuple[str, str], _Kept], connection: Connection
    ) -> dict[tuple[str, str], _Kept]:
        """Write a sighting down, or how long the last one held; return what was written."""
        source = (sighting.entity, sighting.by)
        before = lately.get(source) or self._kept.get(source)
        if before is None or not before.goes_on_with(sighting):
            return {source: self._store(sighting, connection)}
        if sighting.time_s - before.until_s < KEEP_EVERY_S:
            return {}
        connection.execute(
            "UPDATE sightings SET until_s = ? WHERE number = ?", (sighting.time_s, before.number)
        )
        return {source: replace(before, until_s=sighting.time_s)}

    def _store(self, sighting: Sighting, connection: Connection) -> _Kept:
        cursor = connection.execute(
            "INSERT INTO sightings (entity, from_s, until_s, sighting) VALUES (?, ?, ?, ?)",
            (sighting.entity, sighting.time_s, sighting.time_s, json.dumps(sighting.to_json())),
        )
        assert cursor.lastrowid is not None
        if sighting.pose is not None:
            x, y, z = sighting.pose[:3]
            connection.execute(
                "INSERT INTO places VALUES (?, ?, ?, ?, ?, ?, ?)",
                (cursor.lastrowid, x, x, y, y, z, z),
            )
        return _Kept(sighting=sighting, number=cursor.lastrowid, until_s=sighting.time_s)

    def _forget(self) -> None:
        old = (self._clock() - FORGET_S,)
        which = f"until_s < ? AND number NOT IN ({_LAST_PLACES})"
        with self._database.change(durable=False) as connection:
            connection.execute(
                f"DELETE FROM places WHERE number IN (SELECT number FROM sightings WHERE {which})",
                old,
            )
            connection.execute(f"DELETE FROM sightings WHERE {which}", old)

    def _believe(self, sighting: Sighting) -> None:
        if sighting.entity not in self.things:
            return
        for condition in sighting.conditions():
            before = self._felt.get(condition.fact)
            if before is None or not sighting.time_s < before[1] <= self._latest_s():
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
        elif present.time_s > self._latest_s():
            self._beliefs[sighting.entity] = replace(
                present,
                pose=sighting.pose,
                sigma_m=sighting.sigma_m,
                time_s=sighting.time_s,
                by=sighting.by,
                version=present.version + 1,
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
        rows = self._database.rows(
            "SELECT min(until_s, :at_s) AS last_s, sighting FROM sightings"
            " WHERE entity = :entity AND from_s <= :at_s"
            " AND json_extract(sighting, '$.pose') IS NOT NULL"
            " ORDER BY last_s DESC, number DESC LIMIT 1",
            {"entity": entity, "at_s": at_s},
        )
        return read_sighting(rows[0], self.path) if rows else None

    def history(self, entity: str, *, since_s: float = 0.0) -> Iterator[Sighting]:
        """Yield what was seen of something since a moment, each until it changed, in order."""
        self.things[entity]
        for row in self._database.rows(
            "SELECT until_s, sighting FROM sightings WHERE entity = ? AND until_s >= ?"
            " ORDER BY number",
            (entity, since_s),
        ):
            yield read_sighting(row, self.path)

    def near(
        self, position_m: Sequence[float], radius_m: float, *, between_s: tuple[float, float]
    ) -> tuple[Sighting, ...]:
        """Return what was seen within a distance of a point, between two moments."""
        box = [bound for x in position_m for bound in (x - radius_m, x + radius_m)]
        begin_s, end_s = between_s
        rows = self._database.rows(
            "SELECT min(until_s, ?), sighting FROM places JOIN sightings USING (number)"
            " WHERE x1 >= ? AND x0 <= ? AND y1 >= ? AND y0 <= ? AND z1 >= ? AND z0 <= ?"
            " AND until_s >= ? AND from_s <= ? ORDER BY number",
            (end_s, *box, begin_s, end_s),
        )
        found = (read_sighting(row, self.path) for row in rows)
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
        with self._lock:
            felt = list(self._felt)
        return Symbols(frozenset(fact for fact in (*asked, *felt) if facts(fact)))

    def close(self) -> None:
        """Close it; idempotent."""
        self._database.close()

    def belief_since(self, entity: str, since_s: float | None) -> Estimate | None:
        """Return the belief about something, if a sighting at or after a moment supports it."""
        found = self.where(entity)
        if found is None or since_s is None:
            return found
        return found if since_s <= found.time_s <= self._latest_s() else None

    def felt_since(self, fact: Fact, since_s: float | None) -> Truth:
        """Return what a sensor said of a relation last, if it spoke since a moment."""
        with self._lock:
            holds, time_s = self._felt.get(fact, (None, 0.0))
        oldest_s = self._clock() - FORGET_RELATIONS_S if since_s is None else since_s
        return holds if oldest_s <= time_s <= self._latest_s() else None

    def _latest_s(self) -> float:
        """Return the latest moment that can have been; later ones are of a clock since set back."""
        return self._clock() + CLOCKS_APART_S


class _View:
    """The memory as an observer may ask it, from some moment on."""

    def __init__(self, memory: Memory, since_s: float | None) -> None:
        self.things = memory.things
        self._memory, self._since_s = memory, since_s

    def estimate(self, name: str) -> Estimate | None:
        return self._memory.belief_since(name, self._since_s)

    def felt(self, fact: Fact) -> Truth:
        return self._memory.felt_since(fact, self._since_s)


def read_sighting(row: tuple[float, str], path: Path) -> Sighting:
    """Return a sighting as of the last moment that it held."""
    until_s, plain = row
    try:
        return replace(Sighting.from_json(json.loads(plain)), time_s=until_s)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedData(f"a sighting in {path} is damaged: {error}; {REMEDY}") from error
