"""``loopwright register new``: begin the register of a site."""

from __future__ import annotations

from pathlib import Path

from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.safety.keys import KeyRing, SigningKey
from loopwright.safety.register import Register


def main(*, key: Path, place: Place = DEFAULT_PLACE) -> int:
    """Begin an empty register.

    Args:
        key: Private key of somebody with the role 'authority'.
        place: Where it is to lie.
    """
    ring = KeyRing.read(place.ring)
    with Register.create(
        place.register, ring, SigningKey.read(key), memory=place.own_memory
    ) as register:
        print(f"{place.register}: register {register.id}")
    return 0
