"""Reading parts of a file without ever trusting an unchecked byte.

A digest covers a whole file, and a film that is opened for one frame should not have to be read
whole each time. So the first opening digests all of it and keeps a checksum of every block; later
reads, after any number of re-openings, check the blocks they touch and no others.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import DamagedData

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What a file was when its digest was right; some 100 bytes per MiB of it."""

    identity: tuple[int, ...]
    """Device, inode, size and time of change: with another identity it is another file."""
    checksums: array[int]
    """CRC-32 of every block."""

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.identity[2]


class CheckedFile(io.RawIOBase):
    """A file open for reading whose every byte is checked before it is handed out.

    Copies of it in a forked process may be read at the same time: there is no shared position.
    """

    def __init__(self, path: Path, digest: str, proof: Proof | None = None) -> None:
        """Open a file.

        Args:
            path: Where it is.
            digest: SHA-256 it must have.
            proof: What an earlier opening found out (:attr:`proof`), to not read all of it again.

        Raises:
            DamagedData: It is missing, no plain file, or has another digest.
        """
        super().__init__()
        self._path, self._position = path, 0
        self._number, self._block = -1, b""
        self._descriptor = _descriptor(path)
        try:
            if proof is None or proof.identity != _identity(self._descriptor):
                proof = _prove(self._descriptor, path, digest)
            self.proof = proof
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it; idempotent."""
        if not self.closed and hasattr(self, "_descriptor"):
            os.close(self._descriptor)
        super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position and return it."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.proof.num_bytes}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill ``buffer``, at most to the end of a block; return how many bytes that are.

        Raises:
            DamagedData: The bytes are not those that had the digest.
        """
        number, skip = divmod(self._position, _BLOCK_BYTES)
        if number >= len(self.proof.checksums):
            return 0
        target = memoryview(buffer).cast("B")
        piece = self._checked_block(number)[skip : skip + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _checked_block(self, number: int) -> bytes:
        if number != self._number:
            begin = number * _BLOCK_BYTES
            block = os.pread(self._descriptor, _BLOCK_BYTES, begin)
            if zlib.crc32(block) != self.proof.checksums[number]:
                raise DamagedData(
                    f"{self._path} was damaged after byte {begin} since it was opened"
                )
            self._number, self._block = number, block
        return self._block


def _descriptor(path: Path) -> int:
    """Open a plain file; a link is not followed, and a pipe does not keep us waiting."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise DamagedData(f"{path} is missing") from error
    except OSError as error:
        raise DamagedData(f"{path} cannot be read: {error}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DamagedData(f"{path} is no plain file; a link or special file is not read")
    return descriptor


def _prove(descriptor: int, path: Path, digest: str) -> Proof:
    identity, hasher, checksums, begin = _identity(descriptor), hashlib.sha256(), array("I"), 0
    while block := os.pread(descriptor, _BLOCK_BYTES, begin):
        hasher.update(block)
        checksums.append(zlib.crc32(block))
        begin += len(block)
    found = hasher.hexdigest()
    if found != digest:
        raise DamagedData(
            f"{path} ({begin} bytes) has the digest {found[:12]}, expected {digest[:12]}"
        )
    return Proof(identity=identity, checksums=checksums)


def _identity(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
