"""What a minute on one core teaches the text-picture model about backbones of proteins.

The recipe ``structure.tiny`` is trained as ``loopwright train`` trains it. The figures are those of
the ``report`` list of the frozen splits, whose chains have no near copy among those that are
learned from; how strongly the counted tables are pulled together is chosen on ``tune``. Intervals
are over clusters of near copies.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Benchmark, Measurement, cpu_seconds
from loopwright.models.wudao.config import StructureConfig
from loopwright.models.wudao.sample import Painting
from loopwright.models.wudao.structures import AS_BELIEVED, StructureModel, StructureTokenizer
from loopwright.recipes.registry import get_training
from loopwright.recipes.training import CANDIDATE, run_training
from loopwright.scenarios.structures.chains import Chain
from loopwright.scenarios.structures.corpus import load_chains
from loopwright.scenarios.structures.stretches import STYLE, Stretch, stretches
from loopwright.train.evaluate.bootstrap import score
from loopwright.train.evaluate.structures import (
    HELIX,
    STRAND,
    Believed,
    Tables,
    angular_error_deg,
    believed,
    drawn_torsions,
    residues_of,
    states,
)
from loopwright.train.evaluate.task import Metric

PULLS = (10.0, 30.0, 100.0, 300.0, 1000.0)
SHARP = Painting()
BINS = ((12, 12), (18, 18), (24, 24), (36, 36), (24, 24, 2))
NATS_CODE, NATS_RESIDUE, SHARE = "nats a code", "nats a residue", "share"


class Asked:
    """Stretches of a part of the frozen lists."""

    def __init__(self, chains: dict[str, Chain], part: str, model: StructureModel) -> None:
        """Cut, and turn into codes."""
        residues = model.pictures.config.residues
        every = 4 if part == "train" else residues
        self.found: list[Stretch] = stretches(chains, part, residues=residues, every=every)  # type: ignore[arg-type]
        self.sequences = [stretch.sequence for stretch in self.found]
        self.clusters = np.array([stretch.cluster for stretch in self.found])
        self.torsions = np.stack([stretch.torsion_rad for stretch in self.found])
        self.codes = model.encode(self.torsions)
        self.residues = residues_of(self.sequences)


def main() -> None:
    """Train, ask, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--recipe", default="structure.tiny")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as temporary,
        Benchmark("structure", "Torsions of proteins as tokens", seeds=given.seeds) as bench,
    ):
        chains = load_chains()
        _tokenizer(bench, chains)
        seeds = given.seeds[:1] if bench.quick else given.seeds
        asked: Asked | None = None
        models = []
        for seed in bench.track(seeds, "training"):
            folder = (given.work or Path(temporary)) / f"{given.recipe}-{seed}"
            training = replace(get_training(given.recipe), seed=seed)
            began = cpu_seconds()
            run_training(training, folder, lambda fraction, message: None)
            bench.say(f"seed {seed}: {cpu_seconds() - began:.0f} CPU-s")
            models.append(StructureModel.load(folder / CANDIDATE))
        asked = Asked(chains, "report", models[0])
        tables = _tables(chains, models[0])
        beliefs = [believed(m, asked.sequences, asked.codes, style=STYLE) for m in models]
        _add_beliefs(bench, asked, tables, beliefs)
        _add_states(bench, asked, tables, models[0])
        _add_reading(bench, asked, tables, models[0])


def _tokenizer(bench: Benchmark, chains: dict[str, Chain]) -> None:
    torsions = np.concatenate([chain.torsion_rad for chain in chains.values()])
    seen = torch.from_numpy(torsions)[None]
    for bins in BINS:
        tokenizer = StructureTokenizer(StructureConfig(residues=len(torsions), bins=bins))
        code = tokenizer.encode(seen)
        back = tokenizer.decode(code)[0].numpy()
        error = angular_error_deg(back[:, :2], torsions[:, :2])
        used = len(np.unique(code.numpy()))
        name = " x ".join(map(str, bins))
        bench.add(
            Measurement(
                metric=f"phi and psi back from {name} directions, mean error",
                value=float(np.nanmean(error)),
                unit="deg",
                n=len(torsions),
                compared_with=f"largest {np.nanmax(error):.2f}; {used} codes in use",
            )
        )


def _tables(chains: dict[str, Chain], model: StructureModel) -> Tables:
    train, tune = Asked(chains, "train", model), Asked(chains, "tune", model)
    codes = model.pictures.config.codes
    made = [Tables.count(train.residues, train.codes, codes, pull=pull) for pull in PULLS]
    return min(made, key=lambda table: table.nats(tune.residues, tune.codes)[1].mean())


