"""Chains under the names of the frozen splits, whose torsions follow from a simple rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loopwright.scenarios.structures.chains import Chain
from loopwright.scenarios.structures.corpus import (
    NAME,
    VERSION,
    structures_folder,
    structures_table,
)
from loopwright.scenarios.structures.splits import PARTS, load_splits
from loopwright.store.corpus import CorpusFacts, write_corpus

HELICAL_DEG, EXTENDED_DEG = (-63.0, -42.0, 180.0), (-120.0, 130.0, 180.0)


def made_up_chains(*, residues: int) -> dict[str, Chain]:
    """Every chain of the splits: alanine is helical, valine extended, and each likes its kind."""
    random = np.random.default_rng(0)
    return {
        name: _chain(name, residues, random)
        for part in PARTS
        for name in load_splits().cluster_of(part)
    }


def write_structures(cache: Path, chains: dict[str, Chain]) -> None:
    """Write the corpus that would have been made of the package, had it held these chains."""
    facts = CorpusFacts(name=NAME, version=VERSION, sources=(), settings={})
    path = structures_folder(cache) / f"{NAME}-v{VERSION}.parquet"
    write_corpus(path, structures_table([chains[name] for name in sorted(chains)]), facts=facts)


def _chain(name: str, residues: int, random: np.random.Generator) -> Chain:
    stays = random.random(residues) < 0.8
    helical = np.zeros(residues, dtype=bool)
    for place in range(1, residues):
        helical[place] = helical[place - 1] if stays[place] else not helical[place - 1]
    mean_deg = np.where(helical[:, None], HELICAL_DEG, EXTENDED_DEG)
    torsion_deg = mean_deg + random.normal(0, 4, (residues, 3))
    torsion_deg[0, 0] = torsion_deg[-1, 1] = torsion_deg[-1, 2] = np.nan
    return Chain(
        name=name,
        protein=name,
        sequence="".join(np.where(helical, "A", "V")),
        torsion_rad=np.radians(torsion_deg).astype(np.float32),
    )
