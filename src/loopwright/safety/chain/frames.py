"""Frames: the records of a chain, as bytes.

Little-endian, one after the other, nothing in between::

    offset  size  field
         0     4  magic "LWC1"
         4     4  kind, u32: 1 header, 2 head, 16 and above belong to whoever uses the chain
         8     4  length of the payload, u32
        12     8  sequence, u64: 0, 1, 2, ...
        20    32  digest of the frame before; zeros in the first
        52     4  CRC-32 of bytes 0 to 51
        56     n  payload
      56+n    32  digest of this frame: SHA-256 of bytes 0 to 55+n

The digest covers the digest before it, which makes the chain. The checksum of the head tells a
frame whose end is missing (its writer was killed) from one whose length was altered.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

MAGIC = b"LWC1"
KIND_HEADER, KIND_HEAD = 1, 2
FIRST_KIND = 16
"""Smallest kind that a user of the chain may give to a frame."""
LONGEST_PAYLOAD = 64 << 20
NO_DIGEST = bytes(32)

PREFIX_BYTES, DIGEST_BYTES = 56, 32
_FIELDS = struct.Struct("<4sIIQ32s")
_CHECKSUM = struct.Struct("<I")


class Frame(NamedTuple):
    """One frame that is consistent in itself: its digest is that of its bytes."""

    begin: int
    """Its first byte in the file."""
    kind: int
    sequence: int
    previous: bytes
    payload: bytes
    digest: bytes

    @property
    def end(self) -> int:
        """The byte after its last."""
        return self.begin + PREFIX_BYTES + len(self.payload) + DIGEST_BYTES


def pack_frame(kind: int, sequence: int, previous: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Return the bytes of a frame, and its digest."""
    fields = _FIELDS.pack(MAGIC, kind, len(payload), sequence, previous)
    body = fields + _CHECKSUM.pack(zlib.crc32(fields)) + payload
    digest = hashlib.sha256(body).digest()
    return body + digest, digest


def parse_frame(data: bytes, position: int, begin: int) -> Frame | None:
    """Return the frame at a position of some bytes, or None if no consistent one is there.

    Args:
        data: Bytes of the file.
        position: Where in ``data`` to look.
        begin: Where in the file that is.
    """
    found = parse_prefix(data[position : position + PREFIX_BYTES])
    if found is None:
        return None
    kind, length, sequence, previous = found
    middle = position + PREFIX_BYTES + length
    digest = data[middle : middle + DIGEST_BYTES]
    if hashlib.sha256(data[position:middle]).digest() != digest:
        return None
    payload = data[position + PREFIX_BYTES : middle]
    return Frame(begin, kind, sequence, previous, payload, digest)


def parse_prefix(prefix: bytes) -> tuple[int, int, int, bytes] | None:
    """Return kind, length, sequence and previous digest, or None if the checksum does not fit."""
    if len(prefix) != PREFIX_BYTES:
        return None
    fields = prefix[:-4]
    magic, kind, length, sequence, previous = _FIELDS.unpack(fields)
    if magic != MAGIC or _CHECKSUM.unpack_from(prefix, 52)[0] != zlib.crc32(fields):
        return None
    return kind, length, sequence, previous


class Walk:
    """Reads the linked frames of a file from its start, up to the first that does not fit."""

    def __init__(self, file: IO[bytes]) -> None:
        """Start at the beginning of an open file, whose end is where it ends now."""
        self._file = file
        self.end = 0
        """The byte after the last good frame."""
        self.sequence = -1
        """Of the last good frame."""
        self.digest = NO_DIGEST
        """Of the last good frame."""
        self.rest = b""
        """What follows the last good frame, once the walk has ended; empty if all was good."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames that follow one another."""
        while True:
            data = self._read_frame()
            frame = parse_frame(data, 0, self.end)
            if frame is None or (frame.sequence, frame.previous) != (
                self.sequence + 1,
                self.digest,
            ):
                self._file.seek(self.end)
                self.rest = self._file.read()
                return
            self.end, self.sequence, self.digest = frame.end, frame.sequence, frame.digest
            yield frame

    def _read_frame(self) -> bytes:
        self._file.seek(self.end)
        prefix = self._file.read(PREFIX_BYTES)
        found = parse_prefix(prefix)
        if found is None:
            return prefix
        return prefix + self._file.read(found[1] + DIGEST_BYTES)

    @property
    def torn(self) -> bool:
        """Whether what follows is the beginning of the next frame: its writer was killed in it."""
        return is_torn(self.rest, self.sequence + 1, self.digest)


def is_torn(rest: bytes, sequence: int, previous: bytes) -> bool:
    """Tell whether bytes are the beginning of a frame that was to follow, its end missing.

    After a power cut a file may have its new length and zeros where the bytes never arrived; that
    counts as missing. A digest does not end in 32 zeros.
    """
    if not rest:
        return False
    content = rest.rstrip(b"\0")
    if len(rest) - len(content) < DIGEST_BYTES:
        content = rest
    if len(content) < PREFIX_BYTES:
        known = {0: MAGIC, 12: sequence.to_bytes(8, "little"), 20: previous}
        return all(value.startswith(content[at : at + len(value)]) for at, value in known.items())
    found = parse_prefix(content[:PREFIX_BYTES])
    return (
        found is not None
        and found[2:] == (sequence, previous)
        and len(content) < PREFIX_BYTES + found[1] + DIGEST_BYTES
    )
