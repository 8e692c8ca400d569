"""Which of several processes this one is, as torchrun tells it; found out without torch."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """This process among those that were started together."""

    rank: int = 0
    processes: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes files and shows what comes of it."""
        return self.rank == 0


def this_launch() -> Launch:
    """Return what torchrun has put into the environment; one process if it did not start this."""
    return Launch(
        rank=int(os.environ.get("RANK", "0")), processes=int(os.environ.get("WORLD_SIZE", "1"))
    )
