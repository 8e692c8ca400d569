"""The SQLite file under the ledger: schema, transactions, and errors in our own words."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopwright.core.errors import (
    DamagedData,
    LoopwrightError,
    StorageError,
    WorkspaceBusy,
    WorkspaceError,
)
from loopwright.store.crashpoints import reach
from loopwright.store.ledger import row_sums
from loopwright.store.ledger.log import refuse_damaged_log

APPLICATION_ID = 0x4C4F4F50  # "LOOP", so that file(1) and we can tell it from other databases
_BUSY_WAIT_S = 60.0

_VERSION_1 = (
    """CREATE TABLE attempts (
        key TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL, spec TEXT NOT NULL,
        owner TEXT NOT NULL, host TEXT NOT NULL, boot_id TEXT NOT NULL,
        pid INTEGER NOT NULL, pid_started TEXT NOT NULL,
        child_pid INTEGER, child_started TEXT,
        began_at REAL NOT NULL, ended_at REAL,
        outcome TEXT CHECK (outcome IN ('committed', 'failed')), message TEXT,
        PRIMARY KEY (key, epoch)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX attempts_open ON attempts (host, boot_id) WHERE ended_at IS NULL",
    """CREATE TABLE receipts (
        key TEXT PRIMARY KEY, result_digest TEXT NOT NULL, epoch INTEGER NOT NULL,
        receipt TEXT NOT NULL, committed_at REAL NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE episodes (
        id TEXT PRIMARY KEY, digest TEXT NOT NULL, kind TEXT NOT NULL, scenario TEXT NOT NULL,
        seed INTEGER NOT NULL, start TEXT NOT NULL, candidate TEXT, num_steps INTEGER NOT NULL,
        censored TEXT, added_at REAL NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE INDEX episodes_by_cause ON episodes (scenario, kind, candidate)",
    """CREATE TABLE verdicts (
        number INTEGER PRIMARY KEY AUTOINCREMENT, episode TEXT NOT NULL,
        rank INTEGER NOT NULL, verdict TEXT NOT NULL, added_at REAL NOT NULL) STRICT""",
    "CREATE INDEX verdicts_of_episode ON verdicts (episode, rank, number)",
    """CREATE TABLE seed_uses (
        split TEXT NOT NULL, scenario TEXT NOT NULL, seed INTEGER NOT NULL,
        purpose TEXT NOT NULL, used_at REAL NOT NULL,
        PRIMARY KEY (split, scenario, seed, purpose)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
        recipe TEXT NOT NULL, config TEXT NOT NULL, began_at REAL NOT NULL) STRICT""",
    """CREATE TABLE rounds (
        run TEXT NOT NULL REFERENCES runs (id), number INTEGER NOT NULL,
        record TEXT NOT NULL, recorded_at REAL NOT NULL,
        PRIMARY KEY (run, number)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE decisions (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, alias TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('genesis', 'promotion', 'rollback', 'refusal')),
        candidate TEXT NOT NULL, champion_before TEXT, gate_report TEXT, reason TEXT NOT NULL,
        decided_at REAL NOT NULL) STRICT""",
    "CREATE INDEX decisions_of_alias ON decisions (alias, number)",
    """CREATE TABLE events (
        number INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL,
        name TEXT NOT NULL, data TEXT NOT NULL) STRICT""",
)
_VERSION_2 = (
    """CREATE TABLE annotations (
        number INTEGER PRIMARY KEY AUTOINCREMENT, episode TEXT NOT NULL,
        annotation TEXT NOT NULL, added_at REAL NOT NULL) STRICT""",
    "CREATE INDEX annotations_of_episode ON annotations (episode, number)",
)
_VERSION_3 = (row_sums.TABLE,)
_VERSIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
"""What each version adds to the one before; an older ledger is brought up when it is opened."""
SCHEMA_VERSION = len(_VERSIONS)


def schema(version: int) -> dict[str, str]:
    """Return the name and the statement of everything a ledger of some version is made of."""
    statements = [statement for added in _VERSIONS[:version] for statement in added]
    return {statement.split()[2]: statement for statement in statements}


class Database:
    """One connection; readers see whole transactions, writers queue."""

    def __init__(self, path: Path) -> None:
        """Open or make the file at ``path``; see :class:`loopwright.store.ledger.Ledger`."""
        if sqlite3.sqlite_version_info < (3, 37):
            raise WorkspaceError(
                f"the ledger needs SQLite 3.37 or newer, this Python has {sqlite3.sqlite_version}"
            )
        self.path = path
        self._lock = threading.RLock()
        self._keeps_sums = False
        refuse_damaged_log(path)
        with self._own_errors():
            self._connection = sqlite3.connect(
                _address(path),
                uri=True,
                timeout=_BUSY_WAIT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Close the connection; idempotent."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one durable transaction; an error in it undoes all of it."""
        with self._lock, self._own_errors():
            if not self._keeps_sums:
                row_sums.keep_row_sums(self._connection)
                self._keeps_sums = True
        with self._transaction() as connection:
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._own_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                reach("ledger.before_commit")
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise
        reach("ledger.after_commit")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple]:
        """Return every row that a query finds."""
        with self._lock, self._own_errors():
            return self._connection.execute(query, values).fetchall()

    def texts(self) -> Iterator[str]:
        """Yield every text of every table."""
        tables = self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables:
            for _, column, kind, *_ in self.rows(f"PRAGMA table_info({table})"):
                if kind == "TEXT":
                    found = self.rows(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
                    yield from (text for (text,) in found)

    def _prepare(self) -> None:
        self._refuse_foreign()
        self._write_ahead()
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        if self._pragma("user_version") != SCHEMA_VERSION:
            self._upgrade()

    def _write_ahead(self) -> None:
        """Switch to a write-ahead log; SQLite does not wait by itself when another does so too."""
        give_up_s = time.monotonic() + _BUSY_WAIT_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF in _BUSY
                if not busy or time.monotonic() > give_up_s:
                    raise
                time.sleep(0.01)

    def _upgrade(self) -> None:
        with self._transaction() as connection:
            # Asked again, for another process may have been faster.
            version = self._pragma("user_version")
            for statements in _VERSIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            if version < SCHEMA_VERSION:
                row_sums.sum_all_rows(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _refuse_foreign(self) -> None:
        # In this order: another process may make the ledger meanwhile, tables and marks at once.
        has_tables = self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        version, application = self._pragma("user_version"), self._pragma("application_id")
        if application == APPLICATION_ID:
            if version > SCHEMA_VERSION:
                raise WorkspaceError(
                    f"{self.path} has ledger version {version}, this Loopwright reads up to "
                    f"{SCHEMA_VERSION}; upgrade Loopwright"
                )
        elif has_tables or version:
            raise WorkspaceError(
                f"{self.path} is a database, but no ledger of Loopwright; choose another workspace"
            )

    def _pragma(self, name: str) -> Any:
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error

    def _translate(self, error: sqlite3.Error) -> LoopwrightError | None:
        # The low byte is the primary result code; None stands for an error of our own making.
        code = getattr(error, "sqlite_errorcode", -1) & 0xFF
        if "Could not decode to UTF-8" in str(error):  # said by Python, so there is no code
            code = sqlite3.SQLITE_CORRUPT
        if code in _REFUSED:
            return StorageError(
                f"could not write {self.path}: {error}; free space or make it writable, "
                "and run the command again. What was committed before is untouched."
            )
        if code in _DAMAGED:
            return DamagedData(
                f"{self.path} is damaged: {error}; restore it from a backup, or run "
                f"'loopwright data doctor {self.path.parent} --repair'. "
                "Objects and episodes beside it are not affected."
            )
        if code in _BUSY:
            return WorkspaceBusy(
                f"{self.path} was locked by another process for {_BUSY_WAIT_S:.0f} s; "
                "wait for it or stop it"
            )
        return None


_REFUSED = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Table:
    """A part of the ledger: methods over one shared database."""

    def __init__(self, database: Database) -> None:
        """Use ``database``."""
        self._database = database


def _address(path: Path) -> str:
    """Return what to open: on a disk that cannot be written, the file as it stands.

    Raises:
        StorageError: It cannot be read as it stands, for its last changes lie in a file beside it.
    """
    address = path.absolute().as_uri()
    if os.access(path.parent, os.W_OK):
        return address
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StorageError(
            f"{path} cannot be read while the disk is read-only: its last changes are still in "
            f"{log.name}. Make the disk writable and open the workspace once."
        )
    return f"{address}?immutable=1"


def stored_json(text: str, what: str) -> Any:
    """Return the plain data of a value.

    Raises:
        DamagedData: It is no longer what was written.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedData(
            f"{what} in the ledger is not what was written ({error}); run 'loopwright data doctor'"
        ) from error


def now_s() -> float:
    """Return the wall clock, in seconds since 1970: for people, never for decisions."""
    return time.time()
