"""What the ledger's log tells the doctor; :mod:`loopwright.store.ledger.log` reads it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.episode_files import read_regular_file
from loopwright.store.ledger.log import Log, read_log
from loopwright.store.workspace import LEDGER

WAL, SHM = f"{LEDGER}-wal", f"{LEDGER}-shm"
_REPAIR = "keep a copy of the ledger and its log, then index the episodes anew"


def examine_log(root: Path) -> Iterator[Finding]:
    """Look for damage in ``ledger.db-wal``, and for its absence where there was one."""
    path = root / WAL
    index = _index(root / SHM)
    try:
        data = read_regular_file(path)
    except FileNotFoundError:
        data = b""
    except (OSError, DamagedData) as error:
        yield _finding(f"it cannot be read: {error}")
        return
    if not data:
        if index is not None and index.unsaved:
            yield _finding(
                f"it is missing or empty, but {index.unsaved} pages of it had not yet reached "
                f"{LEDGER}: the last transactions are lost"
            )
        return
    try:
        log = read_log(data)
    except ValueError as error:
        yield _finding(f"its header is damaged ({error}): SQLite takes the whole log for empty")
        return
    yield from _frame_findings(log, index)


def _frame_findings(log: Log, index: _Index | None) -> Iterator[Finding]:
    # Frames up to here were committed, if the index is of this log at all.
    committed = index.frames if index is not None and index.salts == log.salts else 0
    if log.frames < committed:
        yield _finding(
            f"it ends after {log.frames} of {committed} frames: the last transactions are lost"
        )
    elif log.bad and (log.commits_lost or log.bad[0] < committed):
        yield _finding(
            f"frame {log.bad[0] + 1} of {log.frames} is damaged: SQLite takes the log to end "
            "there, so the transactions from there on are lost"
        )
    elif log.bad or log.torn_bytes:
        whole = log.bad[0] if log.bad else log.frames
        yield _finding(
            f"its end does not add up after frame {whole}: either a crash came while a transaction "
            "was written, which then never was committed, or the last transaction is damaged",
            is_certain=False,
        )


def _finding(message: str, *, is_certain: bool = True) -> Finding:
    return Finding(
        check="ledger/log",
        severity="damage" if is_certain else "suspicion",
        where=WAL,
        message=message,
        repair=_REPAIR,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    """What ``ledger.db-shm`` remembers of the log."""

    frames: int
    unsaved: int
    """Frames that had not been copied into the ledger."""
    salts: bytes


def _index(path: Path) -> _Index | None:
    """Read the log's index; it is a hint only, for nothing keeps it from being out of date."""
    try:
        data = read_regular_file(path)
    except (OSError, DamagedData):
        return None
    if len(data) < 136 or data[:48] != data[48:96]:  # two copies, equal but during a change
        return None
    frames, copied = struct.unpack("=I", data[16:20])[0], struct.unpack("=I", data[96:100])[0]
    return _Index(frames=frames, unsaved=max(0, frames - copied), salts=data[32:40])
