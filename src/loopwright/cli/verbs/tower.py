"""``loopwright tower``: renew the leases of deployments until stopped."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.safety.directive.lease import LEASE_S
from loopwright.safety.directive.tower import Tower
from loopwright.safety.keys import KeyRing, SigningKey


def main(*, key: Path, lease_s: float = LEASE_S, place: Place = DEFAULT_PLACE) -> int:
    """Answer the deployments of a register; when this ends, they stop as their leases run out.

    Args:
        key: Private key of a device with the role 'tower'.
        lease_s: How long a lease lasts.
        place: Where the register lies.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tower = Tower(
        place.register,
        KeyRing.read(place.ring),
        SigningKey.read(key),
        memory=place.own_memory,
        lease_s=lease_s,
    )
    print(f"renewing leases of {lease_s:g} s for {place.register}", file=sys.stderr)
    try:
        tower.run(stop)
    finally:
        tower.close()
    return 0
