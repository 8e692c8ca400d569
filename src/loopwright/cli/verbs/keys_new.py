"""``loopwright keys new``: a key pair for a person or a device."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.errors import InvalidConfig
from loopwright.safety.keys import Holder, KeyRing, Role, SigningKey

RING_NAME = "ring.json"


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    role: Annotated[tuple[Role, ...], tyro.conf.UseAppendAction],
    keys: Path = Path("keys"),
) -> int:
    """Make a key pair, and put its public half on the key ring.

    The private key is one file that only you may read. Keep it; a key that is lost is replaced by
    a new one, and a key that is copied signs for you.

    Args:
        name: The person (or device) who signs with it, "Ada Lovelace".
        role: What the key may do; repeat the flag for several roles.
        keys: Folder of the key ring (ring.json) and of the new private key.
    """
    if not role:
        raise InvalidConfig("a key without a role can sign nothing; give --role")
    file = keys / f"{_file_name(name)}.key"
    ring_file = keys / RING_NAME
    ring = KeyRing.read(ring_file) if ring_file.exists() else KeyRing()
    key = SigningKey.new()
    holder = Holder(person=name, public=key.public, roles=frozenset(role))
    keys.mkdir(parents=True, exist_ok=True)
    key.write(file)
    KeyRing([*ring, holder]).write(ring_file)
    print(f"{file}: private key {key.id} of {name} ({', '.join(sorted(role))})")
    print(f"{ring_file}: public keys of {len(list(ring)) + 1}")
    return 0


def _file_name(person: str) -> str:
    name = re.sub(r"[^\w]+", "-", person.lower()).strip("-")
    if not name:
        raise InvalidConfig(f"{person!r} has no letter to name a file by")
    return name
