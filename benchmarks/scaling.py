"""Does a scaling study find the law that is there, and foresee a larger run?

Rehearsals follow a law that was written down, so what is found can be held against it. Then the
study ``wudao.scale`` trains its grid; its larger run was kept from the fit. Last, a sparse model
with the family's tokenizers is held against the dense family: its density.

Runs lie under ``--work`` and are found again, so the benchmark can be stopped and started.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, Measurement, figure
from loopwright.core.learner import FitJob
from loopwright.core.stage import resolve_entry
from loopwright.loop.config import build_corpora
from loopwright.recipes.scaling import (
    POINTS,
    REHEARSED,
    SHARED,
    Findings,
    ScalingStudy,
    density_of,
    get_study,
    measure,
    rehearsal,
    run_study,
)
from loopwright.recipes.training import CANDIDATE, SCRATCH

REHEARSALS = 20
SPARSE: dict[str, Any] = {
    "width": 64,
    "layers": 4,
    "heads": 4,
    "hidden": 168,
    "mixture": {"experts": 8, "chosen": 2, "hidden": 84, "bias_rate": 0.01},
    "tokens": 160_000,
}
"""As many active parameters as the dense 64x4, of 2.3 times as many."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/bench-scaling"))
    work: Path = parser.parse_args().work
    seeds = range(1, 1 + REHEARSALS)
    with Benchmark("scaling", "What small runs say of larger ones", seeds=tuple(seeds)) as bench:
        rehearse(bench, seeds)
        if not bench.quick:
            study = get_study("wudao.scale")
            found = run_study(study, work, lambda fraction, said: show(bench, fraction, said))
            add_study(bench, found)
            add_density(bench, study, work)


def show(bench: Benchmark, fraction: float, said: str) -> None:
    """Show what is being trained, without its every step."""
    if ": " not in said:
        bench.say(f"{fraction:4.0%} {said}")


def rehearse(bench: Benchmark, seeds: range) -> None:
    """Count how often the intervals hold what is known."""
    held, inside = [], []
    for seed in bench.track(list(seeds)[: 4 if bench.quick else None], "rehearsals"):
        with tempfile.TemporaryDirectory() as folder:
            study = replace(rehearsal(), seed=seed)
            found = run_study(study, Path(folder), lambda fraction, said: None)
        for name, estimate in found.fit.estimates().items():
            if (truth := getattr(REHEARSED, name, None)) is not None:
                held.append(estimate.low <= truth <= estimate.high)
        inside += [one.is_inside for one in found.held_back]
    bench.add(
        Measurement(
            metric="known law: 95 % intervals of E, A, B, alpha, beta that hold the truth",
            value=sum(held) / len(held),
            unit="share",
            n=len(held),
            target=">= 0.9",
        )
    )
    bench.add(
        Measurement(
            metric="known law: runs of 3.3 times the size inside their predicted 95 % interval",
            value=sum(inside) / len(inside),
            unit="share",
            n=len(inside),
            target=">= 0.9",
        )
    )


def add_study(bench: Benchmark, found: Findings) -> None:
    """Put down the law of the text-picture family, and its prediction beside the truth."""
    for name in ("E", "alpha", "beta", "size_exponent"):
        estimate = found.fit.estimates()[name]
        bench.add(
            Measurement(
                metric=f"wudao.scale: {name}",
                value=estimate.value,
                unit="nats a token" if name == "E" else "",
                interval=(estimate.low, estimate.high),
                n=len(found.fit.runs),
            )
        )
    (held,) = found.held_back
    predicted = held.prediction.one_run
    bench.add(
        Measurement(
            metric=f"wudao.scale: predicted loss of {held.run.label}, held back",
            value=predicted.value,
            unit="nats a token",
            interval=(predicted.low, predicted.high),
            n=len(found.fit.runs),
            compared_with=f"truth {held.run.loss:.4f} ({held.relative_error:+.1%})",
            target="truth inside",
            holds=held.is_inside,
        )
    )
    for run in found.fit.runs:
        bench.details.append(
            {"size": run.label, "params": run.params, "tokens": run.tokens, "loss": run.loss}
        )
    for note in found.report["notes"]:
        bench.note(note)


def add_density(bench: Benchmark, study: ScalingStudy, work: Path) -> None:
    """Train a sparse member from the family's tokenizers and hold it against the family."""
    folder = work / POINTS / "sparse"
    if not (folder / CANDIDATE / "candidate.json").exists():
        bench.say("     a sparse model of the same tokenizers")
        resolve_entry(study.learner.entry)(
            {**study.learner.config, **SPARSE},
            FitJob(
                episodes=(),
                seed=0,
                out=folder / CANDIDATE,
                scratch=folder / SCRATCH,
                corpora=build_corpora(study.learner, lambda fraction, said: None),
                start=work / SHARED / CANDIDATE,
            ),
        )
    member = measure(work, folder / CANDIDATE, lambda fraction, said: None)
    density = density_of(work, member).density
    # JSON has no infinity: some laws that fit the runs never reach the model's loss.
    ends = (density.low, density.high) if math.isfinite(density.high) else None
    bounds = "" if ends else f"; interval from {figure(density.low)} without an upper end"
    bench.add(
        Measurement(
            metric=f"density of a sparse model, {figure(member.params)} active parameters",
            value=density.value,
            unit="effective over active",
            interval=ends,
            compared_with=f"the dense family; its loss {member.loss:.4f}{bounds}",
        )
    )


if __name__ == "__main__":
    main()
