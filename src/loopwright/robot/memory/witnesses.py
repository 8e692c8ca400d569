"""Who saw something last, by a memory that somebody else may be writing."""

from __future__ import annotations

from pathlib import Path

from loopwright.robot.database import Database
from loopwright.robot.memory.memory import REMEDY, VERSION, read_sighting
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
    memory = Database.to_read(path, version=VERSION, remedy=REMEDY)
    try:
        rows = memory.rows(
            "SELECT min(until_s, ?) AS last_s, sighting FROM sightings"
            " WHERE entity = ? AND from_s <= ? AND until_s >= ? ORDER BY last_s DESC",
            (until_s, entity, until_s, from_s),
        )
    finally:
        memory.close()
    found: dict[str, Sighting] = {}
    for row in rows:
        sighting = read_sighting(row, path)
        if sighting.pose is not None:
            found.setdefault(sighting.by, sighting)
    return tuple(found.values())
