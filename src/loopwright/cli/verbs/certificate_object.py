"""``loopwright certificate object``: turn a proposed certificate down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place
from loopwright.loop.certified import objection
from loopwright.safety.certificate.document import Certificate
from loopwright.safety.certificate.verify import read_certificate


def main(
    certificate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CERTIFICATE")],
    /,
    *,
    reason: str,
    key: Path,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Say for good that a certificate is not approved; a loop that waits for it goes on without.

    Args:
        certificate: File of the proposed certificate.
        reason: Why, for the record.
        key: Private key of an approver.
        place: Where the register lies.
    """
    proposed = Certificate.from_statement(read_certificate(certificate).statement)
    register, number = place.sign_and_append(objection(proposed.plan, reason), key)
    register.close()
    print(f"{certificate}: turned down, entry {number} of the register")
    return 0
