"""What action-free video adds to a few demonstrations, arm by arm.

Every *cell* is one training run and its trials: (task, draw of the demonstrations, arm, coverage).
A finished cell lies as JSON under ``--work``, so the benchmark can be stopped and started, and
several processes may share the folder: each takes the cells that no other holds.

Under *partial* coverage the demonstrations start in the lowest 40 % of the object's range along x
and the trials in the other 60 %; under *full* coverage both use the whole range. Videos and play
always cover the whole range.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from scipy import stats

from benchmarks.harness import Benchmark, Measurement, cpu_seconds
from loopwright.core.episode import Episode, SourceKind
from loopwright.core.learner import FitJob
from loopwright.core.scenario import Box, Request, Scenario, seeds_in
from loopwright.core.stage import code_digest
from loopwright.core.statistics import clopper_pearson
from loopwright.models.registry import load_policy
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt, record_sources
from loopwright.train.checkpoint import write_atomically
from loopwright.train.wam import WamFit, fit

TASKS = (
    "button-press",
    "button-press-topdown",
    "coffee-button",
    "handle-press",
    "plate-slide",
    "door-open",
)
GUARDS = ("window-open", "drawer-open", "faucet-open")
DEMOS, PLAYS, VIDEOS = 5, 40, 80
COVERED = 0.4
DRAW_STRIDE, FIRST_PLAY, FIRST_VIDEO = 1_000, 500_000, 600_000
"""Where in the train split demonstrations, play and videos begin; they never share a start."""
Coverage = Literal["partial", "full"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to train, and what it is given."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`WamFit` that differ from the full recipe."""
    body: str | None = None
    """Whose videos; None for none."""
    true_actions: bool = False

    @property
    def reads_motion(self) -> bool:
        """Whether motion models are trained."""
        return bool(self.changes.get("use_idm", True))


