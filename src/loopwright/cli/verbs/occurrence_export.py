"""``loopwright occurrence export``: an occurrence in the fields of public incident databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.site import DEFAULT_PLACE, Place, read_json
from loopwright.safety.occurrence.export import export_occurrence
from loopwright.safety.occurrence.inquiry import inquiry_of
from loopwright.safety.occurrence.record import find_occurrence


def main(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NUMBER|DIGEST")],
    /,
    *,
    facts: Path | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Print an occurrence as JSON: fields of the AI Incident Database and of the OECD, and ours.

    Fields that are not known are null and listed as missing. Read it before you pass it on.

    Args:
        name: Number or digest of the occurrence.
        facts: JSON file of fields that only you know, such as the deployer and the country.
        place: Where the register lies.
    """
    said: dict[str, Any] = read_json(facts) if facts else {}
    with place.open() as register:
        inquiry = inquiry_of(register, find_occurrence(register, name))
        print(json.dumps(export_occurrence(inquiry, said), indent=1, ensure_ascii=False))
    return 0
