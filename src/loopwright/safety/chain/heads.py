r"""Heads: signed sentences on how far a chain had come, in the chain and in a second place.

A head is UTF-8 JSON with a signature by Ed25519 over ``"loopwright chain head v1\n"`` and those
very bytes. In the chain it is a frame of kind 2 whose payload is the 64 bytes of the signature and
then the JSON; in the second place it is a line: the signature in hexadecimal, a blank, the JSON.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

CONTEXT = b"loopwright chain head v1\n"
SIGNATURE_BYTES = 64

HeadEvent = Literal["started", "checkpoint", "reopened", "closed"]
"""Why a head was signed. After ``closed`` nothing may follow but ``reopened``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """How far a chain had come."""

    file: str
    """Digest of the first frame, in hexadecimal: which chain it is."""
    sequence: int
    """Of the last frame it covers."""
    digest: str
    """Of that frame, in hexadecimal."""
    num_bytes: int
    """Where that frame ends."""
    time_ns: int
    """When it was signed, in nanoseconds since 1970 (UTC)."""
    event: HeadEvent
    key: str
    """Id of the key that signed."""
    cut_bytes: int = 0
    """``reopened``: how long the torn tail was that was cut off."""
    cut_sha256: str = ""
    """``reopened``: the digest of that tail."""

    def sign(self, key: SigningKey) -> SignedHead:
        """Sign it."""
        raw = canonical_json(asdict(self))
        return SignedHead(head=self, raw=raw, signature=key.sign(CONTEXT + raw))


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedHead:
    """A head, the bytes that were signed, and the signature; nothing is checked yet."""

    head: Head
    raw: bytes
    signature: bytes

    @property
    def payload(self) -> bytes:
        """What its frame carries."""
        return self.signature + self.raw

    @property
    def line(self) -> bytes:
        """What is written to the second place."""
        return self.signature.hex().encode() + b" " + self.raw + b"\n"

    def check(self, ring: KeyRing, role: Role) -> Holder:
        """Return who signed it.

        Raises:
            Untrusted: The key is not on the ring, or the signature does not fit.
        """
        return ring.check(self.head.key, CONTEXT + self.raw, self.signature)

    @classmethod
    def parse(cls, payload: bytes) -> SignedHead:
        """Read the payload of a frame.

        Raises:
            DamagedData: It is no head.
        """
        signature, raw = payload[:SIGNATURE_BYTES], payload[SIGNATURE_BYTES:]
        try:
            head = Head(**json.loads(raw))
            _check_types(head)
        except (ValueError, TypeError, RecursionError) as error:
            raise DamagedData(f"this is no signed head: {error}") from error
        return cls(head=head, raw=raw, signature=signature)


_NUMBERS = ("sequence", "num_bytes", "time_ns", "cut_bytes")
_WORDS = ("file", "digest", "key", "cut_sha256")


def _check_types(head: Head) -> None:
    """Refuse what a reader would stumble over; nobody has signed for it yet."""
    numbers = all(type(getattr(head, name)) is int for name in _NUMBERS)
    words = all(type(getattr(head, name)) is str for name in _WORDS)
    if not numbers or not words or head.event not in get_args(HeadEvent):
        raise TypeError(f"{head} has a field of another type")


def now_ns() -> int:
    """Return the time of the wall clock; only heads carry it."""
    return time.time_ns()


def heads_path(second_place: Path, chain: Path) -> Path:
    """Return the file of a second place: itself, or one in it if it is a folder."""
    return second_place / f"{chain.name}.heads" if second_place.is_dir() else second_place


class SecondPlace:
    """The file beside, to which every head is appended as well."""

    def __init__(self, path: Path) -> None:
        """Open it for appending; it is made if absent.

        Raises:
            OSError: The operating system refused.
        """
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(path, flags, 0o644)
        length = os.fstat(self._descriptor).st_size
        self._torn = length > 0 and os.pread(self._descriptor, 1, length - 1) != b"\n"
        """Whether the last line lacks its end: its writer was killed in it, or the disk full."""

    def append(self, signed: SignedHead) -> None:
        """Append a head and wait until it is on the disk.

        Raises:
            OSError: The operating system refused, or the file is gone.
        """
        line = b"\n" + signed.line if self._torn else signed.line
        if os.fstat(self._descriptor).st_nlink == 0:
            raise FileNotFoundError(f"{self.path} was removed")
        written = os.write(self._descriptor, line)
        if written:
            self._torn = written < len(line)
        if written != len(line):
            raise OSError(f"only a part of a head fitted into {self.path}")
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close it; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadsFile:
    """What a second place holds."""

    heads: tuple[SignedHead, ...]
    illegible: tuple[int, ...]
    """Numbers of the lines, from 1, that are no head, if their end is not just missing."""


def read_heads(path: Path) -> HeadsFile:
    """Read a second place; nothing is checked.

    Raises:
        DamagedData: It cannot be read at all.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DamagedData(f"no second place could be read from {path}: {error}") from error
    heads, illegible = [], []
    for number, line in enumerate(lines[:-1], 1):
        signature, _, raw = line.partition(b" ")
        try:
            heads.append(SignedHead.parse(bytes.fromhex(signature.decode()) + raw))
        except (DamagedData, ValueError):
            if line.endswith(b"}"):  # else its writer was killed in it, and another went on
                illegible.append(number)
    return HeadsFile(heads=tuple(heads), illegible=tuple(illegible))
