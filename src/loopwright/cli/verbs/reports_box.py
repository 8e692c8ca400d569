"""``loopwright reports box``: set up a box for voluntary reports, and the key that opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.safety.reports import InvestigatorKey, ReportBox


def main(
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")],
    /,
    *,
    key: Path,
) -> int:
    """Set up a box. Whoever holds the private key can read it, and nobody else.

    Args:
        folder: Where the box is to lie; whoever may report has to be able to write there.
        key: File that the investigator's new private key is written to. Keep it away from whoever
            approves, deploys or grounds.
    """
    private = InvestigatorKey.new()
    private.write(key)
    ReportBox.create(folder, private.public)
    print(f"{folder} takes reports; only {key} opens them")
    return 0
