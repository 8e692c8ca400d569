"""What a model of torsions learns from and is asked about: stretches of chains, all of one length.

One row of the training corpus for each stretch: its torsions, its sequence as a text of one word
for each residue, and how often it is to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.digest import digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.core.stage import ProgressSink
from loopwright.scenarios.structures.chains import Chain
from loopwright.scenarios.structures.corpus import (
    build_structures,
    read_chains,
    structures_folder,
)
from loopwright.scenarios.structures.splits import DIGEST, Part, load_splits
from loopwright.store.corpus import (
    CorpusFacts,
    CorpusMissing,
    array_column,
    open_corpus,
    write_corpus,
)

NAME = "structure-stretches"
VERSION = 1
STYLE = "pdb"
"""How all of them are known: deposited in the Protein Data Bank."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stretch:
    """Some residues of a chain in a row."""

    chain: str
    cluster: str
    """Stretches of one are not independent: make intervals over clusters."""
    sequence: str
    torsion_rad: np.ndarray
    """float32 ``(N, 3)``: phi, psi, omega; NaN where there is none."""


def stretches(
    chains: Mapping[str, Chain], part: Part, *, residues: int, every: int
) -> list[Stretch]:
    """Cut the chains of a part into stretches.

    What is left at the end of a chain is not used, nor are chains that are shorter than a stretch.

    Args:
        chains: By name; those of the part among them.
        part: Which of the frozen lists.
        residues: Length of a stretch.
        every: Residues from the beginning of one to that of the next.
    """
    if residues < 1 or every < 1:
        raise InvalidConfig(f"residues {residues} and every {every}; expected at least 1 of each")
    return [
        Stretch(
            chain=name,
            cluster=cluster,
            sequence=chains[name].sequence[begin : begin + residues],
            torsion_rad=chains[name].torsion_rad[begin : begin + residues],
        )
        for name, cluster in load_splits().cluster_of(part).items()
        for begin in range(0, len(chains[name].sequence) - residues + 1, every)
    ]


def build_stretches(
    residues: int = 32,
    every: int = 4,
    cache: Path | None = None,
    *,
    part: Part = "train",
    progress: ProgressSink | None = None,
) -> Path:
    """Return the corpus that a model is trained on, which is built the first time.

    Args:
        residues: Length of a stretch.
        every: Residues from the beginning of one to that of the next.
        cache: Folder for packages and corpora; the user's by default.
        part: Of the frozen lists.
        progress: Told how far building is.

    Raises:
        FetchFailed: There is no network, or the index refused.
        InvalidConfig: Impossible lengths.
    """
    source = build_structures(cache, progress=progress)
    settings = {
        "structures": source.digest,
        "splits": DIGEST,
        "part": part,
        "residues": residues,
        "every": every,
    }
    path = structures_folder(cache) / f"{NAME}-{digest_json(settings)[:16]}.parquet"
    try:
        return open_corpus(path, name=NAME, version=VERSION).path
    except CorpusMissing:
        found = stretches(read_chains(source), part, residues=residues, every=every)
        facts = CorpusFacts(
            name=NAME, version=VERSION, sources=source.facts.sources, settings=settings
        )
        return write_corpus(path, _table(found), facts=facts).path


def _table(found: list[Stretch]) -> pa.Table:
    torsion_field, torsions = array_column("torsions", np.stack([s.torsion_rad for s in found]))
    chains_of: dict[str, set[str]] = {}
    for stretch in found:
        chains_of.setdefault(stretch.cluster, set()).add(stretch.chain)
    # A protein that is known in many conformations counts as much as one that is known in one.
    weight = [1 / len(chains_of[stretch.cluster]) for stretch in found]
    fields = [
        torsion_field,
        pa.field("style", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("text.protein", pa.string()),
    ]
    columns = [
        torsions,
        pa.array([STYLE] * len(found)),
        pa.array(weight),
        pa.array([" ".join(stretch.sequence) for stretch in found]),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))
