"""A new ledger from what is left: every sound row of the old one, and the episodes themselves."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from loopwright.store.doctor.episode_folders import episode_folders
from loopwright.store.doctor.ledger_log import SHM, WAL
from loopwright.store.doctor.ledger_rows import Row, read_rows
from loopwright.store.durable import storing, sync
from loopwright.store.episode_files import DamagedEpisode, is_episode_id, read_description
from loopwright.store.ledger import Ledger
from loopwright.store.ledger.database import Database
from loopwright.store.ledger.row_sums import KEYS
from loopwright.store.workspace import LEDGER

_ORDER = ("runs", *(table for table in KEYS if table not in ("runs", "episodes")))
"""Rounds refer to runs; episodes are read from their folders instead."""


def rebuild_ledger(root: Path) -> str:
    """Keep the damaged ledger under another name and put a new one in its place.

    Returns:
        What was done and what could not be saved, in one sentence.

    Raises:
        StorageError: The operating system refused; the old ledger is where it was.
    """
    rows = {table: _readable(root, table) for table in _ORDER}
    new = root / f"{LEDGER}.rebuilt-{os.getpid()}"
    _remove_database(new)
    database = Database(new)
    saved = {table: _insert(database, table, rows[table]) for table in _ORDER}
    database.close()
    ledger = Ledger(new)
    indexed = _index_all(root, ledger)
    ledger.close()
    kept = _keep_old(root)
    with storing(new):
        os.rename(new, root / LEDGER)
        sync(root)
    return _sentence(saved, indexed, kept)


def _readable(root: Path, table: str) -> list[Row]:
    try:
        return read_rows(root, table)
    except (sqlite3.Error, OSError):
        return []


def _insert(database: Database, table: str, rows: Sequence[Row]) -> int:
    """Insert rows in one transaction; one that is refused does not cost the others."""
    saved = 0
    with database.change() as connection:
        for row in rows:
            columns, marks = ", ".join(row), ", ".join("?" * len(row))
            statement = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
            try:
                connection.execute(statement, list(row.values()))
                saved += 1
            except (sqlite3.IntegrityError, UnicodeError):
                continue
    return saved


def _index_all(root: Path, ledger: Ledger) -> int:
    indexed = 0
    for folder in episode_folders(root):
        if not is_episode_id(folder.name):
            continue
        try:
            description = read_description(folder)
        except DamagedEpisode:
            continue
        if description.id == folder.name:
            ledger.add_episode(description.row())
            indexed += 1
    return indexed


def _keep_old(root: Path) -> str:
    """Rename the old ledger with what belongs to it; return the new name."""
    stem = f"{LEDGER}.damaged-{os.urandom(4).hex()}"
    with storing(root / stem):
        for name in (LEDGER, WAL, SHM):
            if (root / name).exists():
                os.rename(root / name, root / (stem + name.removeprefix(LEDGER)))
        sync(root)
    return stem


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sentence(saved: dict[str, int], indexed: int, kept: str) -> str:
    found = ", ".join(f"{saved[t]} {t}" for t in ("runs", "decisions", "verdicts", "receipts"))
    return (
        f"a new ledger with {indexed} episodes from their folders, and what the old one still "
        f"gave: {found}; anything else it held is lost, verdicts and decisions too; "
        f"the old one is kept as {kept}"
    )
