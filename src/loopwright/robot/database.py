"""An SQLite file of the fleet: whole transactions, one process that writes, any that look."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loopwright.core.errors import DamagedData, StorageError, WorkspaceBusy

_BUSY_WAIT_S = 10.0


class Database:
    """One connection, for any thread."""

    def __init__(self, path: Path, schema: Sequence[str], *, version: int, remedy: str) -> None:
        """Open the file to write, or make it.

        Args:
            path: The SQLite file.
            schema: Statements that make what is not there yet.
            version: Of the schema; a file of another one is refused.
            remedy: What to do with a file that cannot be read.

        Raises:
            StorageError: It cannot be opened or made.
            DamagedData: The file is no such database, or one of another version.
        """
        self._begin(path, version, remedy)
        with self._own_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_BUSY_WAIT_S
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._check_version()
            for statement in schema:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {version}")

    @classmethod
    def to_read(cls, path: Path, *, version: int, remedy: str) -> Database:
        """Look into a file that somebody else may be writing, without leaving a trace beside it.

        Raises:
            DamagedData: The file is missing, no such database, or one of another version.
        """
        if not path.exists():
            raise DamagedData(f"there is no {path}")
        self = cls.__new__(cls)
        self._begin(path, version, remedy)
        # Nobody has it open if there is no log beside it; then none is made for us either.
        unused = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        with self._own_errors():
            self._connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro{unused}", uri=True, check_same_thread=False
            )
            self._check_version()
        return self

    def _begin(self, path: Path, version: int, remedy: str) -> None:
        self.path, self._version, self._remedy = path, version, remedy
        self._lock = threading.RLock()

    @contextmanager
    def change(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction; an error in it undoes all of it.

        Args:
            durable: False for what nobody acts on: no crash of a process takes it back, but a power
                cut before the next durable change may.

        Raises:
            StorageError: Nothing was written (disk full, read-only).
            WorkspaceBusy: Another process writes, and does not end.
        """
        with self._lock, self._own_errors():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise

    def sync(self) -> None:
        """Have every change survive a power cut; one wait for all of them.

        Raises:
            StorageError: They may not; nobody may act on them.
        """
        with self._lock, self._own_errors():
            # A commit with FULL syncs the log, and with it all commits before.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA user_version = {self._version}")

    def rows(self, query: str, values: Sequence[object] | Mapping[str, Any] = ()) -> list[tuple]:
        """Return every row that a query finds."""
        with self._lock, self._own_errors():
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close it; idempotent."""
        with self._lock:
            self._connection.close()

    def _check_version(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        is_new = self._connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        if version != self._version and not (is_new and version == 0):
            raise DamagedData(
                f"{self.path} has version {version}, this reads {self._version}; {self._remedy}"
            )

    @contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise WorkspaceBusy(f"{self.path} is in use by another process") from error
            raise StorageError(f"{self.path}: {error}; nothing of it was written") from error
        except sqlite3.DatabaseError as error:
            raise DamagedData(f"{self.path} is damaged: {error}; {self._remedy}") from error
        except OSError as error:
            raise StorageError(f"{self.path} cannot be opened: {error}") from error
