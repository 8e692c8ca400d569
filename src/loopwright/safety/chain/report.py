"""What verifying a chain has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal


class FindingName(StrEnum):
    """What was done to a chain, or happened to it."""

    FLIPPED = "flipped"
    """Bytes are not those that were written."""
    DELETED = "deleted"
    """Records are missing between others."""
    REORDERED = "reordered"
    DUPLICATED = "duplicated"
    INSERTED = "inserted"
    """A record stands where another one belongs as well, or after the end."""
    FOREIGN = "foreign"
    """A record does not follow the one before it: it is of another file, or was written anew."""
    CUT_TAIL = "cut tail"
    """A signed head tells of records that are not there."""
    REWRITTEN = "rewritten"
    """The records are another sequence than the one that was signed."""
    FORGED = "forged head"
    """A head whose signature does not fit."""
    RE_SIGNED = "re-signed"
    """A head signed by a key that is not trusted to sign heads."""
    REPLACED = "replaced"
    """The second place does not know this file."""
    UNSIGNED = "unsigned"
    """Records were appended where a signed head must stand first."""
    SECOND_PLACE = "second place altered"
    TORN_TAIL = "torn tail"
    """The beginning of a record stands at the end: the writer was killed in it."""
    NOT_CLOSED = "not closed"
    """No final head: the writer was killed, or is still writing."""
    SECOND_PLACE_BEHIND = "second place behind"
    """The chain holds heads that the second place given does not."""


HARMLESS = {FindingName.TORN_TAIL, FindingName.NOT_CLOSED, FindingName.SECOND_PLACE_BEHIND}
"""Findings that an honest file may have."""

Verdict = Literal["intact", "interrupted", "tampered"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    name: FindingName
    text: str
    """What, in words."""
    sequence: int | None = None
    """Record it concerns."""
    byte: int | None = None
    """Where in the file."""

    @property
    def tampering(self) -> bool:
        """Whether no accident of an honest writer explains it."""
        return self.name not in HARMLESS


@dataclass(frozen=True, kw_only=True, slots=True)
class ChainReport:
    """Whether a chain is what was written."""

    findings: tuple[Finding, ...]
    header: Any
    """What its maker said of it; None if that cannot be read."""
    id: str
    """Digest of the first frame, in hexadecimal; empty if that cannot be read."""
    records: int
    """Good frames from the start on, header and heads included."""
    heads: int
    """Heads among them whose signature holds."""
    signers: tuple[str, ...]
    """Persons or devices whose keys signed them."""
    unsigned: int
    """Good frames after the last that a signed head covers: linked, but not signed."""
    last_signed_ns: int | None
    """When the last head was signed."""
    second_place: bool
    """Whether heads of a second place were compared."""

    @property
    def verdict(self) -> Verdict:
        """What it comes to.

        ``intact``: closed in order and whole. ``interrupted``: nothing speaks against it, but it
        has no proper end, so that without a second place a cut tail cannot be excluded.
        ``tampered``: it is not what was written.
        """
        if any(finding.tampering for finding in self.findings):
            return "tampered"
        return "interrupted" if self.unfinished else "intact"

    @property
    def unfinished(self) -> bool:
        """Whether the file has no proper end."""
        ends = (FindingName.TORN_TAIL, FindingName.NOT_CLOSED)
        return any(finding.name in ends for finding in self.findings)
