"""Writing a chain: one ``write(2)`` a frame, so that a killed writer loses nothing it confirmed.

Written bytes lie in the page cache, which outlives the process. Only a power cut or a crash of the
kernel loses what came after the last :meth:`ChainWriter.sync` or :meth:`ChainWriter.checkpoint`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, WorkspaceBusy
from loopwright.safety.chain.frames import (
    FIRST_KIND,
    KIND_HEAD,
    KIND_HEADER,
    LONGEST_PAYLOAD,
    NO_DIGEST,
    Walk,
    pack_frame,
)
from loopwright.safety.chain.heads import (
    Head,
    HeadEvent,
    SecondPlace,
    SignedHead,
    heads_path,
    now_ns,
    read_heads,
)
from loopwright.safety.chain.reading import damaged, header_payload, parse_header
from loopwright.safety.keys import SigningKey

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class ChainWriter:
    """The one writer of a chain file. ``append`` and ``checkpoint`` may run in different threads.

    Use :meth:`create` or :meth:`open`. The file is locked until :meth:`close`, or until the
    process ends however it ends.
    """

    def __init__(self, path: Path, descriptor: int, key: SigningKey) -> None:
        """Wrap a locked, open file; use :meth:`create` or :meth:`open`."""
        self.path = path
        self.torn_bytes = 0
        """How long the torn tail was that :meth:`open` cut off."""
        self._descriptor, self._key = descriptor, key
        self._second: SecondPlace | None = None
        self._id = ""
        self._sequence, self._digest, self._length = -1, NO_DIGEST, 0
        self._appending = threading.Lock()
        self._signing = threading.Lock()

    @classmethod
    def create(
        cls, path: Path, header: Json, key: SigningKey, second_place: Path | None = None
    ) -> ChainWriter:
        """Begin a new chain; its header and first head are on the disk when this returns.

        Args:
            path: A file that does not exist.
            header: What is said of the chain; plain data.
            key: Signs the heads.
            second_place: A file that gets every head too, or a folder for such a file. It should
                be where whoever could alter the chain cannot write.

        Raises:
            InvalidConfig: The file exists.
            StorageError: The operating system refused.
        """
        try:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError as error:
            raise InvalidConfig(f"{path} exists; a chain is begun in a new file") from error
        except OSError as error:
            raise _refused(path, error) from error
        writer = cls(path, descriptor, key)
        with _abandoned_on_error(writer):
            writer._lock()
            writer._begin(header_payload(header, os.urandom(16).hex()), second_place)
        return writer

    @classmethod
    def open(
        cls, path: Path, key: SigningKey, second_place: Path | None = None, *, wait: bool = False
    ) -> ChainWriter:
        """Go on with a chain, after an orderly close or a crash.

        A torn tail is cut off; a signed head says so, with its length and digest.

        Args:
            path: The chain.
            key: Signs the heads from now on.
            second_place: As it was given to :meth:`create`.
            wait: Wait for another writer to finish, instead of refusing.

        Raises:
            DamagedData: The file is missing, no chain, altered, or shorter than its heads in the
                second place say. It is left as it is.
            WorkspaceBusy: Another writer holds it.
            StorageError: The operating system refused.
        """
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError as error:
            raise DamagedData(f"{path} is missing; a chain is begun with create") from error
        except OSError as error:
            raise _refused(path, error) from error
        writer = cls(path, descriptor, key)
        with _abandoned_on_error(writer):
            writer._lock(wait=wait)
            writer._resume(second_place)
        return writer

    @property
    def id(self) -> str:
        """Digest of the first frame, in hexadecimal: which chain it is."""
        return self._id

    @property
    def sequence(self) -> int:
        """Sequence number of the last frame."""
        return self._sequence

    def append(self, kind: int, payload: bytes) -> int:
        """Append a record; when this returns, no death of the process can lose it.

        Args:
            kind: 16 or above; what it means is the caller's.
            payload: At most 64 MiB.

        Returns:
            Its sequence number. Header and heads are numbered too, so that numbers rise strictly
            but have gaps.

        Raises:
            StorageError: The operating system refused, or the file is gone or was altered by
                others. The record is not in the file; whether to try again is the caller's choice.
        """
        if kind < FIRST_KIND:
            raise InvalidConfig(f"kind {kind} is the chain's own; expected {FIRST_KIND} or above")
        if len(payload) > LONGEST_PAYLOAD:
            raise InvalidConfig(f"a payload of {len(payload)} bytes; expected at most 64 MiB")
        with self._appending:
            return self._append(kind, payload)

    def sync(self) -> None:
        """Wait until everything appended so far is on the disk.

        Raises:
            StorageError: The operating system refused.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise _refused(self.path, error) from error

    def checkpoint(self) -> SignedHead:
        """Bring everything appended so far to the disk, and sign how far that is.

        Others may append meanwhile. The second place gets the head last, so that whatever it
        holds is on the disk in the chain as well, also after a power cut.

        Raises:
            StorageError: The operating system refused, here or at the second place.
        """
        return self._sign_head("checkpoint")

    def close(self) -> None:
        """Sign a final head and close the file; idempotent.

        Raises:
            StorageError: The final head could not be stored; the file is closed all the same.
        """
        if self._descriptor < 0:
            return
        try:
            self._sign_head("closed")
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close the file without a final head, as after a crash; idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._second is not None:
            self._second.close()

    def __enter__(self) -> ChainWriter:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it in order, also after an error: what was appended stays."""
        self.close()

    def _lock(self, *, wait: bool = False) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise WorkspaceBusy(f"{self.path} is being written by another process") from error

    def _begin(self, payload: bytes, second_place: Path | None) -> None:
        self._append(KIND_HEADER, payload)
        self._id = self._digest.hex()
        self._open_second(second_place)
        self._sign_head("started")
        _sync_folder(self.path.parent)

    def _resume(self, second_place: Path | None) -> None:
        heads = _heads(second_place, self.path)
        present: set[bytes] = set()
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            walk = Walk(file)
            for frame in walk:
                if frame.sequence == 0:
                    if parse_header(frame) is None:
                        raise DamagedData(f"{self.path} does not begin with the header of a chain")
                    self._id = frame.digest.hex()
                elif frame.kind == KIND_HEAD:
                    present.add(frame.payload)
        if not self._id or (walk.rest and not walk.torn):
            raise damaged(self.path, walk)
        lost = [h for h in heads if h.head.file == self._id and h.payload not in present]
        if lost:
            raise DamagedData(
                f"{self.path} ends with record {walk.sequence} and lacks a head that the second "
                f"place has, of record {lost[-1].head.sequence}: its tail was cut, or it was "
                "written anew; keep both files as they are"
            )
        self._sequence, self._digest, self._length = walk.sequence, walk.digest, walk.end
        self._open_second(second_place)
        self._cut(walk.rest)

    def _cut(self, torn: bytes) -> None:
        """Cut a torn tail off and say so; with no tail, say that the chain goes on."""
        self.torn_bytes = len(torn)
        if torn:
            try:
                os.ftruncate(self._descriptor, self._length)
            except OSError as error:
                raise _refused(self.path, error) from error
        digest = hashlib.sha256(torn).hexdigest() if torn else ""
        self._sign_head("reopened", cut_bytes=len(torn), cut_sha256=digest)

    def _open_second(self, second_place: Path | None) -> None:
        if second_place is None:
            return
        path = heads_path(second_place, self.path)
        try:
            self._second = SecondPlace(path)
        except OSError as error:
            raise _refused(path, error) from error

    def _append(self, kind: int, payload: bytes) -> int:
        sequence = self._sequence + 1
        frame, digest = pack_frame(kind, sequence, self._digest, payload)
        self._write(frame)
        self._sequence, self._digest = sequence, digest
        self._length += len(frame)
        return sequence

    def _write(self, frame: bytes) -> None:
        """Write all of it or nothing, into a file that is still there and still ours."""
        try:
            status = os.fstat(self._descriptor)
            if status.st_nlink == 0:
                raise FileNotFoundError("the file was removed while it was being written")
            if status.st_size != self._length:
                raise OSError(f"it has {status.st_size} bytes, not {self._length}: others wrote")
            written = os.write(self._descriptor, frame)
            if written != len(frame):
                os.ftruncate(self._descriptor, self._length)
                raise OSError(f"only {written} of {len(frame)} bytes of a record fitted")
        except OSError as error:
            raise _refused(self.path, error) from error

    def _sign_head(
        self, event: HeadEvent, *, cut_bytes: int = 0, cut_sha256: str = ""
    ) -> SignedHead:
        with self._signing:
            with self._appending:
                sequence, digest, length = self._sequence, self._digest, self._length
            signed = Head(
                file=self._id,
                sequence=sequence,
                digest=digest.hex(),
                num_bytes=length,
                time_ns=now_ns(),
                event=event,
                key=self._key.id,
                cut_bytes=cut_bytes,
                cut_sha256=cut_sha256,
            ).sign(self._key)
            with self._appending:
                self._append(KIND_HEAD, signed.payload)
            self.sync()
            if self._second is not None:
                try:
                    self._second.append(signed)
                except OSError as error:
                    raise _refused(self._second.path, error) from error
            return signed


@contextmanager
def _abandoned_on_error(writer: ChainWriter) -> Iterator[None]:
    """Let go of the file when beginning or resuming fails."""
    try:
        yield
    except BaseException:
        writer.abandon()
        raise


def _heads(second_place: Path | None, chain: Path) -> tuple[SignedHead, ...]:
    """Return the heads that a second place holds; it may not exist yet."""
    if second_place is None:
        return ()
    path = heads_path(second_place, chain)
    return read_heads(path).heads if path.exists() else ()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(path: Path, error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(f"{path} could not be written: {reason}; nothing before it is lost")
