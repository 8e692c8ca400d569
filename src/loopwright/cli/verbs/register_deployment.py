"""``loopwright register deployment``: sign that a deployment runs, and register it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, moment, read_json
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.safety.directive.deployment import Deployment, deployed
from loopwright.safety.keys import SigningKey
from loopwright.safety.statement import Signed


def main(
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    /,
    *,
    key: Path,
    start: str | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Register what runs where; only then does a tower renew its lease.

    Args:
        file: JSON file with deployment (id), robot, scenario, identity (name to digest), ancestors
            (digests) and certificate (digest).
        key: Private key of an operator.
        start: From when it runs, 2026-11-22T14:00 (UTC); now by default.
        place: Where the register lies.
    """
    try:
        deployment = Deployment.from_json(read_json(file))
    except DamagedData as error:
        raise InvalidConfig(f"{file}: {error}") from error
    start_s = moment(start) if start else time.time()
    with place.open() as register:
        statement = deployed(register.id, deployment, start_s)
        number = register.append(Signed.by(statement, SigningKey.read(key)))
    print(f"entry {number}: {deployment.id} runs from {start or 'now'} on")
    return 0
