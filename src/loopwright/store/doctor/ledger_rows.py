"""The ledger row by row: what was changed, and what names something that is not there."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loopwright.store.doctor import Finding
from loopwright.store.doctor.ledger_file import REBUILD, reading_ledger
from loopwright.store.ledger.row_sums import KEYS, columns_of, key_text, row_sum
from loopwright.store.workspace import LEDGER

Row = Mapping[str, Any]
"""Column to value."""

_FIRST_VERSION_WITH_SUMS = 3


def read_rows(root: Path, table: str) -> list[Row]:
    """Return the rows of a table that are what was once written, as far as it can be read."""
    return [row for row, fault in _judged_rows(root, table) if row is not None and fault is None]


def examine_rows(root: Path) -> Iterator[Finding]:
    """Look for rows that were changed, or taken away, behind Loopwright's back."""
    for table in KEYS:
        for _, fault in _judged_rows(root, table):
            if fault is not None:
                yield Finding(
                    check="ledger/row",
                    severity="damage",
                    where=LEDGER,
                    message=f"table {table}: {fault}",
                    repair=REBUILD,
                )


def examine_decisions(root: Path, objects: frozenset[str]) -> Iterator[Finding]:
    """Look for decisions without the evidence or the candidate that they are about."""
    for row in read_rows(root, "decisions"):
        where = f"{LEDGER}: decisions {row['id']}"
        if row["kind"] == "promotion" and not row["gate_report"]:
            yield _lacking(where, "it is a promotion without a gate report", "ledger/decision")
        for column in ("candidate", "gate_report"):
            digest = row[column]
            # Digests only: a plug-in may name what it keeps elsewhere in its own way.
            if digest and len(digest) == 64 and digest not in objects:
                message = f"it is missing; decision {row['id']} names it as its {column}"
                yield _lacking(_object(digest), message, "object/missing")


def examine_receipts(root: Path, objects: frozenset[str]) -> Iterator[Finding]:
    """Look for finished stages whose outputs are gone."""
    for row in read_rows(root, "receipts"):
        for name, digest in _outputs(row["receipt"]).items():
            if digest not in objects:
                yield _lacking(
                    _object(digest),
                    f"it is missing; the finished stage {row['key'][:12]} made it as {name!r}",
                    "object/missing",
                )


def _outputs(receipt: str) -> dict[str, str]:
    try:
        outputs = json.loads(receipt)["result"]["outputs"]
        return {str(name): str(digest) for name, digest in outputs.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}  # its row sum tells


def _object(digest: str) -> str:
    return f"objects/sha256/{digest[:2]}/{digest}"


def _lacking(where: str, message: str, check: str) -> Finding:
    return Finding(check=check, severity="damage", where=where, message=message)


def _judged_rows(root: Path, table: str) -> Iterator[tuple[Row | None, str | None]]:
    """Yield the rows of a table, each with what is wrong with it, and what has no row."""
    try:
        with reading_ledger(root) as connection:
            yield from _judged(connection, table)
    except (sqlite3.Error, OSError) as error:
        yield None, f"it cannot be read to its end: {error}"


def _judged(connection: sqlite3.Connection, table: str) -> Iterator[tuple[Row | None, str | None]]:
    columns = columns_of(connection, table)
    if not columns:
        return  # of an older version, or missing: the file's schema tells
    sums = _sums(connection, table)
    for values in connection.execute(f"SELECT * FROM {table}"):
        row = dict(zip(columns, values, strict=True))
        key = key_text([row[column] for column in KEYS[table]])
        yield row, _fault(key, values, sums)
    for key in sums or ():
        yield None, f"row {_shown(key)} is missing"


def _sums(connection: sqlite3.Connection, table: str) -> dict[str, str] | None:
    if connection.execute("PRAGMA user_version").fetchone()[0] < _FIRST_VERSION_WITH_SUMS:
        return None
    query = "SELECT key, sum FROM row_sums WHERE of_table = ?"
    return dict(connection.execute(query, [table]))


def _fault(key: str, values: tuple, sums: dict[str, str] | None) -> str | None:
    """Say what is wrong with a row, taking its sum away."""
    if sums is None:
        return None
    written = sums.pop(key, None)
    if written is None:
        return f"row {_shown(key)} was not written by Loopwright, or its checksum was changed"
    if written != row_sum(*values):
        return f"row {_shown(key)} is not what was written"
    return None


def _shown(key: str) -> str:
    return key.strip("[]").replace('"', "")[:80]
