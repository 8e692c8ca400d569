"""Who saw something last, by a memory that somebody else may be writing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.robot.only_read import connect_to_read
from loopwright.robot.sighting import Sighting


def last_sightings(
    path: Path, entity: str, *, from_s: float, until_s: float
) -> tuple[Sighting, ...]:
    """Return the last sighting of something by each witness within a time, the latest first.

    Args:
        path: The memory's file; it is only read.
        entity: What was seen.
        from_s: Wall clock, seconds since 1970.
        until_s: Wall clock.

    Raises:
        DamagedData: The file is missing or no memory.
    """
    try:
        with closing(connect_to_read(path)) as memory:
            rows = memory.execute(
                "SELECT sighting FROM sightings WHERE entity = ? AND time_s BETWEEN ? AND ?"
                " ORDER BY time_s DESC",
                (entity, from_s, until_s),
            ).fetchall()
        found: dict[str, Sighting] = {}
        for (plain,) in rows:
            sighting = Sighting.from_json(json.loads(plain))
            if sighting.pose is not None:
                found.setdefault(sighting.by, sighting)
    except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
        raise DamagedData(f"{path} cannot be read as a memory: {error}") from error
    return tuple(found.values())
