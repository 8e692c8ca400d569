"""What a teacher is worth to a small student that has few data.

The teacher is ``structure.tiny``, trained on all chains of the ``train`` list. The students are
smaller and learn from the sixteen chains of the ``tune`` list: alone, or from the teacher's beliefs
too, for equally many steps. All are judged on the ``report`` list, which none of them has seen and
which has no near copy in what anyone learned from. Differences are within a seed, over clusters.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Benchmark, Measurement
from loopwright.loop.config import CorpusPlan, Learner
from loopwright.models.wudao.structures import StructureModel
from loopwright.recipes.registry import get_training
from loopwright.recipes.training import CANDIDATE, Training, run_training
from loopwright.scenarios.structures.corpus import load_chains
from loopwright.scenarios.structures.stretches import STYLE, stretches
from loopwright.train.evaluate.bootstrap import score
from loopwright.train.evaluate.structures import Believed, believed
from loopwright.train.evaluate.task import Metric

TEACHER = "structure.tiny"
SHARES = (0.5,)
"""Parts of the loss that are the teacher's; 0.5 is the default."""
STUDENT: dict[str, Any] = {
    "width": 48,
    "heads": 2,
    "layers": 2,
    "hidden": 128,
    "mixture": None,
    "steps": 240,
}
KINDS = {"a torsion code": "seeing_S", "a residue": "residue_S"}


def main() -> None:
    """Train the teacher, then every student; compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    with (
        tempfile.TemporaryDirectory() as temporary,
        Benchmark(
            "distil", "A small student with few data and a teacher", seeds=given.seeds
        ) as bench,
    ):
        work = given.work or Path(temporary)
        seeds = given.seeds[:1] if bench.quick else given.seeds
        teacher = work / f"{TEACHER}-0"
        run_training(get_training(TEACHER), teacher, _silent)
        jury = _Jury()
        _report(bench, "teacher", [jury.ask(teacher)], jury)
        found: defaultdict[str, list[Believed]] = defaultdict(list)
        for seed in bench.track(seeds, "training students"):
            for name, plan in _students(teacher / CANDIDATE).items():
                folder = work / f"{plan.name}-{seed}"
                run_training(replace(plan, seed=seed), folder, _silent)
                found[name].append(jury.ask(folder))
        for name, beliefs in found.items():
            _report(bench, name, beliefs, jury)
        alone = found.pop("student alone")
        for name, beliefs in found.items():
            _compare(bench, name, alone, beliefs, jury)


def _students(teacher: Path) -> dict[str, Training]:
    recipe = get_training(TEACHER)
    few = CorpusPlan(
        entry=recipe.learner.corpora[0].entry,
        config={**recipe.learner.corpora[0].config, "part": "tune"},
    )
    own = {**recipe.learner.config, **STUDENT}

    def student(name: str, config: dict[str, Any]) -> Training:
        learner = Learner(entry=recipe.learner.entry, corpora=(few,), config=config)
        return Training(name=name, learner=learner)

    taught = {
        f"student taught, share {share}": student(
            f"taught-{share}", {**own, "teacher": {"path": str(teacher), "share": share}}
        )
        for share in SHARES
    }
    return {"student alone": student("alone", own), **taught}


class _Jury:
    """The stretches that nobody has learned from."""

    def __init__(self) -> None:
        found = stretches(load_chains(), "report", residues=32, every=32)
        self.sequences = [stretch.sequence for stretch in found]
        self.clusters = np.array([stretch.cluster for stretch in found])
        self.torsions = np.stack([stretch.torsion_rad for stretch in found])

    def ask(self, folder: Path) -> Believed:
        model = StructureModel.load(folder / CANDIDATE)
        return believed(model, self.sequences, model.encode(self.torsions), style=STYLE)


def _report(bench: Benchmark, name: str, beliefs: list[Believed], jury: _Jury) -> None:
    for kind, attribute in KINDS.items():
        each = [getattr(belief, attribute) for belief in beliefs]
        means = ", ".join(f"{values.mean():.3f}" for values in each)
        _add(bench, f"{name}: nats {kind}", np.mean(each, axis=0), jury, f"seeds {means}")


def _compare(
    bench: Benchmark, name: str, alone: list[Believed], taught: list[Believed], jury: _Jury
) -> None:
    for kind, attribute in KINDS.items():
        gains = [
            getattr(a, attribute) - getattr(t, attribute)
            for a, t in zip(alone, taught, strict=True)
        ]
        means = ", ".join(f"{gain.mean():.3f}" for gain in gains)
        _add(
            bench, f"{name}: ahead of alone, nats {kind}", np.mean(gains, axis=0), jury,
            f"seeds {means}", target="> 0",
        )  # fmt: skip


def _add(
    bench: Benchmark, name: str, values: np.ndarray, jury: _Jury, compared: str, target: str = ""
) -> None:
    found = score(Metric(name=name, unit="nats"), values, jury.clusters)
    bench.add(
        Measurement(
            metric=name,
            value=found.value,
            unit="nats",
            interval=(found.low, found.high),
            n=found.groups,
            compared_with=compared,
            target=target,
        )
    )


def _silent(fraction: float, message: str) -> None:
    """Show no progress; the benchmark counts trainings."""


if __name__ == "__main__":
    main()
