"""``loopwright certificate verify``: may exactly this combination move, now?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.loop.certification import find_rig, identity_of
from loopwright.safety.certificate.document import Certificate
from loopwright.safety.certificate.verify import (
    SUSPENSION,
    open_for_deployment,
    read_certificate,
    suspended,
)
from loopwright.safety.keys import KeyRing
from loopwright.scenarios.registry import get_scenario


def main(
    certificate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CERTIFICATE")],
    /,
    *,
    candidate: Path,
    scenario: str | None = None,
    rig: str | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Check signatures, time, arithmetic, suspension, and every digest against what lies here.

    Exit code 0 if it holds; else 1, and the reason. Where there is no register, suspensions cannot
    be seen, which is said.

    Args:
        certificate: Certificate file.
        candidate: Candidate folder.
        scenario: Path of the scenario file, if it is no built-in scenario.
        rig: Where the robot and its limits come from, package.module:function.
        place: Where the register lies.
    """
    claimed = Certificate.from_statement(read_certificate(certificate).statement)
    found = get_scenario(scenario or claimed.scenario)
    revoked: frozenset[str] = frozenset()
    if place.register.exists():
        with place.open() as register:
            revoked = suspended(register.statements(SUSPENSION))
    else:
        print(f"no register at {place.register}: whether it is suspended is not known")
    held = open_for_deployment(
        candidate,
        certificate,
        ring=KeyRing.read(place.ring),
        identity=identity_of(candidate, found, find_rig(found, rig)),
        now_s=time.time(),
        revoked=revoked,
    )
    print(
        f"certificate {held.digest[:16]} holds: {held.scenario}, level {held.level} with the "
        f"filter, {held.level_without_filter or 'none shown'} without it"
    )
    return 0