FULL = WamFit()
_DEMOS_ONLY = {
    "use_video": False,
    "use_idm": False,
    "batch_demos": FULL.batch_demos + FULL.batch_video,
}
# Arms that leave parts out take more steps instead, so that all train for about as long.
ARMS: Mapping[str, Arm] = {
    "cloning": Arm(changes={**_DEMOS_ONLY, "use_forward": False, "policy_steps": 2000}),
    "without video": Arm(changes={**_DEMOS_ONLY, "policy_steps": 1300}),
    "without future loss": Arm(
        changes={"use_forward": False, "policy_steps": 1300}, body="recoloured"
    ),
    "recoloured video": Arm(body="recoloured"),
    "bare-hand video": Arm(body="hand"),
    "true actions": Arm(
        changes={"use_idm": False, "policy_steps": 1300}, body="recoloured", true_actions=True
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training run and its trials."""

    task: str
    draw: int
    arm: str
    coverage: Coverage
    trials: int
    steps: int | None
    """Steps of each stage, for a quick look; None for the recipe's own."""

    @property
    def name(self) -> str:
        words = (self.task, str(self.draw), self.arm, self.coverage, f"n{self.trials}")
        return "_".join(words).replace(" ", "-") + (f"_s{self.steps}" if self.steps else "")

    @property
    def config(self) -> WamFit:
        config = replace(FULL, **ARMS[self.arm].changes)
        if self.steps is None:
            return config
        return replace(config, policy_steps=self.steps, motion_steps=self.steps)


def range_of_x(scenario: Scenario) -> str:
    """Return the parameter along x that varies most."""
    low, high = scenario.domain.low, scenario.domain.high
    along = [name for name in low if name.endswith("_x_m")]
    return max(along, key=lambda name: high[name] - low[name])


def boxes(scenario: Scenario, coverage: Coverage) -> tuple[Box, Box]:
    """Return where demonstrations start and where trials do."""
    if coverage == "full":
        return scenario.domain, scenario.domain
    x = range_of_x(scenario)
    return scenario.domain.portion(x, 0.0, COVERED), scenario.domain.portion(x, COVERED, 1.0)


@lru_cache(maxsize=4)
def shared_sources(task: str, kind: SourceKind, body: str) -> tuple[Episode, ...]:
    """Record play or videos, which every draw of the demonstrations shares."""
    scenario = get_scenario(f"{task}-v1")
    count, first = (PLAYS, FIRST_PLAY) if kind == "play" else (VIDEOS, FIRST_VIDEO)
    request = Request(kind=kind, count=count, body=body, first=first)
    return tuple(episode for episode, _ in record_sources(scenario, request))


def demonstrations(scenario: Scenario, cell: Cell) -> list[Episode]:
    """Record one draw of the demonstrations."""
    box, _ = boxes(scenario, cell.coverage)
    request = Request(kind="demo", count=DEMOS, box=box, first=DRAW_STRIDE * cell.draw)
    return [episode for episode, _ in record_sources(scenario, request)]


def training_set(scenario: Scenario, cell: Cell) -> list[Episode]:
    """Return what the cell's arm may learn from."""
    arm, episodes = ARMS[cell.arm], demonstrations(scenario, cell)
    if cell.config.use_idm:
        episodes += shared_sources(cell.task, "play", "robot")
    if arm.body is not None:
        kind: SourceKind = "demo" if arm.true_actions else "video"
        episodes += shared_sources(cell.task, kind, arm.body)
    return episodes


def run_cell(cell: Cell, work: Path) -> dict[str, Any]:
    """Train, try, and return plain facts."""
    scenario = get_scenario(f"{cell.task}-v1")
    episodes = training_set(scenario, cell)
    scratch = work / "scratch" / cell.name
    with shared_motion(cell, work, scratch / "state") as shared:
        began_s = cpu_seconds()
        job = FitJob(
            episodes=episodes,
            seed=cell.draw,
            out=scratch / "candidate",
            scratch=scratch / "state",
        )
        report = fit(cell.config, job)
        fit_cpu_s = cpu_seconds() - began_s
    successes = try_gate_seeds(scenario, cell, scratch / "candidate")
    shutil.rmtree(scratch)
    return {
        "task": cell.task,
        "draw": cell.draw,
        "arm": cell.arm,
        "coverage": cell.coverage,
        "trials": cell.trials,
        "successes": successes,
        "fit_cpu_s": round(fit_cpu_s, 1),
        "motion_was_shared": shared,
        "agreement": float(np.mean(list(report.agreement.values()) or [0.0])),
        "validation": dict(report.validation),
        "code": code_digest(),
    }


@contextmanager
def shared_motion(cell: Cell, work: Path, state: Path) -> Iterator[bool]:
    """Let the arms of one draw share the trained motion models: they learn from the same data.

    Yields whether there were any to take, so that the fit did not pay for them.
    What lies there is used only if its fingerprint says that it is the same training.
    """
    shared = (
        work / "motion" / f"{cell.task}_{cell.draw}_{cell.coverage}_s{cell.config.motion_steps}"
    )
    state.mkdir(parents=True, exist_ok=True)
    files = ("motion.jsonl", "motion.safetensors")
    if found := shared.exists():
        for name in files:
            shutil.copyfile(shared / name, state / name)
    yield found
    if (state / files[-1]).exists() and not shared.exists():
        staged = work / "motion" / f"staged-{os.getpid()}"
        staged.mkdir(parents=True)
        for name in files:
            shutil.copyfile(state / name, staged / name)
        with suppress(OSError):  # another process was faster
            staged.rename(shared)


def try_gate_seeds(scenario: Scenario, cell: Cell, folder: Path) -> int:
    """Return how many of the first gate seeds in the box succeed."""
    _, box = boxes(scenario, cell.coverage)
    policy, world = load_policy(folder), scenario.make_world()
    try:
        seeds = seeds_in(scenario, "gate", box)
        verdicts = [
            attempt(scenario, world, policy, next(seeds), None)[1] for _ in range(cell.trials)
        ]
    finally:
        world.close()
    return sum(v.outcome == "success" for v in verdicts)


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold a lock for the block, if nobody else does; a process that dies lets go of it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def finish(cell: Cell, work: Path, *, only_finished: bool = False) -> dict[str, Any] | None:
    """Return the facts of a cell, working them out if need be.

    None if another process does so at the moment, or if only finished cells are wanted.
    """
    result = work / f"{cell.name}.json"
    with held(work / f"{cell.name}.lock") as mine:
        if result.exists():
            return json.loads(result.read_bytes())
        if not mine or only_finished:
            return None
        facts = run_cell(cell, work)
        write_atomically(result, json.dumps(facts, indent=1).encode())
        return facts


def report(bench: Benchmark, facts: list[dict[str, Any]], coverage: Coverage) -> None:
    """Add one row per task and arm, then what the arms gain over cloning."""
    cells = {
        (f["task"], f["draw"], f["arm"]): f["successes"] / f["trials"]
        for f in facts
        if f["coverage"] == coverage
    }
    for task in (*TASKS, *GUARDS):
        for arm in ARMS:
            mine = [
                f for f in facts if (f["task"], f["arm"], f["coverage"]) == (task, arm, coverage)
            ]
            if not mine:
                continue
            good, n = sum(f["successes"] for f in mine), sum(f["trials"] for f in mine)
            draws = ", ".join(f"{f['successes'] / f['trials']:.2f}" for f in mine)
            bench.add(
                Measurement(
                    metric=f"{coverage}: {task}, {arm} ({draws})",
                    value=good / n,
                    unit="success",
                    interval=clopper_pearson(good, n),
                    n=n,
                )
            )
    add_gains(bench, cells, coverage)


def add_gains(
    bench: Benchmark, cells: Mapping[tuple[str, int, str], float], coverage: Coverage
) -> None:
    """Compare arms on the same tasks and draws only: a draw moves cloning by more than an arm.

    Every task counts once, however many of its draws are measured.
    """
    six = {key: rate for key, rate in cells.items() if key[0] in TASKS}
    for arm in ARMS:
        both = [(t, d) for t, d, a in six if a == arm and (t, d, "cloning") in six]
        if arm == "cloning" or not both:
            continue
        mine = by_task({(t, d): six[t, d, arm] for t, d in both})
        clone = by_task({(t, d): six[t, d, "cloning"] for t, d in both})
        claimed = (arm, coverage) == ("recoloured video", "partial")
        gain = np.array([mine[task] - clone[task] for task in mine])
        worst = list(mine)[int(gain.argmin())]
        rows = (
            ("mean success", mean(mine), None, ">= 0.8"),
            ("mean gain over cloning", gain.mean(), student(gain), ">= 0.15"),
            (f"worst task against cloning, {worst}", gain.min(), None, ">= -0.1"),
        )
        for metric, value, interval, target in rows:
            bench.add(
                Measurement(
                    metric=f"{coverage}: {arm}: {metric}",
                    value=float(value),
                    unit="success",
                    interval=interval,
                    n=len(both),
                    compared_with=f"cloning {mean(clone):.2f} on the same cells",
                    target=target if claimed else "",
                )
            )
    arms = ("cloning", "recoloured video", "true actions")
    whole = sorted({(t, d) for t, d, _ in six if all((t, d, a) in six for a in arms)})
    if whole:
        clone, video, true = (mean(by_task({c: six[*c, a] for c in whole})) for a in arms)
        if true > clone:
            bench.add(
                Measurement(
                    metric=f"{coverage}: recoloured video: share of the distance to true actions",
                    value=float((video - clone) / (true - clone)),
                    unit="share",
                    n=len(whole),
                    compared_with=f"cloning {clone:.2f}, true actions {true:.2f}",
                    target=">= 0.5" if coverage == "partial" else "",
                )
            )


def by_task(cells: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """Return the mean of each task over its draws."""
    found: dict[str, list[float]] = {}
    for (task, _), rate in cells.items():
        found.setdefault(task, []).append(rate)
    return {task: float(np.mean(rates)) for task, rates in found.items()}


def mean(tasks: Mapping[str, float]) -> float:
    """Return the mean of all tasks."""
    return float(np.mean(list(tasks.values())))


def student(values: np.ndarray) -> tuple[float, float] | None:
    """Return Student's 95 % interval of a mean; None of a single value."""
    if len(values) < 2:
        return None
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, default=Path("runs/video_gain"))
    parser.add_argument("--tasks", nargs="*", default=[*TASKS, *GUARDS])
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument(
        "--coverage", nargs="*", default=["partial", "full"], choices=["partial", "full"]
    )
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--only-finished", action="store_true", help="report what there is")
    return parser.parse_args()


def cells_of(options: argparse.Namespace, quick: bool) -> list[Cell]:
    """Return the cells to work on: one draw of every task before the next draw."""
    if quick:
        options.tasks, options.arms = ["button-press"], ["cloning", "recoloured video"]
        options.coverage, options.draws, options.trials = ["partial"], 1, 10
    return [
        Cell(
            task=task,
            draw=draw,
            arm=arm,
            coverage=cast(Coverage, coverage),
            trials=options.trials,
            steps=200 if quick else None,
        )
        for coverage in options.coverage
        for draw in range(options.draws)
        for task in options.tasks
        for arm in options.arms
    ]


def main() -> None:
    torch.set_num_threads(1)
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    with Benchmark("video_gain", "What action-free video adds", seeds=(0, 1, 2)) as bench:
        facts, elsewhere = [], 0
        for cell in bench.track(cells_of(options, bench.quick), "cells"):
            found = finish(cell, options.work, only_finished=options.only_finished)
            if found is None:
                elsewhere += 1
            else:
                bench.say(f"{cell.name}: {found['successes']}/{found['trials']}")
                facts.append(found)
        bench.details = facts
        for coverage in options.coverage:
            report(bench, facts, coverage)
        if facts:
            paid = [
                f for f in facts if not (f["motion_was_shared"] and ARMS[f["arm"]].reads_motion)
            ]
            mean = {a: [f["fit_cpu_s"] for f in paid if f["arm"] == a] for a in ARMS}
            spent = ", ".join(f"{a} {np.mean(v):.0f}" for a, v in mean.items() if v)
            bench.note(f"mean CPU-seconds of a whole fit: {spent}")
        if elsewhere:
            bench.note(f"{elsewhere} of {elsewhere + len(facts)} cells are not finished yet")
        bench.note(
            "success per draw of the demonstrations in brackets; the intervals of a task pool its "
            "draws and leave out how draws differ; a mean counts each task once, and the interval "
            "of a gain is Student's over tasks"
        )
        bench.note(
            "play (50 s of random robot motion) is a second labelled source of every arm "
            "but cloning and true actions"
        )


if __name__ == "__main__":
    main()
