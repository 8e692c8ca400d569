"""Looking into a database of a fleet that may be running, without leaving a trace in its folder."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a SQLite file that somebody else may be writing, to read only.

    Raises:
        sqlite3.OperationalError: It is not there.
    """
    # Nobody has it open if there is no log beside it; then none is made for us either.
    unused = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    address = f"{path.resolve().as_uri()}?mode=ro{unused}"
    return sqlite3.connect(address, uri=True, check_same_thread=False)
