"""``loopwright certificate approve``: the second signature."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.core.digest import canonical_json
from loopwright.loop.certification import find_rig, identity_of
from loopwright.safety.certificate.document import Certificate
from loopwright.safety.certificate.issue import approve
from loopwright.safety.certificate.verify import read_certificate
from loopwright.safety.keys import SigningKey
from loopwright.scenarios.registry import get_scenario


def main(
    certificate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CERTIFICATE")],
    /,
    *,
    candidate: Path,
    key: Path,
    scenario: str | None = None,
    rig: str | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Repeat the count from the register, digest everything again, and sign.

    Args:
        certificate: File of the proposed certificate; the approved one takes its place.
        candidate: Candidate folder.
        key: Private key of an approver: another person than who proposed it.
        scenario: Path of the scenario file, if it is no built-in scenario.
        rig: Where the robot and its limits come from, package.module:function.
        place: Where the register lies.
    """
    proposed = read_certificate(certificate)
    claimed = Certificate.from_statement(proposed.statement)
    found = get_scenario(scenario or claimed.scenario)
    identity = identity_of(candidate, found, find_rig(found, rig))
    with place.open() as register:
        approved = approve(
            proposed,
            register,
            register.ring,
            SigningKey.read(key),
            identity=identity,
            now_s=time.time(),
        )
        number = register.append(approved)
    certificate.write_bytes(canonical_json(approved.to_json()))
    print(f"{certificate}: approved, entry {number} of the register")
    return 0
