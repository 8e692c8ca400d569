"""The secret of a fleet: what its processes know each other by."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, Untrusted

_LEAST_BYTES = 32


@dataclass(frozen=True, slots=True)
class FleetSecret:
    """Random bytes that every process of a fleet holds, and nobody else."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what could be guessed."""
        if len(self.key) < _LEAST_BYTES:
            raise InvalidConfig(
                f"a fleet secret of {len(self.key)} bytes; it takes {_LEAST_BYTES} random ones"
            )

    @classmethod
    def create(cls, path: Path) -> FleetSecret:
        """Draw a new secret and write it to a new file that only its owner may read.

        Raises:
            StorageError: It could not be written, or is there already.
        """
        secret = cls(secrets.token_bytes(_LEAST_BYTES))
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(secret.key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error
        return secret

    @classmethod
    def read(cls, path: Path) -> FleetSecret:
        """Read the secret of a fleet.

        Raises:
            DamagedData: It is missing or no secret.
            Untrusted: Others than its owner may read it.
        """
        try:
            mode, secret = path.stat().st_mode, cls(bytes.fromhex(path.read_text()))
        except (OSError, ValueError, InvalidConfig) as error:
            raise DamagedData(f"{path} is no fleet secret: {error}") from error
        if mode & 0o077:
            raise Untrusted(f"{path} may be read by others; run: chmod 600 {path}")
        return secret

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes for one purpose, from which nothing else can be computed."""
        return hmac.digest(self.key, f"loopwright {purpose}".encode(), hashlib.sha256)
