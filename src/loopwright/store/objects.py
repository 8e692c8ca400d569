"""Objects: immutable bytes addressed by their SHA-256, checked whenever they are read."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from loopwright.core.digest import Json, canonical_json, digest_bytes, digest_file, folder_manifest
from loopwright.core.errors import DamagedData, InvalidConfig, UsageError
from loopwright.store.durable import (
    if_abandoned,
    make_folder,
    publish,
    storing,
    sync,
    try_lock,
)

_BLOCK_BYTES = 1 << 20
_DIGITS = frozenset("0123456789abcdef")
_NO_HARD_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}


class DamagedObject(DamagedData):
    """An object is missing or is not what its digest says; run its producer again."""

    def __init__(self, digest: str, message: str) -> None:
        """Keep the digest beside the message, so that the producer can be looked up."""
        super().__init__(message)
        self.digest = digest


class Objects:
    """A folder of objects: ``sha256/ab/<digest>``, read-only files."""

    def __init__(self, root: Path) -> None:
        """Use (and make, if need be) the folder ``root``.

        Raises:
            StorageError: The operating system refused.
        """
        self.root = root
        self._objects = root / "sha256"
        self._temporary = root / "tmp"
        self.quarantine = root / "quarantine"
        self._names = itertools.count()
        if not self._temporary.is_dir():
            with storing(root):
                for folder in (root, self._objects, self.quarantine, self._temporary):
                    make_folder(folder)

    def put_bytes(self, data: bytes) -> str:
        """Store ``data`` durably and return its digest.

        Raises:
            StorageError: The operating system refused; nothing was changed.
        """
        digest = digest_bytes(data)
        if not self._is_intact(digest):
            with self._temporary_file() as (file, path):
                file.write(data)
                self._publish(file, path, digest)
        return digest

    def put_json(self, value: Json) -> str:
        """Store plain data in its canonical form; its digest is ``digest_json(value)``."""
        return self.put_bytes(canonical_json(value))

    def put_file(self, path: Path) -> str:
        """Store a copy of a file and return its digest."""
        hasher = hashlib.sha256()
        with Path(path).open("rb") as source, self._temporary_file() as (file, temporary):
            while block := source.read(_BLOCK_BYTES):
                hasher.update(block)
                file.write(block)
            digest = hasher.hexdigest()
            if not self._is_intact(digest):
                self._publish(file, temporary, digest)
        return digest

    def put_folder(self, folder: Path) -> str:
        """Store every file below ``folder`` and return the digest of its manifest.

        The manifest is the object ``{"folder": {relative name: digest}}``.

        Raises:
            UsageError: It is no folder, or holds a link or a special file.
        """
        return self.put_json(
            folder_manifest({name: self.put_file(folder / name) for name in _file_names(folder)})
        )

    def has(self, digest: str) -> bool:
        """Tell whether an object of that digest is there; its bytes are not looked at."""
        return self._place(digest).is_file()

    def has_folder(self, digest: str) -> bool:
        """Tell whether a folder's manifest and everything it names are here, damaged or not."""
        return self.has(digest) and all(map(self.has, self._manifest(digest).values()))

    def path(self, digest: str, *, verify: bool = True) -> Path:
        """Return the read-only file of an object.

        Raises:
            DamagedObject: It is missing, or (when verified) damaged and now in quarantine.
        """
        place = self._place(digest)
        if not place.is_file():
            raise DamagedObject(digest, f"object {digest} is missing; run the stage that makes it")
        if verify:
            found = digest_file(place)
            if found != digest:
                self._quarantine(digest, f"its bytes have the digest {found}")
        return place

    def read_bytes(self, digest: str) -> bytes:
        """Return the bytes of an object, checked.

        Raises:
            DamagedObject: It is missing, or damaged and now in quarantine.
        """
        data = self.path(digest, verify=False).read_bytes()
        found = digest_bytes(data)
        if found != digest:
            self._quarantine(digest, f"its {len(data)} bytes have the digest {found}")
        return data

    def read_json(self, digest: str) -> Any:
        """Return the plain data of an object, checked."""
        return json.loads(self.read_bytes(digest))

    def checkout(self, digest: str, folder: Path) -> None:
        """Lay a stored folder out at ``folder``, as hard links where the disk allows.

        The files are read-only: they are the objects themselves. If the folder exists already,
        files of it that are missing or changed are put right.

        Raises:
            DamagedObject: The manifest or a file is missing or damaged.
            UsageError: ``digest`` is no folder, or the folder holds other files too.
        """
        files = self._manifest(digest)
        if folder.exists():
            self._repair(digest, files, folder)
            return
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        with storing(folder):
            try:
                for name, file_digest in files.items():
                    target = temporary / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _link_or_copy(self.path(file_digest), target)
                os.rename(temporary, folder)
                sync(folder.parent)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Remove temporary files whose writer is gone; return their names."""
        removed = []
        for path in sorted(self._temporary.iterdir()):
            with if_abandoned(path) as abandoned:
                if abandoned:
                    path.unlink(missing_ok=True)
                    removed.append(path.name)
        return removed

    def _place(self, digest: str) -> Path:
        if len(digest) != 64 or not _DIGITS.issuperset(digest):
            raise InvalidConfig(f"{digest!r} is no digest; expected 64 hexadecimal digits")
        return self._objects / digest[:2] / digest

    def _is_intact(self, digest: str) -> bool:
        place = self._place(digest)
        return place.is_file() and digest_file(place) == digest

    @contextmanager
    def _temporary_file(self) -> Iterator[tuple[IO[bytes], Path]]:
        """Yield a locked temporary file; a lock that is gone tells that its writer is."""
        path = self._temporary / f"{os.getpid()}-{next(self._names)}-{os.urandom(4).hex()}"
        with storing(path):
            try:
                with path.open("xb") as file:
                    try_lock(file.fileno())
                    yield file, path
            finally:
                path.unlink(missing_ok=True)

    def _publish(self, file: IO[bytes], path: Path, digest: str) -> None:
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        place = self._place(digest)
        make_folder(place.parent)
        publish(path, place, "object")

    def _quarantine(self, digest: str, reason: str) -> None:
        """Move a damaged object away and raise."""
        place = self._place(digest)
        kept = self.quarantine / f"{digest}-{os.urandom(4).hex()}"
        try:
            os.rename(place, kept)
            kept.with_name(kept.name + ".txt").write_text(
                f"object {digest} was damaged: {reason}\n", encoding="utf-8"
            )
            where = f"the damaged file is kept as {kept}"
        except OSError as error:  # a read-only disk must not hide the damage
            where = f"it could not be moved away ({error.strerror})"
        raise DamagedObject(
            digest,
            f"object {place} is damaged: {reason}; {where}. Run the stage that makes it again.",
        )

    def _manifest(self, digest: str) -> Mapping[str, str]:
        try:
            manifest = self.read_json(digest)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"object {digest} is no folder: {error}") from error
        files = manifest.get("folder") if isinstance(manifest, dict) else None
        if not isinstance(files, dict):
            raise UsageError(f"object {digest} is no folder; expected {{'folder': ...}}")
        for name, file_digest in files.items():
            if not isinstance(file_digest, str):
                raise UsageError(f"folder object {digest} gives {name!r} the digest {file_digest}")
            parts = PurePosixPath(name).parts
            if not parts or PurePosixPath(name).is_absolute() or ".." in parts:
                raise UsageError(f"folder object {digest} names {name!r}, which lies outside it")
        return files

    def _repair(self, digest: str, files: Mapping[str, str], folder: Path) -> None:
        strange = sorted(set(_file_names(folder)) - set(files))
        if strange:
            raise UsageError(
                f"{folder} holds {strange}, which folder object {digest[:12]} does not; "
                "remove them or choose another place"
            )
        for name, file_digest in files.items():
            target = folder / name
            if target.is_file() and digest_file(target) == file_digest:
                continue
            source = self.path(file_digest)
            with storing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                _link_or_copy(source, target)


def _file_names(folder: Path) -> list[str]:
    """Return the sorted relative names of the plain files below a folder."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    names = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UsageError(f"{path} is a link or a special file; only plain files are stored")
        if path.is_file():
            names.append(path.relative_to(folder).as_posix())
    return names


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINK:
            raise
        shutil.copy(source, target)
