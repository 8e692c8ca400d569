"""``loopwright directive alternative``: approve another means of compliance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, moment, order_named, written
from loopwright.core.errors import InvalidConfig
from loopwright.safety.directive.orders import alternative
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed


def main(
    directive: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER")],
    /,
    *,
    means: str,
    until: str,
    key: Path,
    limits: str = "{}",
    deployment: tuple[str, ...] = (),
    place: Place = DEFAULT_PLACE,
) -> int:
    """Approve that something else is done than what a directive orders, until some moment.

    Deployments it is for move meanwhile under the limits given here, which can only tighten those
    of their filter. When it runs out, the directive holds again.

    Args:
        directive: Its number, or its digest.
        means: What is done instead, in a sentence.
        until: When the approval ends, 2026-11-29T14:00 (UTC).
        key: Private key of an authority.
        limits: JSON of the limits that hold meanwhile, '{"point_speed_m_s": 0.1}'.
        deployment: Ids of the deployments it is for; all that are affected by default.
        place: Where the register lies.
    """
    try:
        held: dict[str, Any] = json.loads(limits)
    except ValueError as error:
        raise InvalidConfig(f"limits {limits!r} are no JSON: {error}") from error
    until_s = moment(until)
    with place.open() as register:
        order = order_named(register, directive)
        statement = alternative(
            register.id,
            order.digest,
            means=means,
            limits=held,
            until_s=until_s,
            deployments=deployment,
        )
        number = register.append(Signed.by(statement, SigningKey.read(key)))
    whom = ", ".join(deployment) or "all that are affected"
    print(
        f"entry {number}: until {written(until_s)}, instead of directive "
        f"{order.directive.number}, for {whom}: {means}"
    )
    return 0
