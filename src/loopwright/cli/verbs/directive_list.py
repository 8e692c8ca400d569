"""``loopwright directive list``: the directives in force."""

from __future__ import annotations

import json
import time
from typing import Annotated

import tyro
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.site import DEFAULT_PLACE, Place, written
from loopwright.safety.directive.standing import Order, orders_in_force


def main(
    *,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
    place: Place = DEFAULT_PLACE,
) -> int:
    """List the directives in force, with whom they match and what closes them.

    Args:
        json_output: Print JSON, one directive a line.
        place: Where the register lies.
    """
    with place.open() as register:
        orders = list(orders_in_force(register.urgent()).orders.values())
    if json_output:
        for order in orders:
            print(json.dumps(_plain(order)))
        return 0
    if not orders:
        print("no directive is in force")
        return 0
    table = Table("", "issued (UTC)", "action", "reason", "whom", "binds", "closed by", box=None)
    for order in orders:
        said = order.directive
        table.add_row(
            str(said.number),
            written(order.time_s),
            said.action,
            said.reason,
            json.dumps(said.match.to_json()["any_of"]),
            written(said.comply_by_s) if said.comply_by_s > time.time() else "now",
            said.closing_action,
        )
    stdout_console().print(table)
    return 0


def _plain(order: Order) -> dict[str, object]:
    said = order.directive
    return {
        "number": said.number,
        "digest": order.digest,
        "entry": order.entry,
        "time_s": order.time_s,
        "action": said.action,
        "reason": said.reason,
        "match": said.match.to_json(),
        "comply_by_s": said.comply_by_s,
        "closing_action": said.closing_action,
        "limits": dict(said.limits),
    }
