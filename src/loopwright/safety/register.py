"""The register of a site: an append-only file of signed statements, in one order.

A folder: ``register.chain`` (hash-chained frames), ``epoch`` (8 bytes, little endian, that
deployments map into memory), ``lock``, ``leases`` (see :mod:`~loopwright.safety.directive.lease`).
Everybody may read it; whoever can write it can append what
is properly signed and can break it, but cannot forge, reorder or rewrite it unnoticed:

- every statement is admitted by the rules of :mod:`~loopwright.safety.admission`, when it is
  appended and again by every reader;
- each frame carries the hash of all frames before it;
- a statement counts once: a second copy is refused, also one put into the file by hand;
- what a reader has seen, it remembers (:mod:`~loopwright.safety.witness`).

Appending is one transaction: under a lock between processes, on disk before it is acknowledged.
A writer that is killed leaves at most a torn tail, which was never acknowledged; readers pass over
it, and the next writer cuts it off. The epoch is raised *before* the entry is written, so no death
in between hides an entry: a reader that sees a higher epoch than its entries account for looks
again until it finds them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from loopwright.core.digest import digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted
from loopwright.core.stage import resolve_entry
from loopwright.safety.admission import (
    ADMISSIONS,
    KIND_OF_CODE,
    NAMED_KINDS,
    Admission,
    admission_of,
    check_signers,
    digests_in,
    filed_under,
)
from loopwright.safety.chain.frames import (
    DIGEST_BYTES,
    KIND_HEAD,
    KIND_HEADER,
    NO_DIGEST,
    PREFIX_BYTES,
    Frame,
    is_torn,
    pack_frame,
    parse_frame,
    parse_prefix,
)
from loopwright.safety.chain.heads import Head, SignedHead, now_ns
from loopwright.safety.chain.reading import header_payload
from loopwright.safety.entry import Entry, cover_of, filing_digest, pack, unpack
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.statement import Signed, Statement
from loopwright.safety.witness import Witness

CHAIN_NAME, EPOCH_NAME, LOCK_NAME, LEASES_NAME = "register.chain", "epoch", "lock", "leases"
EPOCH_BYTES = 8
FORMAT = "loopwright-register/v1"
_HEADER_BYTES = 1 << 16
_OWN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
"""How the small files beside the chain are opened: a link put in their place is not followed."""
_BLOCK_BYTES = 8 << 20


@dataclass(kw_only=True, slots=True)
class _Index:
    """Where the entries lie, and by what they are found; filled while reading forward."""

    frames: list[tuple[int, int, bytes, str]] = field(default_factory=list)
    """Offset, length and digest of each frame, and the kind of its statement, by number - 1."""
    numbers: dict[bytes, int] = field(default_factory=dict)
    """Digest of the statement to number."""
    kinds: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    filed: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    last_number: dict[str, int] = field(default_factory=dict)
    """Of numbered kinds: the highest number given."""
    last_time_s: float = 0.0
    urgent: list[int] = field(default_factory=list)
    start: bytes = NO_DIGEST
    """Digest of the last frame before the entries."""
    sequence: int = -1
    """Of the last frame; the header and the signed head after it come before the entries."""
    head: bytes = NO_DIGEST
    """Digest of the last frame."""
    end: int = 0
    """Offset after the last frame."""


class Register:
    """A site's register, as one process sees it; not for several threads."""

    def __init__(self, folder: Path, ring: KeyRing, memory: Path | None) -> None:
        """Use :meth:`create` or :meth:`open`."""
        self.folder, self.ring, self._memory = folder, ring, memory
        self._trust = digest_json(
            {
                "ring": ring.to_json(),
                "rules": {kind: repr(admission) for kind, admission in ADMISSIONS.items()},
            }
        )
        self._index = _Index()
        self._known: Witness | None = None
        """What this reader had seen when it began to read the file from its start."""
        self._handle = -1
        self.id = ""
        """Digest of the header: what binds a statement to this register."""
        self.cut_bytes = 0
        """Length of the torn tails, left behind by killed writers, that were cut off here."""

    @classmethod
    def create(
        cls, folder: Path, ring: KeyRing, key: SigningKey, *, memory: Path | None = None
    ) -> Register:
        """Begin a register in a new or empty folder.

        Args:
            folder: Where it is to lie.
            ring: Who is trusted with what.
            key: Of somebody with the role ``authority``; signs the header.
            memory: Folder of this reader's own, see :meth:`open`.

        Raises:
            InvalidConfig: There is a register already.
            Untrusted: The key is not that of an authority.
            StorageError: The operating system refused.
        """
        if "authority" not in ring.holder(key.id).roles:
            raise Untrusted(
                f"{ring.holder(key.id).person} may not begin a register; that takes the role "
                "'authority'"
            )
        if (folder / CHAIN_NAME).exists():
            raise InvalidConfig(f"{folder} holds a register already; open it instead")
        header = header_payload({"what": FORMAT, "created_ns": now_ns()}, token_hex(16))
        first, digest = pack_frame(KIND_HEADER, 0, NO_DIGEST, header)
        started = Head(
            file=digest.hex(),
            sequence=0,
            digest=digest.hex(),
            num_bytes=len(first),
            time_ns=now_ns(),
            event="started",
            key=key.id,
        ).sign(key)
        second, _ = pack_frame(KIND_HEAD, 1, digest, started.payload)
        _lay_out(folder, first + second)
        return cls.open(folder, ring, memory=memory)

    @classmethod
    def open(cls, folder: Path, ring: KeyRing, *, memory: Path | None = None) -> Register:
        """Open a register and verify what is new to this reader.

        Args:
            folder: Of the register.
            ring: Who is trusted with what.
            memory: Folder of this reader's own, where it remembers what it has verified. With it
                a rollback is noticed, and opening again is fast; without it every signature is
                checked anew.

        Raises:
            Untrusted: An entry is not admitted, or the register was rolled back or rewritten.
            DamagedData: It is missing, or its bytes are not what was written.
        """
        register = cls(folder, ring, memory)
        register._attach()
        return register

    def append(self, signed: Signed) -> int:
        """Register a statement; it is on disk when this returns.

        Returns:
            Its number.

        Raises:
            Untrusted: It is not signed as its kind asks, is registered already, or names what is
                not registered.
            UnknownName: No rule knows its kind.
            StorageError: The operating system refused; nothing was registered.
        """
        with self._alone():
            self.refresh()
            admission = self._admit(signed, signed.statement.digest)
            time_s = max(time.time(), self._index.last_time_s)
            payload = pack(time_s, filed_under(signed.statement), signed)
            if admission.urgent:
                self._raise_epoch()
            self._write(admission.code, payload)
            self.refresh()
            return len(self)

    def refresh(self) -> int:
        """Read what was appended since; return how many entries that is.

        Raises:
            Untrusted: An entry is not admitted, or the register was rolled back or rewritten.
            DamagedData: Its bytes are not what was written.
            StorageError: It is out of reach.
        """
        before = len(self)
        if not self._is_same_file():
            self._attach()
        elif os.fstat(self._handle).st_size > self._index.end:
            self._read_on()
        return len(self) - before

    def remember(self) -> None:
        """Write down, in this reader's memory if it has one, what was verified."""
        if self._memory is not None:
            self._standing().write(self._memory)

    def close(self) -> None:
        """Remember, and let go of the file; idempotent."""
        if self._handle >= 0:
            self.remember()
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Register:
        """Return itself; it is closed at the end of the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close it."""
        self.close()

    def __len__(self) -> int:
        """Return the number of entries read."""
        return len(self._index.frames)

    @property
    def epoch(self) -> int:
        """How many of the entries read are urgent: the count that the epoch file follows."""
        return len(self._index.urgent)

    @property
    def head(self) -> str:
        """Chain digest after the last entry read, 64 hexadecimal digits."""
        return self._index.head.hex()

    @property
    def last_directive(self) -> int:
        """The highest number a directive has; 0 if there is none."""
        return self._index.last_number.get("directive/v1", 0)

    def entry(self, number: int) -> Entry:
        """Return an entry by its number.

        Raises:
            InvalidConfig: There is none of that number.
            Untrusted: It was altered since it was read.
        """
        if not 1 <= number <= len(self):
            raise InvalidConfig(f"there is no entry {number}; the register has {len(self)}")
        begin, length, digest, _ = self._index.frames[number - 1]
        frame = parse_frame(os.pread(self._handle, length, begin), 0, begin)
        if frame is None or frame.digest != digest:
            raise Untrusted(f"entry {number} of {self.folder} was altered since it was read")
        return unpack(number, frame.payload)

    def find(self, digest: str) -> Entry | None:
        """Return the entry whose statement has that digest, or None."""
        try:
            number = self._index.numbers.get(bytes.fromhex(digest))
        except ValueError:
            return None
        return None if number is None else self.entry(number)

    def filed(self, name: str, kind: str | None = None) -> Iterator[Entry]:
        """Yield what is filed under a name, in order.

        Args:
            name: Of a deployment; else the digest of a directive, plan or certificate.
            kind: Only statements of this kind.
        """
        for number in self.filed_numbers(name, kind):
            yield self.entry(number)

    def filed_numbers(self, name: str, kind: str | None = None) -> list[int]:
        """Return the numbers of what is filed under a name; no entry is read."""
        numbers = self._index.filed.get(filing_digest(name), [])
        if kind is None:
            return list(numbers)
        return [number for number in numbers if self._index.frames[number - 1][3] == kind]

    def statements(self, kind: str | None = None, since: int = 0) -> Iterator[Entry]:
        """Yield the entries after number ``since``, in order.

        Args:
            kind: Only statements of this kind.
            since: Number of the last entry that is not wanted.
        """
        if kind is None:
            numbers = range(since + 1, len(self) + 1)
        else:
            known = self._index.kinds.get(kind, [])
            numbers = known[bisect_right(known, since) :]
        for number in numbers:
            yield self.entry(number)

    def urgent(self, since: int = 0) -> Iterator[Entry]:
        """Yield the urgent entries after number ``since``, in order."""
        for number in self._index.urgent[bisect_right(self._index.urgent, since) :]:
            yield self.entry(number)

    def digest_at(self, number: int) -> str:
        """Return the chain digest after an entry, of number 0 that of the empty register."""
        if number == 0:
            return self._index.start.hex()
        return self._index.frames[number - 1][2].hex()

    def _attach(self) -> None:
        """Read the file from its start, and hold it against what was seen of it before.

        When that fails, everything stays as it was, so that the next attempt fails as well.
        """
        before = self.id, self._handle, self._index, self._known
        seen = self._standing() if self.id else None
        try:
            self._handle = os.open(self.folder / CHAIN_NAME, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise DamagedData(f"there is no register at {self.folder}") from error
        except OSError as error:
            raise StorageError(f"the register {self.folder} is out of reach: {error}") from error
        try:
            self._index = _Index()
            self._read_header()
            self._known = self._recall(seen)
            self._read_on()
            self._refuse_rollback()
        except BaseException:
            os.close(self._handle)
            self.id, self._handle, self._index, self._known = before
            raise
        if before[1] >= 0:
            os.close(before[1])
        if self._known is None or len(self) > self._known.count:
            self.remember()

    def _recall(self, seen: Witness | None) -> Witness | None:
        """Return how far this reader had come, by this process or by its memory."""
        if seen is not None and seen.register != self.id:
            raise Untrusted(f"{self.folder} holds another register than before")
        kept = Witness.read(self._memory, self.id) if self._memory is not None else None
        return max(
            (witness for witness in (seen, kept) if witness is not None),
            key=lambda witness: witness.count,
            default=None,
        )

    def _refuse_rollback(self) -> None:
        if self._known is not None and len(self) < self._known.count:
            raise Untrusted(
                f"the register {self.folder} was rolled back: it had {self._known.count} entries "
                f"and now has {len(self)}; nothing in it can be relied on"
            )

    def _read_header(self) -> None:
        """Read the header and the head signed over it.

        Raises:
            DamagedData: It is no register.
            Untrusted: No authority began it.
        """
        data = os.pread(self._handle, _HEADER_BYTES, 0)
        header = parse_frame(data, 0, 0)
        head = parse_frame(data, header.end, header.end) if header else None
        if header is None or head is None or (header.kind, head.kind) != (KIND_HEADER, KIND_HEAD):
            raise DamagedData(f"{self.folder / CHAIN_NAME} does not begin like a register")
        started = SignedHead.parse(head.payload)
        if "authority" not in started.check(self.ring, "authority").roles:
            raise Untrusted(f"the register {self.folder} was not begun by an authority")
        if started.head.file != header.digest.hex() or head.previous != header.digest:
            raise Untrusted(f"the header of the register {self.folder} is not what was signed")
        self.id = header.digest.hex()
        self._index.sequence, self._index.head = head.sequence, head.digest
        self._index.start = head.digest
        self._index.end = head.end

    def _read_on(self) -> None:
        """Take in every whole frame after the last one.

        What looks damaged is looked at again: a writer may be putting a frame in the place of a
        torn tail at this moment.
        """
        for pause_s in (0.01, 0.05, None):
            try:
                return self._read_rest()
            except DamagedData:
                if pause_s is None:
                    raise
                time.sleep(pause_s)
        return None

    def _read_rest(self) -> None:
        rest = b""
        while block := self._read_block(self._index.end + len(rest)):
            rest += block
            rest = rest[self._take_frames(rest) :]
        if rest and not is_torn(rest, self._index.sequence + 1, self._index.head):
            raise DamagedData(
                f"the register {self.folder} is damaged after entry {len(self)} "
                f"(byte {self._index.end}): what follows is no frame that was written there"
            )

    def _read_block(self, begin: int) -> bytes:
        try:
            return os.pread(self._handle, _BLOCK_BYTES, begin)
        except OSError as error:
            raise StorageError(f"the register {self.folder} is out of reach: {error}") from error

    def _take_frames(self, data: bytes) -> int:
        """Take in the whole frames some bytes begin with; return how many bytes that was."""
        at = 0
        while True:
            found = parse_prefix(data[at : at + PREFIX_BYTES])
            if found is None or len(data) - at < PREFIX_BYTES + found[1] + DIGEST_BYTES:
                return at
            frame = parse_frame(data, at, self._index.end)
            expected = (self._index.sequence + 1, self._index.head)
            if frame is None or (frame.sequence, frame.previous) != expected:
                raise DamagedData(
                    f"entry {len(self) + 1} of the register {self.folder} was altered, or does "
                    "not follow the one before"
                )
            self._take(frame)
            at += frame.end - frame.begin

    def _take(self, frame: Frame) -> None:
        """Verify an entry, unless it is known, and index it."""
        number, index = len(self) + 1, self._index
        kind = KIND_OF_CODE.get(frame.kind)
        if kind is None:
            raise Untrusted(f"entry {number} of {self.folder} is of an unknown kind {frame.kind}")
        if not self._is_known(number):
            self._verify(number, kind, frame.payload)
        cover = cover_of(frame.payload)
        index.frames.append((frame.begin, frame.end - frame.begin, frame.digest, kind))
        index.numbers[cover.digest] = number
        index.kinds[kind].append(number)
        index.filed[cover.filed].append(number)
        index.last_time_s = max(index.last_time_s, cover.time_s)
        if ADMISSIONS[kind].urgent:
            index.urgent.append(number)
        index.sequence, index.head, index.end = frame.sequence, frame.digest, frame.end
        if ADMISSIONS[kind].numbered:
            index.last_number[kind] = _number_of(unpack(number, frame.payload).statement)
        if self._known is not None and number == self._known.count:
            self._compare(self._known)

    def _is_known(self, number: int) -> bool:
        known = self._known
        return known is not None and known.trust == self._trust and number <= known.count

    def _compare(self, known: Witness) -> None:
        """Refuse a register in which something else stands where this reader has been before."""
        if self.head != known.head:
            raise Untrusted(
                f"the register {self.folder} was rewritten: up to entry {known.count} it is not "
                "what was read before; nothing in it can be relied on"
            )

    def _verify(self, number: int, kind: str, payload: bytes) -> None:
        """Check an entry of the file as if it were handed in now.

        Raises:
            Untrusted: It would not be admitted.
        """
        try:
            entry = unpack(number, payload)
            if entry.kind != kind or entry.statement.digest != entry.digest:
                raise Untrusted("its frame says another kind, or it is not in canonical form")
            if cover_of(payload).filed != filing_digest(filed_under(entry.statement)):
                raise Untrusted("it is filed under another name than its own")
            self._admit(entry.signed, entry.digest)
        except (Untrusted, DamagedData, InvalidConfig) as error:
            raise Untrusted(
                f"entry {number} of the register {self.folder} may not stand there: {error}"
            ) from error

    def _admit(self, signed: Signed, digest: str) -> Admission:
        """Return the rules of a statement's kind, after holding it against them.

        Args:
            signed: What is to be admitted.
            digest: Of its statement.

        Raises:
            Untrusted: It breaks one.
            UnknownName: There are none.
            DamagedData: Its form is wrong.
        """
        statement = signed.statement
        admission = admission_of(statement.kind)
        people = {holder.person for holder in check_signers(signed, self.ring)}
        if admission.form:
            resolve_entry(admission.form)(statement)
        if admission.bound and statement.predicate.get("register") != self.id:
            raise Untrusted(f"this {statement.kind} was written for another register")
        if (found := self._index.numbers.get(bytes.fromhex(digest))) is not None:
            raise Untrusted(
                f"this {statement.kind} is registered already, as number {found}; a statement "
                "counts once"
            )
        if admission.numbered and _number_of(statement) <= (
            last := self._index.last_number.get(statement.kind, 0)
        ):
            raise Untrusted(
                f"this {statement.kind} has the number {_number_of(statement)}, but {last} was "
                f"given already; the next is {last + 1}"
            )
        self._check_named(statement, admission, people)
        return admission

    def _check_named(self, statement: Statement, admission: Admission, people: set[str]) -> None:
        """Refuse a statement that names what is not registered, or its own signer's evidence."""
        for name in admission.names:
            for digest in digests_in(statement.predicate, name):
                entry = self.find(digest)
                if entry is None or entry.kind not in NAMED_KINDS[name]:
                    raise Untrusted(
                        f"under {name!r} this {statement.kind} names {digest[:16]}, which is no "
                        f"registered {' or '.join(NAMED_KINDS[name])}; register that first"
                    )
                if name == "evidence" and admission.independent:
                    _refuse_own_evidence(statement.kind, people, entry, self.ring)

    def _standing(self) -> Witness:
        return Witness(
            register=self.id,
            trust=self._trust,
            count=len(self),
            head=self.head,
            epoch=self.epoch,
        )

    def _is_same_file(self) -> bool:
        """Tell whether the file that is open is the one that lies there, and has not shrunk."""
        try:
            there, here = os.stat(self.folder / CHAIN_NAME), os.fstat(self._handle)
        except OSError as error:
            raise StorageError(f"the register {self.folder} is out of reach: {error}") from error
        return os.path.samestat(there, here) and here.st_size >= self._index.end

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only writer; the kernel drops the lock when a process dies."""
        try:
            handle = os.open(self.folder / LOCK_NAME, _OWN, 0o666)
        except OSError as error:
            raise StorageError(f"the register {self.folder} cannot be locked: {error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, code: int, payload: bytes) -> None:
        """Put a frame on disk behind the last whole one; a torn tail is cut off before.

        Raises:
            StorageError: The operating system refused; the file is as it was.
        """
        frame, _ = pack_frame(code, self._index.sequence + 1, self._index.head, payload)
        try:
            handle = os.open(self.folder / CHAIN_NAME, os.O_WRONLY | os.O_CLOEXEC)
            try:
                self.cut_bytes += os.fstat(handle).st_size - self._index.end
                os.ftruncate(handle, self._index.end)
                if os.pwrite(handle, frame, self._index.end) != len(frame):
                    os.ftruncate(handle, self._index.end)
                    raise OSError("there was room for a part of it only")
                os.fdatasync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageError(
                f"nothing could be added to the register {self.folder}: {error}"
            ) from error

    def _raise_epoch(self) -> None:
        """Tell every deployment that something urgent follows."""
        try:
            handle = os.open(self.folder / EPOCH_NAME, _OWN, 0o644)
            try:
                there = int.from_bytes(os.pread(handle, EPOCH_BYTES, 0), "little")
                raised = max(there, self.epoch + 1)
                os.pwrite(handle, raised.to_bytes(EPOCH_BYTES, "little"), 0)
                os.fdatasync(handle)  # never behind the chain, not even after a power cut
            finally:
                os.close(handle)
        except OSError as error:
            raise StorageError(
                f"the epoch of {self.folder} could not be raised: {error}; nothing was registered"
            ) from error


def _lay_out(folder: Path, start: bytes) -> None:
    """Make the files of a new register; the chain comes last, and whole."""
    partial = folder / f".{CHAIN_NAME}.{os.getpid()}"
    try:
        (folder / LEASES_NAME).mkdir(parents=True, exist_ok=True)
        (folder / EPOCH_NAME).write_bytes(bytes(EPOCH_BYTES))
        (folder / LOCK_NAME).touch()
        with partial.open("xb") as file:
            file.write(start)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, folder / CHAIN_NAME)
        partial.unlink()
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    except FileExistsError as error:
        raise InvalidConfig(f"{folder} holds a register already; open it instead") from error
    except OSError as error:
        raise StorageError(f"no register could be begun in {folder}: {error}") from error


def _number_of(statement: Statement) -> int:
    number = statement.predicate.get("number")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidConfig(f"a {statement.kind} needs a number from 1 up, not {number!r}")
    return number


def _refuse_own_evidence(kind: str, people: set[str], entry: Entry, ring: KeyRing) -> None:
    own = people & {holder.person for holder in entry.signed.signers(ring)}
    if own:
        raise Untrusted(
            f"this {kind} rests on evidence that {' and '.join(sorted(own))} signed too; it takes "
            "somebody else"
        )
