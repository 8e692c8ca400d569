"""``loopwright directive release``: end a directive, on evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, digest_named, order_named
from loopwright.safety.directive.orders import release
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed


def main(
    directive: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER")],
    /,
    *,
    evidence: tuple[str, ...],
    key: Path,
    deployment: tuple[str, ...] = (),
    place: Place = DEFAULT_PLACE,
) -> int:
    """End a directive, for all or for some deployments.

    The evidence is registered before ('loopwright register evidence'), and signed by somebody else
    than who releases.

    Args:
        directive: Its number, or its digest.
        evidence: Numbers or digests of the entries that show the closing action.
        key: Private key of an authority.
        deployment: Ids of the deployments it is over for; all by default.
        place: Where the register lies.
    """
    with place.open() as register:
        order = order_named(register, directive)
        shown = [digest_named(register, name) for name in evidence]
        statement = release(register.id, order.digest, evidence=shown, deployments=deployment)
        number = register.append(Signed.by(statement, SigningKey.read(key)))
    whom = ", ".join(deployment) or "all"
    print(f"entry {number}: directive {order.directive.number} is over for {whom}")
    return 0
