"""Keys and the people behind them: Ed25519 pairs, and who is trusted with what.

A private key is one file that only its owner may read. A *key ring* lists public keys with the
person each belongs to and the roles that person holds; it is what verifying starts from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from loopwright.core.digest import canonical_json, digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, UnknownName, Untrusted

Role = Literal[
    "proposer",
    "approver",
    "authority",
    "recorder",
    "investigator",
    "operator",
    "tower",
    "coordinator",
    "robot",
    "camera",
]
"""``proposer`` registers plans and claims; ``approver`` signs certificates; ``authority`` issues
directives; ``recorder`` is the key of a black box; ``investigator`` closes occurrences;
``operator`` deploys and releases brakes; ``tower`` renews the leases of deployments.
``coordinator``, ``robot`` and ``camera`` speak on the bus of a fleet."""
ROLES: tuple[Role, ...] = get_args(Role)


class SigningKey:
    """A private key, held in memory only as long as something is to be signed."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        """Wrap a key; use :meth:`new` or :meth:`read`."""
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.id = key_id(self.public)

    @classmethod
    def new(cls) -> SigningKey:
        """Draw a new pair from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Read a private key file.

        Raises:
            DamagedData: It is missing or holds no key.
            Untrusted: Others than its owner may read it.
        """
        try:
            mode, raw = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise DamagedData(f"no key could be read from {path}: {error}") from error
        if mode & 0o077:
            raise Untrusted(f"{path} may be read by others; make a new key, or run: chmod 600")
        if len(raw) != 32:
            raise DamagedData(f"{path} holds {len(raw)} bytes; a private key has 32")
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def write(self, path: Path) -> None:
        """Write the private key to a new file that only its owner may read.

        Raises:
            InvalidConfig: The file exists; a key is never overwritten.
            StorageError: It could not be written.
        """
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise InvalidConfig(f"{path} exists; a key is never overwritten") from error
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error
        with os.fdopen(handle, "wb") as file:
            file.write(self._private.private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, 64 bytes."""
        return self._private.sign(message)


def key_id(public: bytes) -> str:
    """Return the name of a public key: the first 16 hexadecimal digits of its digest."""
    return digest_bytes(public)[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """A public key, the person it belongs to, and what that person may do."""

    person: str
    public: bytes
    roles: frozenset[Role]

    def __post_init__(self) -> None:
        """Refuse keys that are none, nobody's keys, and unknown roles."""
        if len(self.public) != 32:
            raise InvalidConfig(f"key of {self.person!r} has {len(self.public)} bytes, not 32")
        if not self.person or self.person != " ".join(self.person.split()):
            raise InvalidConfig(
                f"a key of {self.person!r}; expected the name of a person or device, "
                "without spaces before, behind, or twice between words"
            )
        for role in self.roles:
            if role not in ROLES:
                raise UnknownName("role", role, ROLES)

    def is_other_than(self, other: Holder) -> bool:
        """Tell whether it is another key of another person; capitals make nobody another."""
        return self.public != other.public and self.person.casefold() != other.person.casefold()


class KeyRing:
    """Who is trusted with what."""

    def __init__(self, holders: Iterable[Holder] = ()) -> None:
        """Collect holders; a key is listed once.

        Raises:
            InvalidConfig: A key is listed twice.
        """
        self._holders: dict[str, Holder] = {}
        for holder in holders:
            identity = key_id(holder.public)
            if identity in self._holders:
                raise InvalidConfig(
                    f"key {identity} of {holder.person!r} is listed already, "
                    f"as that of {self._holders[identity].person!r}"
                )
            self._holders[identity] = holder

    def __iter__(self) -> Iterator[Holder]:
        """Yield the holders."""
        return iter(self._holders.values())

    def holder(self, identity: str) -> Holder:
        """Return whose key that is.

        Raises:
            Untrusted: No such key is on the ring.
        """
        if identity not in self._holders:
            known = ", ".join(sorted(h.person for h in self._holders.values())) or "nobody"
            raise Untrusted(f"key {identity} is not on the key ring, which trusts {known}")
        return self._holders[identity]

    def check(self, identity: str, message: bytes, signature: bytes) -> Holder:
        """Return who signed a message.

        Raises:
            Untrusted: The key is not on the ring, or the signature is not of this message.
        """
        holder = self.holder(identity)
        try:
            Ed25519PublicKey.from_public_bytes(holder.public).verify(signature, message)
        except InvalidSignature as error:
            raise Untrusted(
                f"the signature of {holder.person!r} does not fit; what was signed is altered"
            ) from error
        return holder

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "keys": [
                {"person": h.person, "public": h.public.hex(), "roles": sorted(h.roles)}
                for h in self
            ]
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KeyRing:
        """Read what :meth:`to_json` wrote."""
        return cls(
            Holder(
                person=str(entry["person"]),
                public=bytes.fromhex(entry["public"]),
                roles=frozenset(entry["roles"]),
            )
            for entry in data["keys"]
        )

    @classmethod
    def read(cls, path: Path) -> KeyRing:
        """Read a key ring file.

        Raises:
            DamagedData: It is missing or no key ring.
        """
        try:
            return cls.from_json(json.loads(path.read_bytes()))
        except _NO_RING as error:
            raise DamagedData(f"{path} is no key ring: {error}") from error

    def write(self, path: Path) -> None:
        """Write a key ring file, whole or not at all.

        Raises:
            StorageError: It could not be written.
        """
        partial = path.with_name(f"{path.name}.partial")
        try:
            partial.write_bytes(canonical_json(self.to_json()))
            partial.replace(path)
        except OSError as error:
            raise StorageError(f"{path} could not be written: {error}") from error


_NO_RING = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(InvalidConfig, UnknownName),
)
