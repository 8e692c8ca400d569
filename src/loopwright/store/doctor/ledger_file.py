"""The ledger as a file: is it the SQLite database that Loopwright made, and whole?"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from loopwright.core.errors import LoopwrightError
from loopwright.store.doctor import Finding
from loopwright.store.doctor.ledger_log import WAL, examine_log
from loopwright.store.ledger.database import APPLICATION_ID, SCHEMA_VERSION, schema
from loopwright.store.workspace import LEDGER

REBUILD = "keep the damaged file and begin a new ledger, with every row that can still be read"
_MOST_MESSAGES = 5
_MOST_COPIES = 10


def examine_ledger_file(root: Path) -> Iterator[Finding]:
    """Look at the file and its log, without changing either."""
    path = root / LEDGER
    yield from examine_log(root)
    if not path.is_file() or not path.stat().st_size:
        yield _finding(
            "it is missing or empty: verdicts, runs and decisions are lost; "
            "episodes and objects are not"
        )
        return
    try:
        with reading_ledger(root) as connection:
            yield from _file_findings(connection)
    except sqlite3.Error as error:
        yield _finding(f"SQLite cannot read it: {error}")
    except (OSError, LoopwrightError) as error:
        yield _finding(f"it cannot be read: {error}", repair=None)


@contextmanager
def reading_ledger(root: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that changes nothing: neither ledger nor log nor the files beside them.

    Text that is no UTF-8 comes with surrogates, so that one bad row does not hide the others.

    Raises:
        sqlite3.Error: It cannot be opened.
    """
    with (
        _source(root) as (path, query),
        closing(
            sqlite3.connect(f"{path.as_uri()}?{query}", uri=True, isolation_level=None)
        ) as connection,
    ):
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        yield connection


@contextmanager
def _source(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file to open and how; a log is read in a copy, for opening it would index it."""
    if not (root / WAL).exists():
        yield root / LEDGER, "mode=ro&immutable=1"
        return
    with tempfile.TemporaryDirectory(prefix="loopwright-doctor-") as folder:
        for _ in range(_MOST_COPIES):
            before = _times(root)
            for name in (WAL, LEDGER):
                shutil.copyfile(root / name, Path(folder) / name)
            if _times(root) == before:
                break  # nobody wrote meanwhile
        yield Path(folder) / LEDGER, "mode=rw"


def _times(root: Path) -> list[int]:
    return [(root / name).stat().st_mtime_ns for name in (WAL, LEDGER)]


def _file_findings(connection: sqlite3.Connection) -> Iterator[Finding]:
    messages = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(100)")]
    if messages != ["ok"]:
        shown = "; ".join(messages[:_MOST_MESSAGES])
        yield _finding(f"SQLite finds {len(messages)} faults in it: {shown}")
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield _finding(f"row {row} of {table} belongs to a row of {parent} that is not there")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        yield _finding(f"it is no ledger of Loopwright: its application id is {application:#x}")
    elif version > SCHEMA_VERSION:
        yield _finding(f"it has version {version}, newer than this Loopwright", repair=None)
    elif version < 1 or _schema(connection) != schema(version):
        yield _finding(f"its tables are not those of a ledger of version {version}")


def _schema(connection: sqlite3.Connection) -> dict[str, str]:
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ESCAPE '\\'"
    )
    return {str(name): str(sql) for name, sql in found}


def _finding(message: str, repair: str | None = REBUILD) -> Finding:
    return Finding(
        check="ledger/file", severity="damage", where=LEDGER, message=message, repair=repair
    )
