"""What forty CPU-minutes make of a text-picture model, on what it was and was not shown.

The recipe ``wudao.laptop`` is trained as ``loopwright train`` trains it. Sampling is chosen on the
``tune`` lists of the frozen splits, and the figures are those of the ``report`` lists: seen items,
unseen compositions, and two controls that nobody can know, which would show a leak. Beside it
stand dense models of equal active and of equal total size, trained for as many CPU-seconds.

Everything lies under ``--work`` and is found again, so the benchmark can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Benchmark, Measurement, figure
from loopwright.core.learner import FitJob
from loopwright.loop.config import build_corpora
from loopwright.models.wudao.sample import Painting, TextPictureModel
from loopwright.recipes.registry import get_training
from loopwright.recipes.training import CANDIDATE, Training, run_training
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.splits import Kind, load_splits
from loopwright.train.checkpoint import write_atomically
from loopwright.train.evaluate.bootstrap import Score
from loopwright.train.evaluate.pictures import (
    grounding,
    score_captions,
    score_paintings,
    score_pictures,
)
from loopwright.train.wudao import WudaoFit, learn

SPARSE = "sparse"
DENSE = {"dense, equal active size": 384, "dense, equal total size": 1536}
"""Hidden width of every layer: that of two, or of all eight experts."""
KINDS: tuple[Kind, ...] = ("seen", "tone", "gender", "colour", "concept", "flag")
CONTROLS = ("concept", "flag")
CHOICES = tuple(
    Painting(temperature=temperature, guidance=guidance)
    for temperature in (0.05, 0.15, 0.4)
    for guidance in (1.0, 1.5, 2.0)
)
TUNED_ON = 48
"""Items of the ``tune`` lists of seen and tone, each, that sampling is chosen by."""
CAPTION_TARGETS = {"seen": 0.60, "tone": 0.50}
PAINTING_TARGETS = {"seen": 0.45, "tone": 0.40}
TOKENIZER_DB, CPU_MINUTES = 24, 40


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model, and what it took."""

    folder: Path
    cpu_s: float
    parameters: int
    steps: int


def main() -> None:
    """Train what is not trained yet, ask every model, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/wudao"))
    parser.add_argument("--arms", nargs="*", default=[SPARSE, *DENSE], choices=[SPARSE, *DENSE])
    given = parser.parse_args()
    with Benchmark("wudao", "A text-picture model after 40 CPU-minutes", seeds=(0,)) as bench:
        recipe = get_training("wudao.tiny" if bench.quick else "wudao.laptop")
        fit = WudaoFit.from_json(recipe.learner.config)
        emoji = load_emoji(fit.pictures.px, ("twemoji",))
        plans = _plans(recipe, fit, given.work / recipe.name, given.arms)
        for arm, plan in plans.items():
            bench.say(f"{arm}: {WudaoFit.from_json(plan.learner.config).steps} steps")
            trained = _train(bench, plan, given.work / recipe.name / arm.replace(", ", "-"))
            _report(bench, arm, trained, emoji)


def _plans(recipe: Training, fit: WudaoFit, work: Path, arms: list[str]) -> dict[str, Training]:
    """Return what to train: the recipe, and dense models for as many CPU-seconds."""
    plans = {SPARSE: recipe} if SPARSE in arms else {}
    for arm in (a for a in arms if a in DENSE):
        hidden = round(DENSE[arm] * fit.width / 192)
        dense = replace(fit, mixture=None, hidden=hidden)
        steps = _equal_steps(recipe, fit, dense, work / f"{arm}.steps.json")
        config = {**recipe.learner.config, "mixture": None, "hidden": hidden, "steps": steps}
        plans[arm] = replace(recipe, name=arm, learner=replace(recipe.learner, config=config))
    return plans


def _equal_steps(recipe: Training, sparse: WudaoFit, dense: WudaoFit, path: Path) -> int:
    """Return how many steps of a dense model cost as much as all of the sparse one."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        corpora = build_corpora(recipe.learner, lambda *_: None)
        costs_s: dict[str, list[float]] = {"sparse": [], "dense": []}
        for _ in range(3):  # in turns, so that what else the machine does meets both
            costs_s["sparse"].append(_step_s(sparse, corpora))
            costs_s["dense"].append(_step_s(dense, corpora))
        ratio = float(np.median(costs_s["sparse"]) / np.median(costs_s["dense"]))
        steps = {"steps": round(sparse.steps * ratio), "step_s": costs_s}
        write_atomically(path, json.dumps(steps).encode())
    return int(json.loads(path.read_bytes())["steps"])


