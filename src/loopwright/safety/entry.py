"""An entry of a register, and how it lies in a frame of the chain.

Payload of a frame::

    time_s f64 | digest of the name filed under 32 | S u8 | S x (key id 8, signature 64) | statement

Numbers are little endian; the statement is its canonical JSON, the very bytes that were signed
(inside DSSE's envelope) and whose SHA-256 is the digest of the statement.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData
from loopwright.safety.statement import Signed, Statement

_HEAD = struct.Struct("<d32sB")
_KEY_BYTES, _SIGNATURE_BYTES = 8, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A statement with its place in a register."""

    number: int
    """From 1, without gaps."""
    time_s: float
    """When it was registered, seconds since 1970 by the clock of whoever appended it; it is not
    signed, and never earlier than that of the entry before."""
    digest: str
    """Of the statement."""
    signed: Signed

    @property
    def statement(self) -> Statement:
        """What is said."""
        return self.signed.statement

    @property
    def kind(self) -> str:
        """What sort of statement it is."""
        return self.signed.statement.kind


@dataclass(frozen=True, kw_only=True, slots=True)
class Cover:
    """What can be told of an entry without reading its statement."""

    time_s: float
    filed: bytes
    """Digest of the name it is filed under, 32 bytes."""
    digest: bytes
    """Digest of the statement, 32 bytes."""


def filing_digest(name: str) -> bytes:
    """Return what stands for the name that an entry is filed under."""
    return hashlib.sha256(name.encode()).digest()


def pack(time_s: float, filed: str, signed: Signed) -> bytes:
    """Return the payload of an entry."""
    signatures = b"".join(bytes.fromhex(name) + sign for name, sign in signed.signatures)
    head = _HEAD.pack(time_s, filing_digest(filed), len(signed.signatures))
    return head + signatures + canonical_json(signed.statement.to_json())


def cover_of(payload: bytes) -> Cover:
    """Return what is needed to find an entry again.

    Raises:
        DamagedData: It is no entry.
    """
    time_s, filed, signatures = _head(payload)
    start = _HEAD.size + signatures * (_KEY_BYTES + _SIGNATURE_BYTES)
    return Cover(time_s=time_s, filed=filed, digest=hashlib.sha256(payload[start:]).digest())


def unpack(number: int, payload: bytes) -> Entry:
    """Read an entry.

    Raises:
        DamagedData: It is no entry, or its statement is not in canonical form.
    """
    time_s, _, count = _head(payload)
    signatures: list[tuple[str, bytes]] = []
    at = _HEAD.size
    for _ in range(count):
        middle, end = at + _KEY_BYTES, at + _KEY_BYTES + _SIGNATURE_BYTES
        signatures.append((payload[at:middle].hex(), payload[middle:end]))
        at = end
    text = payload[at:]
    try:
        statement = Statement.from_json(json.loads(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise DamagedData(f"entry {number} holds no statement: {error}") from error
    return Entry(
        number=number,
        time_s=time_s,
        digest=hashlib.sha256(text).hexdigest(),
        signed=Signed(statement=statement, signatures=tuple(signatures)),
    )


def _head(payload: bytes) -> tuple[float, bytes, int]:
    if len(payload) < _HEAD.size:
        raise DamagedData(f"an entry of {len(payload)} bytes is too short to be one")
    return _HEAD.unpack_from(payload)
