"""``loopwright blackbox export``: a recording in the formats of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from loopwright.report.flight_mcap import export_flight
from loopwright.safety.blackbox import read_flight


def main(
    flight: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FLIGHT")],
    /,
    *,
    mcap: Path,
) -> int:
    """Write a recording as an MCAP file, for Foxglove and other viewers.

    An export carries no proof: keep the recording itself and its heads.

    Args:
        flight: The recording.
        mcap: Name of the new file.
    """
    recording = read_flight(flight)
    count = export_flight(recording, mcap)
    print(f"{mcap}: {count} messages of {len(recording.steps)} steps")
    return 0
