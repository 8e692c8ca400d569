"""Which published package the structures come from: a pinned version, pinned bytes, its terms."""

from __future__ import annotations

from typing import Final

from loopwright.scenarios.emoji.packages import Package

STRUCTURES: Final = Package(
    name="bioemu-benchmarks",
    version="0.0.2.post1",
    integrity=(
        "sha512-hIGXFMWB8bYtP+QYPRjFSeqZhIFpxZfuhYWu/aJKTc4onnlg4s7avndflO6wSTpRqQKAkYPEbwXgCJ+I"
        "SOYY2A=="
    ),
    licence="MIT AND CC0-1.0",
    attribution=(
        "Reference structures of BioEmu-Benchmarks, copyright Microsoft Corporation, MIT License, "
        "https://github.com/microsoft/bioemu-benchmarks; processed from the Protein Data Bank "
        "(https://www.wwpdb.org, CC0 1.0)"
    ),
    changes="backbone torsions computed from the coordinates, which are dropped",
)
"""A wheel. Only its structures from the Protein Data Bank are read: those of its folding free
energies are partly predictions, or of mutants, and come under another licence."""
WHEEL: Final = "bioemu_benchmarks-0.0.2.post1-py3-none-any.whl"
"""What the file is called in the registry and in the cache."""
FOLDER: Final = "bioemu_benchmarks/assets/multiconf_benchmark_0.1/"
"""Where in the wheel they lie: ``BENCHMARK/reference/PROTEIN/ENTRY_CHAIN.pdb`` below."""
