"""Writing so that it stays written: sync, rename, sync the folder; refusals become typed errors."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.core.errors import StorageError
from loopwright.store.crashpoints import reach

_ADVICE = {
    errno.ENOSPC: "free some space on that disk and run the command again",
    errno.EDQUOT: "free some of your quota on that disk and run the command again",
    errno.EFBIG: "the file may not grow further; raise the limit (ulimit -f) and run again",
    errno.EROFS: "the disk is mounted read-only; choose a writable workspace",
    errno.EACCES: "give yourself write permission there, or choose another workspace",
    errno.EPERM: "give yourself write permission there, or choose another workspace",
    errno.EIO: "the disk reports a hardware fault; check it before going on",
    errno.EXDEV: "a workspace must lie on one filesystem",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) and run again",
}


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal inside the block into a :class:`StorageError`."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the disk and run the command again")
        raise StorageError(
            f"could not store {path}: {error.strerror or error}; {advice}. "
            "What was committed before is untouched."
        ) from error


def sync(path: Path) -> None:
    """Force a file or a folder (its list of names) to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish(temporary: Path, final: Path, name: str) -> None:
    """Make a written file or folder appear under its final name, whole or not at all.

    Args:
        temporary: On the same filesystem as ``final``. The files in a folder are synced already.
        final: A file may be there already (it is replaced), but no folder with content.
        name: Prefix of the crash points that are passed.
    """
    reach(f"{name}.written")
    sync(temporary)
    reach(f"{name}.synced")
    os.rename(temporary, final)
    reach(f"{name}.renamed")
    sync(final.parent)
    reach(f"{name}.published")


def write_text_file(path: Path, text: str, name: str) -> None:
    """Write a small text file, whole or not at all.

    Args:
        path: Where; a file that is there is replaced.
        text: What it says.
        name: Prefix of the crash points that are passed.

    Raises:
        StorageError: The operating system refused.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        try:
            temporary.write_text(text, encoding="utf-8")
            publish(temporary, path, name)
        finally:
            temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a folder whose name survives a power cut; its parent must exist."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    sync(path.parent)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file or folder; say whether that worked.

    The kernel releases it when the process ends, however it ends.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def if_abandoned(path: Path) -> Iterator[bool]:
    """Yield whether nobody holds the lock of ``path``; it is held during the block."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield try_lock(descriptor)
    finally:
        os.close(descriptor)
