"""Episodes in the formats of others.

Every export is ``export_FORMAT(workspace, episodes, folder, ...) -> Exported``: it reads checked
episodes, writes into a new folder, and leaves nothing behind if it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What an export has written."""

    folder: Path
    episodes: int
    steps: int
    notes: tuple[str, ...] = ()
    """What the other format cannot say, one sentence each, for the person who exports."""
