"""A checksum beside every row: SQLite notices broken pages, but not a changed byte in a value.

The sums are kept by triggers of the connection, so that no statement that changes a row can
forget them; other programs may read the file, for nothing in it needs a function of ours.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence

KEYS: Mapping[str, tuple[str, ...]] = {
    "attempts": ("key", "epoch"),
    "receipts": ("key",),
    "episodes": ("id",),
    "verdicts": ("number",),
    "seed_uses": ("split", "scenario", "seed", "purpose"),
    "runs": ("number",),
    "rounds": ("run", "number"),
    "decisions": ("number",),
    "events": ("number",),
    "annotations": ("number",),
}
"""Table to the columns that name a row."""

TABLE = """CREATE TABLE row_sums (
    of_table TEXT NOT NULL, key TEXT NOT NULL, sum TEXT NOT NULL,
    PRIMARY KEY (of_table, key)) STRICT, WITHOUT ROWID"""


def row_sum(*values: object) -> str:
    """Return the checksum of a row's values, in the order of its columns."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def key_text(values: Sequence[object]) -> str:
    """Return what names a row in the table of sums (SQLite's ``json_array``)."""
    return json.dumps(list(values), separators=(",", ":"), ensure_ascii=False)


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """Return the names of a table's columns."""
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def keep_row_sums(connection: sqlite3.Connection) -> None:
    """Let a connection keep the sums; needed before it changes anything."""
    connection.create_function("row_sum", -1, row_sum, deterministic=True)
    for table in KEYS:
        forget = f"DELETE FROM row_sums WHERE of_table = '{table}' AND key = {_key(table, 'OLD')};"
        enter = (
            f"INSERT INTO row_sums VALUES ('{table}', {_key(table, 'NEW')}, "
            f"{_sum(connection, table, 'NEW')});"
        )
        for event, actions in (
            ("INSERT", enter),
            ("DELETE", forget),
            ("UPDATE", forget + enter),
        ):
            connection.execute(
                f"CREATE TEMP TRIGGER {table}_{event.lower()} AFTER {event} ON main.{table} "
                f"BEGIN {actions} END"
            )


def sum_all_rows(connection: sqlite3.Connection) -> None:
    """Enter the sums of rows that were written before there were sums."""
    connection.create_function("row_sum", -1, row_sum, deterministic=True)
    for table in KEYS:
        connection.execute(
            f"INSERT INTO row_sums SELECT '{table}', {_key(table, table)}, "
            f"{_sum(connection, table, table)} FROM {table}"
        )


def _key(table: str, row: str) -> str:
    return f"json_array({', '.join(f'{row}.{column}' for column in KEYS[table])})"


def _sum(connection: sqlite3.Connection, table: str, row: str) -> str:
    columns = columns_of(connection, table)
    return f"row_sum({', '.join(f'{row}.{column}' for column in columns)})"
