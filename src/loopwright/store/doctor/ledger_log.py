"""The ledger's write-ahead log, read byte by byte: SQLite itself stays silent about damage in it.

At the first frame that does not add up SQLite takes the log to end, so a flipped byte quietly
undoes every transaction from there on. Each frame's checksum continues that of the frame before,
as stored, so every frame can be judged alone, and a torn end be told from damage before the end.
The format: https://sqlite.org/fileformat.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.episode_files import read_regular_file
from loopwright.store.workspace import LEDGER

WAL, SHM = f"{LEDGER}-wal", f"{LEDGER}-shm"
_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_LITTLE, _BIG = 0x377F0682, 0x377F0683
_REPAIR = "keep a copy of the ledger and its log, then index the episodes anew"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Log:
    """What was found in the frames of a log."""

    frames: int
    """Frames of the present generation; older ones may follow and mean nothing."""
    bad: tuple[int, ...]
    """Numbers of the frames that do not add up, from 0."""
    torn_bytes: int
    """Bytes after the last whole frame."""
    salts: bytes


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
        log = _read_log(data)
    except ValueError as error:
        yield _finding(f"its header is damaged ({error}): SQLite takes the whole log for empty")
        return
    yield from _frame_findings(log, index)


def _frame_findings(log: _Log, index: _Index | None) -> Iterator[Finding]:
    missing = 0
    if index is not None and index.salts == log.salts:
        missing = index.frames - log.frames
    if missing > 0:
        yield _finding(
            f"it ends after {log.frames} of {index.frames if index else 0} frames: "
            "the last transactions are lost"
        )
    elif log.bad and log.bad[0] + len(log.bad) < log.frames:
        yield _finding(
            f"frame {log.bad[0] + 1} of {log.frames} is damaged: SQLite takes the log to end "
            "there, so the transactions from there on are lost"
        )
    elif log.bad or log.torn_bytes:
        yield _finding(
            f"its end does not add up after frame {log.frames - len(log.bad)}: either the power "
            "failed while a transaction was written, which then never was committed, or the last "
            "transaction is damaged",
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


def _read_log(data: bytes) -> _Log:
    if len(data) < _HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes, expected {_HEADER_BYTES} or more")
    magic, _, page_bytes, _, *_ = struct.unpack(">8I", data[:_HEADER_BYTES])
    if magic not in (_LITTLE, _BIG):
        raise ValueError(f"it begins with {magic:#x}")
    order = "<" if magic == _LITTLE else ">"
    before = struct.unpack(">2I", data[24:32])
    if _checksum(data[:24], (0, 0), order) != before:
        raise ValueError("its checksum does not fit")
    salts, step = data[16:24], _FRAME_HEADER_BYTES + page_bytes
    present, bad = 0, []
    for number, begin in enumerate(range(_HEADER_BYTES, len(data) - step + 1, step)):
        head = data[begin : begin + _FRAME_HEADER_BYTES]
        stored = struct.unpack(">2I", head[16:24])
        page = data[begin + _FRAME_HEADER_BYTES : begin + step]
        fits = _checksum(page, _checksum(head[:8], before, order), order) == stored
        before = stored
        if head[8:16] == salts:
            present = number + 1
        if not fits or head[8:16] != salts:
            bad.append(number)
    rest = data[_HEADER_BYTES + (len(data) - _HEADER_BYTES) // step * step :]
    return _Log(
        frames=present,
        bad=tuple(number for number in bad if number < present),
        torn_bytes=len(rest) if rest[8:16] == salts else 0,
        salts=salts,
    )


def _checksum(data: bytes, before: tuple[int, ...], order: str) -> tuple[int, int]:
    """Return SQLite's running checksum after more data; both parts wrap at 32 bits.

    For every pair of words ``first += one + second; second += two + first``. That is linear in the
    words, so a page is two sums of products instead of a thousand steps.
    """
    words = np.frombuffer(data, f"{order}u4").astype(np.uint32)
    weights = _weights(len(words) // 2)
    start = np.array(before, np.uint32)
    first, second = (
        int((row[:2] * start).sum(dtype=np.uint32)) + int((row[2:] * words).sum(dtype=np.uint32))
        for row in weights
    )
    return first & 0xFFFFFFFF, second & 0xFFFFFFFF


@cache
def _weights(pairs: int) -> np.ndarray:
    """Return uint32 ``(2, 2 + 2 * pairs)``: what each sum before, then each word, counts for."""
    mask = 0xFFFFFFFF
    columns: list[tuple[int, int]] = []
    power = ((1, 0), (0, 1))  # of the step ((1, 1), (1, 2))
    for _ in range(pairs):
        (a, b), (c, d) = power
        columns += [(b, d), ((a + b) & mask, (c + d) & mask)]  # of the later word, then the first
        power = (((a + b) & mask, (a + 2 * b) & mask), ((c + d) & mask, (c + 2 * d) & mask))
    (a, b), (c, d) = power
    columns += [(b, d), (a, c)]
    return np.array(columns[::-1], np.uint32).T.copy()


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
