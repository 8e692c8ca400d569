"""Leases: a tower's signed answer that a deployment is still in touch with the register.

A deployment asks with a number it has just drawn; the tower signs the answer together with that
number. So an answer cannot be kept and shown again later, and the lease runs from the moment of
*asking*, by the deployment's own clock: no clocks are compared, and neither a slow network nor a
clock that was set makes a lease longer. That clock counts the time a machine sleeps, too.

Questions and answers are files in ``leases`` beside the register: ``<deployment>.ask`` and
``<deployment>.lease``. Who can write there can prevent leases, but makes none.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from loopwright.core.digest import canonical_json
from loopwright.core.errors import DamagedData, StorageError, Untrusted
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.register import LEASES_NAME
from loopwright.safety.statement import Signed, Statement

KIND = "lease/v1"
LEASE_S = 30.0
_LONGEST = 1 << 14
"""Bytes of a question or an answer that are read."""


class Clock(Protocol):
    """What time it is."""

    def since_boot_s(self) -> float:
        """Return seconds since the machine started, sleep included; nobody can set it."""
        ...

    def wall_s(self) -> float:
        """Return seconds since 1970, by a clock that may be set."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def since_boot_s(self) -> float:
        """Return seconds since the machine started, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall_s(self) -> float:
        """Return seconds since 1970."""
        return time.time()


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What a deployment asks."""

    deployment: str
    """Id."""
    digest: str
    """Of the deployment: of everything it is."""
    nonce: str
    """Drawn for this question."""

    def write(self, folder: Path) -> None:
        """Put the question where the tower finds it.

        Raises:
            StorageError: The folder is out of reach.
        """
        replace_file(ask_path(folder, self.deployment), canonical_json(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Ask | None:
        """Read a question; None if there is none, or something that is none."""
        try:
            ask = cls(**json.loads(_read_plain(path, _LONGEST)))
        except (OSError, ValueError, TypeError):
            return None
        fits = all(isinstance(value, str) for value in asdict(ask).values())
        return ask if fits and path.name == f"{ask.deployment}.ask" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What a tower answers."""

    register: str
    """Id of the register."""
    ask: Ask
    seconds: float
    """How long it lasts, from the moment of asking."""
    count: int
    """Entries that the tower sees in the register."""
    head: str
    """Chain digest after the last of them."""
    time_s: float
    """What time it is for the tower, seconds since 1970."""
    refusal: str = ""
    """Why there is no lease; empty if there is one."""

    def signed_by(self, key: SigningKey) -> Signed:
        """Return the signed answer."""
        said = {**asdict(self), "ask": asdict(self.ask)}
        subjects = {"deployment": self.ask.digest, "register": self.register}
        return Signed.by(Statement(kind=KIND, subjects=subjects, predicate=said), key)

    @classmethod
    def read(cls, path: Path, ring: KeyRing) -> Lease | None:
        """Read an answer; None if there is none.

        Raises:
            Untrusted: It is not signed by a tower.
            DamagedData: It is no lease.
            StorageError: The folder is out of reach.
        """
        try:
            raw = _read_plain(path, _LONGEST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{path} is out of reach: {error}") from error
        try:
            signed = Signed.from_json(json.loads(raw))
        except ValueError as error:
            raise DamagedData(f"{path} is no lease: {error}") from error
        if signed.statement.kind != KIND:
            raise Untrusted(f"{path} is a {signed.statement.kind}, no lease")
        signed.require(ring, "tower")
        said: Mapping[str, Any] = signed.statement.predicate
        try:
            return cls(**{**said, "ask": Ask(**said["ask"])})
        except (KeyError, TypeError) as error:
            raise DamagedData(f"{path} is no lease: {error}") from error


def ask_path(folder: Path, deployment: str) -> Path:
    """Return where a deployment's question lies, below the folder of the register."""
    return folder / LEASES_NAME / f"{deployment}.ask"


def lease_path(folder: Path, deployment: str) -> Path:
    """Return where the answer lies."""
    return folder / LEASES_NAME / f"{deployment}.lease"


def replace_file(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; it need not survive a power cut.

    Raises:
        StorageError: The operating system refused.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        # Others may write in this folder: nothing that lies there already is followed or reused.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(partial, flags, 0o644), "wb") as file:
            file.write(data)
        partial.rename(path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error


def _read_plain(path: Path, longest: int) -> bytes:
    """Read a file, not what a link points to, and without waiting for a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        return file.read(longest) or b""