def _add_beliefs(
    bench: Benchmark, asked: Asked, tables: Tables, beliefs: Sequence[Believed]
) -> None:
    marginal, by_residue = tables.nats(asked.residues, asked.codes)
    frequent, by_code = tables.residue_nats(asked.residues, asked.codes)
    seeing = np.mean([b.seeing_S for b in beliefs], axis=0)
    alone = np.mean([b.alone_S for b in beliefs], axis=0)
    read = np.mean([b.residue_S for b in beliefs], axis=0)
    spread = ", ".join(f"{b.seeing_S.mean():.3f}" for b in beliefs)
    rows = (
        ("torsion codes: chance of each", NATS_CODE, marginal, ""),
        ("torsion codes: table by residue", NATS_CODE, by_residue, ""),
        ("torsion codes: model without the sequence", NATS_CODE, alone, ""),
        ("torsion codes: model with the sequence", NATS_CODE, seeing, f"seeds {spread}"),
        ("grounding gap: what the sequence is worth", NATS_CODE, alone - seeing, ""),
        ("what the sequence is worth to the table", NATS_CODE, marginal - by_residue, ""),
        ("model with the sequence ahead of the table", NATS_CODE, by_residue - seeing, ""),
        ("residues: chance of each", NATS_RESIDUE, frequent, ""),
        ("residues: table by code", NATS_RESIDUE, by_code, ""),
        ("residues: model with the torsions", NATS_RESIDUE, read, ""),
        ("model with the torsions ahead of the table", NATS_RESIDUE, by_code - read, ""),
    )
    for name, unit, values, compared in rows:
        _add(bench, name, unit, values, asked.clusters, compared)


def _add_states(bench: Benchmark, asked: Asked, tables: Tables, model: StructureModel) -> None:
    truth = states(asked.torsions)
    always = (truth == HELIX).mean(axis=1)
    drawn = {
        f"model, as it believes ({AS_BELIEVED.temperature:g})": drawn_torsions(
            model, asked.sequences, style=STYLE, seed=0
        ),
        f"model, sharper ({SHARP.temperature:g}, guidance {SHARP.guidance:g})": drawn_torsions(
            model, asked.sequences, style=STYLE, seed=0, how=SHARP
        ),
        "table by residue": model.decode(tables.draw(asked.residues, seed=0)),
    }
    for name, torsions in drawn.items():
        found = states(torsions)
        other = found[np.random.default_rng(0).permutation(len(found))]
        agreement = (found == truth).mean(axis=1)
        _add(
            bench, f"same state (helix, strand, other): {name}", SHARE, agreement, asked.clusters,
            f"another stretch's: {(other == truth).mean():.3f}; helix {(found == HELIX).mean():.2f}"
            f", strand {(found == STRAND).mean():.2f}",
        )  # fmt: skip
        lift = agreement - (other == truth).mean(axis=1)
        _add(bench, f"ahead of the states of another stretch: {name}", SHARE, lift, asked.clusters)
        ahead = agreement - always
        _add(bench, f"ahead of helix everywhere: {name}", SHARE, ahead, asked.clusters)
    helix, strand = (truth == HELIX).mean(), (truth == STRAND).mean()
    bench.note(
        f"True states: helix {helix:.2f}, strand {strand:.2f}, other {1 - helix - strand:.2f}."
    )
    _add(bench, "same state: helix everywhere", SHARE, always, asked.clusters)


def _add_reading(bench: Benchmark, asked: Asked, tables: Tables, model: StructureModel) -> None:
    written = [text[: len(true)].ljust(len(true), "-") for text, true in zip(
        model.read(asked.torsions), asked.sequences, strict=True
    )]  # fmt: skip
    right = [
        np.mean([a == b for a, b in zip(text, true, strict=True)])
        for text, true in zip(written, asked.sequences, strict=True)
    ]
    _add(bench, "residues read from torsions, right", SHARE, np.array(right), asked.clusters)
    table = (tables.likeliest_residues(asked.codes) == asked.residues).mean(axis=1)
    _add(bench, "residues by table of codes, right", SHARE, table, asked.clusters)


def _add(
    bench: Benchmark,
    name: str,
    unit: str,
    values: np.ndarray,
    clusters: np.ndarray,
    compared: str = "",
) -> None:
    found = score(Metric(name=name, unit=unit), values, clusters)
    bench.add(
        Measurement(
            metric=name,
            value=found.value,
            unit=unit,
            interval=(found.low, found.high),
            n=found.groups,
            compared_with=compared,
        )
    )


if __name__ == "__main__":
    main()
