"""``loopwright deploy``: hand the champion of a run out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.cli.runs import find_run
from loopwright.loop.deployment import hand_out, register_deployment
from loopwright.safety.keys import SigningKey
from loopwright.store.workspace import Workspace


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")],
    /,
    *,
    key: Path,
    run: str | None = None,
    workspace: Path = Path("runs"),
) -> int:
    """Lay the champion out under deployments/NAME, if its certificate is in force, and register it.

    Every file is digested and held against the certificate before the folder appears. Nothing moves
    by this alone: a tower renews the lease of what is registered, and the robot checks again.

    Args:
        name: Of the deployment, "cell-3".
        key: Private key of an operator, who answers for what runs where.
        run: Run id (or its beginning) or recipe name; the newest run by default.
        workspace: Folder of the workspace.
    """
    signer = SigningKey.read(key)
    with Workspace.open(workspace, exclusive=True) as place:
        folder = hand_out(place, find_run(place.ledger, run).id, name)
        number = register_deployment(place, folder, signer)
    print(f"{folder}: entry {number} of the register")
    return 0
