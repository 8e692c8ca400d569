"""What a reader remembers of a register: how far it was verified, and how it stood then.

It does two things. It shows a rollback: what was once there must still be there, so a register put
back to an earlier state, or rewritten, is refused. And it saves time: bytes that lead to the
remembered chain hash are the very bytes that were verified, so their signatures need not be
checked again (SHA-256 stands between an attacker and other bytes of the same hash).

It saves time and never grants trust, as long as an attacker cannot write it: one who could would
name the hash of a forged register as verified. So it lies in a folder of the *reader*, never in the
register's, and is used only if that folder and the file belong to this user and nobody else may
write them. It is bound to the register, to the key ring and to the rules it was verified under;
under another ring or other rules everything is verified again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, StorageError, Untrusted


@dataclass(frozen=True, kw_only=True, slots=True)
class Witness:
    """How a register stood when it was last read."""

    register: str
    """Id of the register."""
    trust: str
    """Digest of the key ring and the rules that the entries were verified under."""
    count: int
    """Entries verified."""
    head: str
    """Chain hash after the last of them, 64 hexadecimal digits."""
    epoch: int
    """Urgent entries among them."""

    @classmethod
    def read(cls, folder: Path, register: str) -> Witness | None:
        """Read what is remembered of a register; None if nothing is.

        Raises:
            Untrusted: Others than this user may write there.
            DamagedData: It is no witness.
        """
        path = folder / f"{register}.json"
        if not path.exists():
            return None
        _refuse_foreign(folder)
        _refuse_foreign(path)
        try:
            witness = cls(**json.loads(path.read_bytes()))
            if witness.register != register:
                raise ValueError(f"it is of register {witness.register!r}")
        except (OSError, ValueError, TypeError) as error:
            raise DamagedData(
                f"{path} is no memory of a register: {error}; if you know why, delete it, and "
                "the whole register is verified again"
            ) from error
        return witness

    def write(self, folder: Path) -> None:
        """Remember, durably; what is remembered never goes back.

        Raises:
            StorageError: The operating system refused.
            Untrusted: Others than this user may write there.
        """
        path = folder / f"{self.register}.json"
        temporary = path.with_suffix(f".{os.getpid()}.partial")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _alone_in(folder):
                earlier = Witness.read(folder, self.register)
                if earlier is not None and earlier.count > self.count:
                    return
                with temporary.open("wb") as file:
                    file.write(canonical_json(asdict(self)))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(path)
        except OSError as error:
            raise StorageError(f"could not remember {path}: {error}") from error


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder; the kernel drops it when the process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _refuse_foreign(folder)
        yield
    finally:
        os.close(handle)


def _refuse_foreign(path: Path) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise Untrusted(
            f"{path} is a link, belongs to another user or may be written by others; what is "
            "remembered of a register must be in a folder of your own (run: chmod go-w)"
        )
