"""Whether a chain is what was written: links, signed heads, and the heads of a second place."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import DamagedData, Untrusted
from loopwright.safety.chain.diagnosis import diagnose
from loopwright.safety.chain.frames import FIRST_KIND, KIND_HEAD, Frame, Walk
from loopwright.safety.chain.heads import HeadsFile, SignedHead, heads_path, read_heads
from loopwright.safety.chain.reading import parse_header
from loopwright.safety.chain.report import ChainReport, Finding, FindingName
from loopwright.safety.keys import Holder, KeyRing, Role


def verify_chain(
    path: Path, ring: KeyRing, heads: Path | None = None, *, role: Role = "recorder"
) -> ChainReport:
    """Say whether a chain is what was written.

    Args:
        path: The chain.
        ring: Whose heads are trusted.
        heads: The second place; without it, a file that was never closed in order may lack any
            number of its last records.
        role: What the keys of heads must be trusted with.

    Raises:
        DamagedData: The chain or the second place cannot be read at all.
    """
    second = read_heads(heads_path(heads, path)) if heads else None
    examination = _Examination(ring, role, second)
    try:
        with path.open("rb") as file:
            walk = Walk(file)
            for frame in walk:
                examination.take(frame)
    except OSError as error:
        raise DamagedData(f"no chain could be read from {path}: {error}") from error
    examination.finish(path, walk)
    return examination.report(walk)


class _Examination:
    """What is known of a chain while its good frames pass by."""

    def __init__(self, ring: KeyRing, role: Role, second: HeadsFile | None) -> None:
        self._ring, self._role, self._second = ring, role, second
        self._findings: list[Finding] = []
        self._header: object = None
        self._id = ""
        self._marks: dict[int, tuple[str, int]] = {}
        """Digest and end of the frames that no head covers yet."""
        self._awaited = "a signed head must follow the header"
        """Why no record may come before the next head; empty where one may."""
        self._closed = False
        self._signed_up_to = -1
        self._last_signed_ns: int | None = None
        self._trusted: dict[bytes, Holder | None] = {}
        self._good_heads: list[bytes] = []
        self._promised: dict[int, list[SignedHead]] = {}
        """Heads of the second place, by the frame they cover."""

    def take(self, frame: Frame) -> None:
        """Examine the next good frame."""
        if frame.sequence == 0:
            self._begin(frame)
        self._marks[frame.sequence] = (frame.digest.hex(), frame.end)
        for signed in self._promised.get(frame.sequence, ()):
            if signed.head.digest != frame.digest.hex():
                self._find("REWRITTEN", "it is not the one that was signed", frame)
        if frame.kind == KIND_HEAD:
            self._take_head(frame)
        elif frame.sequence and frame.kind < FIRST_KIND:
            self._find("INSERTED", f"kind {frame.kind} has no place here", frame)
        elif frame.sequence and self._awaited:
            name = "INSERTED" if self._closed else "UNSIGNED"
            self._find(name, self._awaited, frame)
            self._awaited = ""
        if frame.kind >= FIRST_KIND:
            self._closed = False

    def _begin(self, frame: Frame) -> None:
        content = parse_header(frame)
        if content is None:
            self._find("FOREIGN", "the first record is no header of a chain", frame)
            return
        self._header, self._id = content["header"], frame.digest.hex()
        if self._second is None:
            return
        ours = [s for s in self._second.heads if s.head.file == self._id]
        if not ours:
            self._find("REPLACED", "the second place has no head of this file", frame)
        for signed in ours:
            if self._trust(signed, "in the second place") is not None:
                self._promised.setdefault(signed.head.sequence, []).append(signed)

    def _take_head(self, frame: Frame) -> None:
        try:
            signed = SignedHead.parse(frame.payload)
        except DamagedData as error:
            self._find("FORGED", str(error), frame)
            return
        head = signed.head
        if self._trust(signed, f"record {frame.sequence}") is None:
            return
        at_once = head.event == "checkpoint" or head.sequence == frame.sequence - 1
        expected = (head.digest, head.num_bytes)
        if head.file != self._id or self._marks.get(head.sequence) != expected or not at_once:
            self._find("REWRITTEN", "a signed head does not fit what stands before it", frame)
            return
        if self._closed and head.event != "reopened":
            self._find("INSERTED", "a head follows the close of the file", frame)
        self._good_heads.append(signed.payload)
        self._signed_up_to, self._last_signed_ns = head.sequence, head.time_ns
        self._marks = {n: mark for n, mark in self._marks.items() if n > head.sequence}
        self._closed = head.event == "closed"
        self._awaited = "the file had been closed" if self._closed else ""

    def _trust(self, signed: SignedHead, where: str) -> Holder | None:
        """Return who signed a head, or None with a finding, told once for every head."""
        if signed.payload not in self._trusted:
            self._trusted[signed.payload] = self._check(signed, where)
        return self._trusted[signed.payload]

    def _check(self, signed: SignedHead, where: str) -> Holder | None:
        try:
            holder = self._ring.holder(signed.head.key)
        except Untrusted as error:
            self._find("RE_SIGNED", f"{where}: {error}")
            return None
        if self._role not in holder.roles:
            self._find("RE_SIGNED", f"{where}: {holder.person!r} is no {self._role}")
            return None
        try:
            return signed.check(self._ring, self._role)
        except Untrusted as error:
            self._find("FORGED", f"{where}: {error}")
            return None

    def finish(self, path: Path, walk: Walk) -> None:
        """Examine how the file ends, and what the second place knows beyond."""
        known = self._signed_up_to
        if walk.torn:
            self._take_torn(walk)
        elif walk.rest:
            damage = diagnose(path.read_bytes())
            self._findings += damage.findings
            known = max(known, damage.last_sequence)
        if not self._closed and (walk.torn or not walk.rest):
            self._find("NOT_CLOSED", "there is no final head; the writer was killed or still runs")
        if self._second is not None:
            self._compare_second(self._second, known)

    def _take_torn(self, walk: Walk) -> None:
        head_begun = walk.rest[4:8] == KIND_HEAD.to_bytes(4, "little")
        name = "INSERTED" if self._closed and not head_begun else "TORN_TAIL"
        text = f"{len(walk.rest)} bytes of record {walk.sequence + 1} stand at the end"
        self._findings.append(
            Finding(name=FindingName[name], text=text, sequence=walk.sequence + 1, byte=walk.end)
        )

    def _compare_second(self, second: HeadsFile, known: int) -> None:
        for number in second.illegible:
            self._find("SECOND_PLACE", f"line {number} of the second place is no head")
        cut = max((n for n in self._promised if n > known), default=-1)
        if cut >= 0:
            text = f"a head in the second place covers record {cut}; this file lacks it"
            self._find("CUT_TAIL", text)
        elif not self._id and second.heads:
            self._find("CUT_TAIL", "not even the header of the chain is whole")
        copied = {signed.payload for signed in second.heads}
        behind = [payload for payload in self._good_heads[:-1] if payload not in copied]
        if behind:  # the very last is not copied yet if the writer was killed just then
            self._find("SECOND_PLACE_BEHIND", f"it lacks {len(behind)} heads that the chain has")

    def _find(self, name: str, text: str, frame: Frame | None = None) -> None:
        """Add a finding, named by its member of :class:`FindingName`."""
        if frame is not None:
            text = f"record {frame.sequence}: {text}"
        self._findings.append(
            Finding(
                name=FindingName[name],
                text=text,
                sequence=frame.sequence if frame else None,
                byte=frame.begin if frame else None,
            )
        )

    def report(self, walk: Walk) -> ChainReport:
        """Return everything that was found."""
        signers = {h.person for h in self._trusted.values() if h is not None}
        return ChainReport(
            findings=tuple(self._findings),
            header=self._header,
            id=self._id,
            records=walk.sequence + 1,
            heads=len(self._good_heads),
            signers=tuple(sorted(signers)),
            unsigned=walk.sequence - self._signed_up_to,
            last_signed_ns=self._last_signed_ns,
            second_place=self._second is not None,
        )
