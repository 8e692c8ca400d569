"""Which chains a model may learn from, and which it is asked about: lists frozen before training.

Whole clusters of near copies (:mod:`~loopwright.scenarios.structures.identity`) are on one side, so
no chain that is asked about has a near copy among those that are learned from. ``tune`` is to
choose settings by, ``report`` is for the figures alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, UnknownName

Part = Literal["train", "tune", "report"]

PARTS: tuple[Part, ...] = get_args(Part)
DIGEST = "8e746ebb1f99be9ad88d825470d73f8f79d5f2290a6467b5b0693289b63da9ad"
"""SHA-256 of ``splits.json``. Figures on other lists are other figures, so a change of the lists is
a change of this line too."""

_FILE = "splits.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Splits:
    """The frozen lists."""

    clusters: Mapping[Part, Mapping[str, tuple[str, ...]]]
    """Name of a cluster, which is that of its first chain, to the names of its chains."""

    def cluster_of(self, part: Part) -> dict[str, str]:
        """Return the cluster of every chain of a part.

        Raises:
            UnknownName: There is no such part.
        """
        if part not in PARTS:
            raise UnknownName("part", part, PARTS)
        return {chain: name for name, chains in self.clusters[part].items() for chain in chains}


@cache
def load_splits() -> Splits:
    """Return the frozen lists.

    Raises:
        DamagedData: They are not those that were frozen.
    """
    data = resources.files(__name__.rpartition(".")[0]).joinpath(_FILE).read_bytes()
    if (found := digest_bytes(data)) != DIGEST:
        raise DamagedData(
            f"{_FILE} has the digest {found[:12]}, expected {DIGEST[:12]}; figures on other lists "
            "cannot be compared: restore the file, or freeze the lists anew and say so"
        )
    parts = json.loads(data)
    return Splits(
        clusters={
            part: {name: tuple(chains) for name, chains in parts[part].items()} for part in PARTS
        }
    )
