"""What was done to a chain whose frames no longer follow one another.

Every frame can be recognised by itself, since its digest is that of its own bytes. So all frames
of the file are found first, wherever they stand, and then named by how they fit their neighbours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from loopwright.safety.chain.frames import MAGIC, NO_DIGEST, Frame, is_torn, parse_frame
from loopwright.safety.chain.report import Finding, FindingName

_MOST_FINDINGS = 100
"""A file that was shuffled needs no longer list than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """What is wrong with the order of a file's frames."""

    findings: tuple[Finding, ...]
    last_sequence: int
    """The largest that was seen; -1 if there is none."""


@dataclass(frozen=True, slots=True)
class _Gap:
    """Bytes that are no frame."""

    begin: int
    content: bytes


def diagnose(data: bytes) -> Damage:
    """Name what was done to the bytes of a chain file."""
    parts = _scan(data)
    frames = [part for part in parts if isinstance(part, Frame)]
    neighbours = _Neighbours(frames)
    findings: list[Finding] = []
    around = [None, *parts, None]
    for part, before, after in zip(parts, around, around[2:], strict=False):
        if len(findings) == _MOST_FINDINGS:
            break
        if isinstance(part, Frame):
            finding = neighbours.place(part, before, after)
        else:
            finding = neighbours.name_gap(part, last=after is None)
        if finding is not None:
            findings.append(finding)
    last = max((frame.sequence for frame in frames), default=-1)
    return Damage(findings=tuple(findings), last_sequence=last)


def _scan(data: bytes) -> list[Frame | _Gap]:
    """Split a file into frames and what lies between them."""
    parts: list[Frame | _Gap] = []
    position = gap = 0
    while position < len(data):
        frame = parse_frame(data, position, position)
        if frame is None:
            position = data.find(MAGIC, position + 1)
            if position < 0:
                break
            continue
        if gap < position:
            parts.append(_Gap(gap, data[gap:position]))
        parts.append(frame)
        position = gap = frame.end
    if gap < len(data):
        parts.append(_Gap(gap, data[gap:]))
    return parts


def _follows(part: Frame | _Gap, before: Frame | _Gap | None) -> bool:
    """Tell whether a part may stand behind another; what a gap was is not known."""
    if isinstance(part, _Gap) or isinstance(before, _Gap):
        return True
    return part.previous == (before.digest if before else NO_DIGEST)


class _Neighbours:
    """Where the frames of a file belong, and which of them has been placed last."""

    def __init__(self, frames: list[Frame]) -> None:
        digests = {frame.digest for frame in frames} | {NO_DIGEST}
        followed = {frame.previous for frame in frames}
        self._lonely = {
            frame.digest
            for frame in frames[:-1]
            if frame.previous not in digests and frame.digest not in followed
        }
        """Frames that neither follow one of this file nor are followed by one."""
        self._taken = Counter(f.sequence for f in frames if f.digest not in self._lonely)
        self._copies = Counter(frame.digest for frame in frames)
        self._seen: set[bytes] = set()
        self._sequence, self._digest = -1, NO_DIGEST

    def place(
        self, frame: Frame, before: Frame | _Gap | None, after: Frame | _Gap | None
    ) -> Finding | None:
        """Put the next frame where it belongs; say what is odd about it.

        Args:
            frame: What stands here.
            before: What stands in front of it.
            after: What stands behind it.
        """
        linked = _follows(frame, before) or (after is not None and _follows(after, frame))
        found = self._name(frame, linked=linked, after_gap=isinstance(before, _Gap))
        self._seen.add(frame.digest)
        # A frame that stands alone in a strange place says nothing of what comes next.
        if frame.sequence > self._sequence and (linked or found is None):
            self._sequence, self._digest = frame.sequence, frame.digest
        if found is None:
            return None
        name, text = found
        return Finding(
            name=name,
            text=f"record {frame.sequence}: {text}",
            sequence=frame.sequence,
            byte=frame.begin,
        )

    def _name(
        self, frame: Frame, *, linked: bool, after_gap: bool
    ) -> tuple[FindingName, str] | None:
        if frame.digest in self._seen or (self._copies[frame.digest] > 1 and not linked):
            return FindingName.DUPLICATED, "it stands in the file more than once"
        if frame.digest in self._lonely and not after_gap:
            if self._taken[frame.sequence]:
                return FindingName.INSERTED, "another record has that number and its place"
            return FindingName.FOREIGN, "it belongs to another file, or was written anew"
        due = self._sequence + 1
        if frame.sequence == due:
            if frame.previous == self._digest or after_gap:
                return None
            return FindingName.FOREIGN, "it does not follow the record before it"
        if frame.sequence < due:
            if self._taken[frame.sequence] > 1:
                return FindingName.INSERTED, "another record has that number"
            return FindingName.REORDERED, f"it stands after record {self._sequence}"
        if self._taken[due]:
            return FindingName.REORDERED, f"it stands before record {due}"
        if after_gap:
            return None
        return FindingName.DELETED, f"{frame.sequence - due} records are missing before it"

    def name_gap(self, gap: _Gap, *, last: bool) -> Finding | None:
        """Say what bytes are that are no frame."""
        torn = last and is_torn(gap.content, self._sequence + 1, self._digest)
        name = FindingName.TORN_TAIL if torn else FindingName.FLIPPED
        text = f"{len(gap.content)} bytes from byte {gap.begin} on are no whole record"
        return Finding(name=name, text=text, sequence=self._sequence + 1, byte=gap.begin)
