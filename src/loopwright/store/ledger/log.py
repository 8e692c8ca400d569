"""The ledger's write-ahead log, read byte by byte: SQLite itself stays silent about damage in it.

At the first frame that does not add up SQLite takes the log to end, so a flipped byte quietly
undoes every transaction from there on. Each frame's checksum continues that of the frame before,
as stored, so every frame can be judged alone, and an end that a crash left be told from damage.
The format: https://sqlite.org/fileformat.html#the_write_ahead_log
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from loopwright.core.errors import DamagedData

_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_LITTLE, _BIG = 0x377F0682, 0x377F0683
_PAGE_BYTES = frozenset(1 << power for power in range(9, 17))
_MOST_READINGS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What was found in the frames of a log."""

    frames: int
    """Frames of the present generation; older ones may follow and mean nothing."""
    bad: tuple[int, ...]
    """Numbers of the frames that do not add up, from 0."""
    commits_lost: int
    """Ends of transactions that add up, behind a frame that does not.

    What a killed process leaves behind the end never has one, for it is written last; a frame of
    an unfinished transaction that a shorter one has overwritten does not add up either.
    """
    torn_bytes: int
    """Bytes after the last whole frame."""
    salts: bytes


def refuse_damaged_log(ledger: Path) -> None:
    """Look at the log beside a ledger before SQLite replays it, and cuts it where it is damaged.

    A torn end is no damage: a crash leaves one, and its transaction never was committed.

    Raises:
        DamagedData: Committed transactions lie behind the damage.
    """
    path = ledger.with_name(f"{ledger.name}-wal")
    data, damage = b"", ""
    for _ in range(_MOST_READINGS):
        before = data
        try:
            data = path.read_bytes()
        except OSError:
            return  # there is none, or SQLite will say what is wrong with it
        damage = _damage(data)
        # Who writes meanwhile may begin the log anew between two parts of one reading.
        if not damage or data == before:
            break
    if damage:
        raise DamagedData(
            f"{path} is damaged: {damage}. Nothing was changed yet; restore {ledger.name} and its "
            f"log from a backup, or run 'loopwright data doctor {ledger.parent} --repair', which "
            "keeps both and saves what can still be read. "
            "Objects and episodes beside it are not affected."
        )


def _damage(data: bytes) -> str:
    """Return what would be lost without a word, or nothing."""
    if not any(data[_HEADER_BYTES:]):
        return ""  # at most a header that was being written
    try:
        log = read_log(data)
    except ValueError as error:
        return f"its header does not add up ({error}), so all its transactions would be lost"
    if not log.commits_lost:
        return ""
    return (
        f"frame {log.bad[0] + 1} of {log.frames} does not add up, so the transactions from there "
        f"on ({log.commits_lost} or more) would be lost"
    )


def read_log(data: bytes) -> Log:
    """Judge every frame of a log.

    Raises:
        ValueError: Its header is damaged, so nothing is known of its frames.
    """
    order, page_bytes, salts, start = _read_header(data)
    step = _FRAME_HEADER_BYTES + page_bytes
    whole = (len(data) - _HEADER_BYTES) // step
    frames = np.frombuffer(data, np.uint8, whole * step, _HEADER_BYTES).reshape(whole, step)
    heads = frames[:, :_FRAME_HEADER_BYTES].copy().view(">u4")
    words = np.delete(frames, np.s_[8:_FRAME_HEADER_BYTES], axis=1).view(f"{order}u4")
    stored = heads[:, 4:6].astype(np.uint32)
    before = np.concatenate([np.array([start], np.uint32), stored])[:-1]
    computed = _checksums(words, before)
    is_ours = (heads[:, 2:4] == np.frombuffer(salts, ">u4")).all(axis=1)
    present = int(np.flatnonzero(is_ours)[-1]) + 1 if is_ours.any() else 0
    fits = is_ours & (computed == stored).all(axis=1)
    bad = np.flatnonzero(~fits[:present])
    rest = data[_HEADER_BYTES + whole * step :]
    return Log(
        frames=present,
        bad=tuple(bad.tolist()),
        commits_lost=_commits_behind(bad, heads, words, computed, fits),
        torn_bytes=len(rest) if rest[8:16] == salts else 0,
        salts=salts,
    )


def _read_header(data: bytes) -> tuple[str, int, bytes, tuple[int, ...]]:
    """Return byte order, bytes of a page, salts, and the checksum that the first frame continues.

    Raises:
        ValueError: It is damaged.
    """
    if len(data) < _HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes, expected {_HEADER_BYTES} or more")
    magic, _, page_bytes, *_ = struct.unpack(">8I", data[:_HEADER_BYTES])
    if magic not in (_LITTLE, _BIG):
        raise ValueError(f"it begins with {magic:#x}")
    order = "<" if magic == _LITTLE else ">"
    stored = struct.unpack(">2I", data[24:32])
    words = np.frombuffer(data, f"{order}u4", 6)[None]
    if tuple(_checksums(words, np.zeros((1, 2), np.uint32))[0].tolist()) != stored:
        raise ValueError("its checksum does not fit")
    if page_bytes not in _PAGE_BYTES:
        raise ValueError(f"it speaks of pages of {page_bytes} bytes")
    return order, page_bytes, data[16:24], stored


def _commits_behind(
    bad: np.ndarray, heads: np.ndarray, words: np.ndarray, computed: np.ndarray, fits: np.ndarray
) -> int:
    """Count the ends of transactions that add up behind the first frame that does not."""
    if not len(bad):
        return 0
    is_whole = fits.copy()
    # A frame is whole, too, if only the checksum stored in the frame before it was changed.
    after = bad[bad > 0]
    continued = _checksums(words[after], computed[after - 1])
    is_whole[after] |= (continued == heads[after, 4:6]).all(axis=1)
    ends_transaction = heads[:, 1] != 0
    return int((is_whole & ends_transaction)[bad[0] + 1 :].sum())


def _checksums(words: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return SQLite's running checksums after more data; both parts wrap at 32 bits.

    For every pair of words ``first += one + second; second += two + first``. That is linear in the
    words, so a page is two sums of products instead of a thousand steps.

    Args:
        words: ``(N, W)``, W even.
        before: The checksums that they continue, uint32 ``(N, 2)``.

    Returns:
        uint32 ``(N, 2)``.
    """
    weights = _weights(words.shape[1] // 2)
    return before @ weights[:, :2].T + words.astype(np.uint32) @ weights[:, 2:].T


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
