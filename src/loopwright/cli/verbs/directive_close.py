"""``loopwright directive close``: a deployment did what a directive asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, digest_named, order_named
from loopwright.safety.directive.orders import closure
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed


def main(
    directive: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER")],
    /,
    *,
    deployment: str,
    evidence: tuple[str, ...],
    key: Path,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Register that a deployment has done the closing action of a directive.

    It ends an inspection for that deployment. A grounding or a restriction stays until an authority
    releases it ('loopwright directive release'), for which this is a ground.

    Args:
        directive: Its number, or its digest.
        deployment: Id of the deployment that complied.
        evidence: Numbers or digests of the entries that show the closing action.
        key: Private key of an operator.
        place: Where the register lies.
    """
    with place.open() as register:
        order = order_named(register, directive)
        shown = [digest_named(register, name) for name in evidence]
        statement = closure(register.id, deployment, order.digest, shown)
        number = register.append(Signed.by(statement, SigningKey.read(key)))
    action = order.directive.action
    ends = "is over for it" if action == "inspect" else f"still has it {_PAST[action]}"
    print(f"entry {number}: {deployment} complied; directive {order.directive.number} {ends}")
    return 0


_PAST = {"ground": "grounded", "restrict": "restricted"}
