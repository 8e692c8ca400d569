"""Who may do what: one secret token per role, and nothing without one.

Every door for people and programs (HTTP, MCP, ROS 2) asks here; processes on the bus have keys of
their own instead. Tokens are made when a fleet is set up and kept in one file that only its owner
may read; what is compared are digests, in constant time.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig, SafetyError, StorageError, Untrusted

AccessRole = Literal["observe", "operate", "train", "resume"]
"""``observe``: look at tasks, robots and memory. ``operate``: ask, cancel, stop. ``train``: look,
for who takes the episodes away; no route asks for more of it. ``resume``: release a stop (with a
signature besides)."""
ACCESS_ROLES: tuple[AccessRole, ...] = get_args(AccessRole)

_ALSO: Mapping[AccessRole, frozenset[AccessRole]] = {
    "observe": frozenset({"observe"}),
    "operate": frozenset({"observe", "operate"}),
    "train": frozenset({"observe", "train"}),
    "resume": frozenset({"observe", "resume"}),
}


class NotAllowedHere(SafetyError):
    """The token is missing, unknown, or of a role that may not do this."""


class Access:
    """The tokens of a fleet."""

    def __init__(self, tokens: Mapping[AccessRole, str]) -> None:
        """Know the tokens.

        Raises:
            InvalidConfig: A role is missing or unknown, or a token is short.
        """
        if set(tokens) != set(ACCESS_ROLES):
            raise InvalidConfig(f"tokens for {sorted(tokens)}; expected {sorted(ACCESS_ROLES)}")
        if short := [role for role, token in tokens.items() if len(token) < 32]:
            raise InvalidConfig(f"the tokens of {short} are shorter than 32 characters")
        self.tokens = dict(tokens)

    @classmethod
    def create(cls, path: Path) -> Access:
        """Draw new tokens and write them to a new file that only its owner may read.

        Raises:
            StorageError: It could not be written, or is there already.
        """
        access = cls({role: secrets.token_urlsafe(32) for role in ACCESS_ROLES})
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                json.dump(access.tokens, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error
        return access

    @classmethod
    def read(cls, path: Path) -> Access:
        """Read the tokens of a fleet.

        Raises:
            DamagedData: It is missing or no token file.
            Untrusted: Others than its owner may read it.
        """
        try:
            mode, data = path.stat().st_mode, json.loads(path.read_bytes())
            access = cls({role: str(token) for role, token in data.items()})
        except (OSError, ValueError, AttributeError, InvalidConfig) as error:
            raise DamagedData(f"{path} is no token file: {error}") from error
        if mode & 0o077:
            raise Untrusted(f"{path} may be read by others; run: chmod 600 {path}")
        return access

    @staticmethod
    def rights(role: AccessRole) -> tuple[AccessRole, ...]:
        """Return everything that a role may do, in the order of :data:`ACCESS_ROLES`."""
        return tuple(right for right in ACCESS_ROLES if right in _ALSO[role])

    def require(self, token: str | None, wanted: AccessRole) -> AccessRole:
        """Return the role of a token that may do what is wanted.

        Raises:
            NotAllowedHere: It may not; the message does not say which tokens there are.
        """
        given = digest_bytes((token or "").encode())
        found: AccessRole | None = None
        for role, known in self.tokens.items():
            # All are compared, so that time tells nothing.
            if hmac.compare_digest(given, digest_bytes(known.encode())):
                found = role
        if found is None:
            raise NotAllowedHere("no token, or an unknown one; send 'Authorization: Bearer ...'")
        if wanted not in _ALSO[found]:
            raise NotAllowedHere(f"the role {found!r} may not {wanted}")
        return found
