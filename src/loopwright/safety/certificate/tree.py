"""The digest of a folder: every file, whatever it is called.

No ignore rules: a file in ``.git`` or ``__pycache__`` can be imported as well as any other. Links
and special files are refused, because what they lead to is not in the folder. Names are not
normalised but must be in the one form that all file systems agree on (Unicode NFC), and no two may
differ by case alone: else one digest would stand for different folders on different machines.
Permissions and times are no part of it. An empty folder is: its name is listed, ending in ``/``.

For a folder of plain files it is the digest by which the object store knows the folder, and so the
:attr:`~loopwright.core.policy.Candidate.digest` of a candidate.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from loopwright.core.digest import digest_json, folder_manifest
from loopwright.core.errors import DamagedData, UnsafeCandidate

_BLOCK_BYTES = 1 << 20
_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def digest_every_file(folder: Path) -> str:
    """Return the SHA-256 that stands for all names and bytes below a folder.

    Raises:
        UnsafeCandidate: It holds a link or a special file, or a name that is not portable.
        DamagedData: It is no folder, or something in it cannot be read.
    """
    return digest_json(folder_manifest(list_every_file(folder)))


def list_every_file(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file by its name below a folder, ``"sub/weights.bin"``.

    Raises:
        UnsafeCandidate: It holds a link or a special file, or a name that is not portable.
        DamagedData: It is no folder, or something in it cannot be read.
    """
    if folder.is_symlink():
        raise UnsafeCandidate(f"{folder} is a link; give the folder itself")
    try:
        return dict(_walk(folder, ""))
    except OSError as error:
        raise DamagedData(f"{folder} cannot be read: {error}") from error


def _walk(folder: Path, above: str) -> Iterator[tuple[str, str]]:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    if not entries and above:
        yield above, ""
    _refuse_names_that_differ_by_case(folder, [entry.name for entry in entries])
    for entry in entries:
        _refuse_odd_name(entry)
        name = above + entry.name
        if entry.is_symlink():
            raise UnsafeCandidate(f"{entry.path} is a link; put the file itself into the folder")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), f"{name}/")
        else:
            yield name, _digest_plain_file(entry.path)


def _digest_plain_file(path: str) -> str:
    """Digest a file that is opened without following links and without waiting for a writer."""
    handle = os.open(path, _OPEN_FLAGS)
    with os.fdopen(handle, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise UnsafeCandidate(f"{path} is no plain file (a pipe or a device); remove it")
        hasher = hashlib.sha256()
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def _refuse_odd_name(entry: os.DirEntry[str]) -> None:
    if not _is_text(entry.name) or unicodedata.normalize("NFC", entry.name) != entry.name:
        raise UnsafeCandidate(
            f"{entry.path!r} has a name that file systems write differently; "
            "rename it (Unicode NFC, best plain ASCII)"
        )


def _is_text(name: str) -> bool:
    """Tell whether a name was UTF-8; one that was not arrives with lone surrogates in it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_names_that_differ_by_case(folder: Path, names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise UnsafeCandidate(
                f"{folder} holds {other!r} and {name!r}, which are one file on some machines"
            )