def _step_s(fit: WudaoFit, corpora: list[Path]) -> float:
    """Return the CPU-seconds of a step: what ten more of them add to a very short training."""

    def cost_s(steps: int) -> float:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            job = FitJob(episodes=(), seed=0, out=folder / "out", scratch=folder, corpora=corpora)
            began_s = time.process_time()
            learn({**fit.to_json(), "picture_steps": 1, "steps": steps}, job)
            return time.process_time() - began_s

    return (cost_s(12) - cost_s(2)) / 10


def _train(bench: Benchmark, plan: Training, folder: Path) -> Trained:
    """Train, or find trained; CPU-seconds of every try are added up."""
    folder.mkdir(parents=True, exist_ok=True)
    spent = folder / "cpu_s.json"
    before_s = float(json.loads(spent.read_bytes())) if spent.exists() else 0.0
    began_s, said_s = _own_cpu_s(), time.monotonic()

    def progress(fraction: float, message: str) -> None:
        nonlocal said_s
        if time.monotonic() - said_s > 30:
            said_s = time.monotonic()
            bench.say(f"{plan.name} {fraction:.0%} {message}")
            write_atomically(spent, json.dumps(before_s + _own_cpu_s() - began_s).encode())

    facts: Any = run_training(plan, folder, progress)
    cpu_s = before_s + _own_cpu_s() - began_s
    write_atomically(spent, json.dumps(cpu_s).encode())
    return Trained(
        folder=folder / CANDIDATE,
        cpu_s=cpu_s,
        parameters=facts["parameters"]["model"],
        steps=WudaoFit.from_json(plan.learner.config).steps,
    )


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _report(bench: Benchmark, arm: str, trained: Trained, emoji: Emoji) -> None:
    """Ask one model everything."""
    torch.set_num_threads(1)
    model = TextPictureModel.load(trained.folder)
    main_arm = arm == SPARSE
    how = _chosen(bench, model, emoji)
    bench.note(
        f"{arm}: {trained.parameters / 1e6:.2f} M parameters, {trained.steps:,} steps, "
        f"{trained.cpu_s / 60:.1f} CPU-min; painted at temperature {how.temperature}, guidance "
        f"{how.guidance}, one try"
    )
    bench.add(
        Measurement(
            metric=f"{arm}: training",
            value=round(trained.cpu_s / 60, 1),
            unit="CPU-min",
            target=f"<= {CPU_MINUTES}" if main_arm else "",
        )
    )
    splits = load_splits()
    for kind in KINDS:
        rows = splits.rows(emoji, kind, "report")
        targets = main_arm and not bench.quick
        found = {
            "pictures back from their codes": (
                score_pictures(model, emoji, rows).headline,
                f">= {TOKENIZER_DB}" if targets and kind == "seen" else "",
            ),
            "caption exact": (
                score_captions(model, emoji, rows).headline,
                _target(CAPTION_TARGETS, kind, targets),
            ),
            "painting retrieved first": (
                score_paintings(model, emoji, rows, how=how).headline,
                _target(PAINTING_TARGETS, kind, targets),
            ),
            "what the text is worth": (grounding(model, emoji, rows).headline, ""),
        }
        for name, (score, target) in found.items():
            bench.add(_measurement(f"{arm}, {kind}: {name}", score, target))
            bench.say(f"{arm}, {kind}: {name} {figure(score.value)} {score.unit}")
        bench.details.append(
            {"arm": arm, "kind": kind, "scores": {n: asdict(s) for n, (s, _) in found.items()}}
        )


def _target(targets: dict[str, float], kind: str, wanted: bool) -> str:
    """Return the target of a kind; a control that is often right would mean a leak."""
    if not wanted:
        return ""
    if kind in CONTROLS:
        return "<= 0.05"
    return f">= {targets[kind]}" if kind in targets else ""


def _measurement(metric: str, score: Score, target: str) -> Measurement:
    return Measurement(
        metric=metric,
        value=score.value,
        unit=score.unit,
        interval=(score.low, score.high),
        n=score.groups,
        target=target,
    )


def _chosen(bench: Benchmark, model: TextPictureModel, emoji: Emoji) -> Painting:
    """Return the sampling that paints best on the lists for choosing."""
    splits = load_splits()
    rows = np.concatenate([splits.rows(emoji, k, "tune")[:TUNED_ON] for k in ("seen", "tone")])
    choices = CHOICES[:2] if bench.quick else CHOICES
    found = [score_paintings(model, emoji, rows, how=how).headline.value for how in choices]
    for how, value in zip(choices, found, strict=True):
        bench.say(f"tune: T {how.temperature}, guidance {how.guidance}: {value:.3f}")
    return choices[int(np.argmax(found))]


if __name__ == "__main__":
    main()
