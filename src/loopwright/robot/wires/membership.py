"""What a process has in order to be on the bus: a secret, a ring of public keys, and its own keys.

::

    ring.json           everybody's public key and role
    keys/bus.secret     lets a process onto the bus, to listen
    keys/NAME.key       lets it speak, as NAME and within NAME's role

A robot on a machine of its own is given the first two and its own key, and no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.errors import InvalidConfig, StorageError, Untrusted
from loopwright.robot.wires.secret import FleetSecret
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_RING, _KEYS, _SECRET = "ring.json", "keys", "bus.secret"


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """A process's place on the bus."""

    secret: FleetSecret
    ring: KeyRing
    """Whom it believes, and what."""
    keys: tuple[SigningKey, ...] = ()
    """As whom it speaks. The first is the process; others are for what it reports in the names of
    others whom it is as well, such as the cameras beside a coordinator. Without one it listens."""

    @classmethod
    def read(cls, folder: Path, *names: str) -> Membership:
        """Read what :func:`enrol` has put into a folder.

        Args:
            folder: The fleet's.
            names: As whom the process speaks; nobody for an observer.

        Raises:
            DamagedData: Something is missing or no such thing.
            Untrusted: Others than its owner may read a key or the secret.
        """
        keys = folder / _KEYS
        return cls(
            secret=FleetSecret.read(keys / _SECRET),
            ring=KeyRing.read(folder / _RING),
            keys=tuple(SigningKey.read(keys / f"{name}.key") for name in names),
        )


def enrol(folder: Path, role: Role, *names: str) -> None:
    """Give whoever is not on the ring of a folder a key, and list it there.

    Whoever is listed keeps the key that is trusted, wherever its private half lies; a key that was
    taken off the ring is not put on it again.

    Args:
        folder: The fleet's; ring and secret are made if there are none.
        role: What they are.
        names: Who they are.

    Raises:
        InvalidConfig: A name cannot be one, or is on the ring in another role.
        Untrusted: There is a key of that name which the ring does not list.
        StorageError: Something could not be written.
        DamagedData: What is there cannot be read.
    """
    keys, path = folder / _KEYS, folder / _RING
    try:
        keys.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{keys} could not be made: {error}") from error
    if not (keys / _SECRET).exists():
        FleetSecret.create(keys / _SECRET)
    is_new = not path.exists()
    ring = KeyRing() if is_new else KeyRing.read(path)
    listed = {holder.person: holder for holder in ring}
    for name in listed.keys() & set(names):
        if role not in (known := listed[name].roles):
            raise InvalidConfig(
                f"{name!r} is {', '.join(sorted(known))} on {path}, not {role}; choose another name"
            )
    missing = [name for name in names if name not in listed]
    for name in missing:
        check_name(name)
        file = keys / f"{name}.key"
        if not file.exists():
            SigningKey.new().write(file)
        elif not is_new:
            raise Untrusted(
                f"{file} is not on {path}, taken off or never listed; delete the file, then "
                f"{name!r} gets another key"
            )
    if missing or is_new:
        KeyRing([*ring, *(_holder(keys, name, role) for name in missing)]).write(path)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of somebody on the bus.

    Raises:
        InvalidConfig: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidConfig(f"{name!r} names no peer; letters, digits, '_', '.' and '-'")


def _holder(keys: Path, name: str, role: Role) -> Holder:
    public = SigningKey.read(keys / f"{name}.key").public
    return Holder(person=name, public=public, roles=frozenset({role}))
