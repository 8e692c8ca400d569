"""What the loop adds, round by round, beside the same compute spent on cloning alone.

The recipe ``button-press-long`` is run by the command itself, once per seed (another draw of
demonstrations, starts and weights each). Then the champion of every round meets the same sealed
starts, which neither training nor gate nor the loop's own sealed comparison has used, and so does
one clone: plain cloning of every labelled demonstration that the loop had by its last round,
trained for as many CPU-seconds as all fits of the loop together.

Everything lies under ``--work`` and is found again, so the benchmark can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness import Benchmark, Measurement, cpu_seconds
from loopwright.core.learner import FitJob
from loopwright.core.scenario import split_seed
from loopwright.core.statistics import clopper_pearson
from loopwright.loop.records import RoundRecord
from loopwright.loop.rounds import recorded_rounds
from loopwright.models.registry import load_policy
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt
from loopwright.store.episodes import read_episode
from loopwright.store.workspace import Workspace
from loopwright.train.checkpoint import write_atomically
from loopwright.train.wam import WamFit, fit

COMMAND = str(Path(sys.executable).parent / "loopwright")
RECIPE, SCENARIO = "button-press-long", "button-press-v1"
SEEDS = (0, 1, 2)
FIRST_SEALED = 500_000_000
"""The loop's own sealed comparison takes its seeds from the front of the split."""
CLONE = WamFit(
    use_video=False,
    use_idm=False,
    use_forward=False,
    batch_demos=WamFit().batch_demos + WamFit().batch_video,
)
TIMED_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A champion after a round, or the clone, on the sealed starts."""

    seed: int
    round: int
    """-1 for the clone."""
    candidate: str
    decision: str
    successes: int
    trials: int
    demonstrations: int
    videos: int
    fit_cpu_s: float
    """Of all fits so far."""


class LoopRun:
    """One finished run of the recipe, and what became of it."""

    def __init__(self, seed: int, work: Path, trials: int) -> None:
        self.seed, self.trials = seed, trials
        self.place, self.cache = work / f"seed-{seed}", work / f"seed-{seed}-sealed"
        self.cache.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        """Let the command run, or find that it has."""
        argv = [COMMAND, "run", RECIPE, "--workspace", str(self.place), "--seed", str(self.seed)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

    @cached_property
    def records(self) -> list[RoundRecord]:
        with Workspace.open(self.place) as workspace:
            (run,) = workspace.ledger.runs()
            return recorded_rounds(workspace.ledger, run.id)

    def fit_cpu_s(self, record: RoundRecord) -> float:
        """Return the CPU-seconds of the fits of one round."""
        keys = [stage.key for stage in record.stages if stage.name == "fit"]
        with Workspace.open(self.place) as workspace:
            return sum(r.cost.cpu_s for r in workspace.ledger.receipts(keys).values())

    def standings(self) -> list[Standing]:
        """Return the champion after every round, then the clone."""
        found, spent_s = [], 0.0
        for record in self.records:
            spent_s += self.fit_cpu_s(record)
            videos = sum(
                len(episodes)
                for earlier in self.records[: record.index + 1]
                for request, episodes in zip(earlier.requests, earlier.added, strict=True)
                if request.kind == "video"
            )
            found.append(
                Standing(
                    seed=self.seed,
                    round=record.index,
                    candidate=record.champion_after[:12],
                    decision=record.decision,
                    successes=self.sealed(record.champion_after),
                    trials=self.trials,
                    demonstrations=record.demonstrations,
                    videos=videos,
                    fit_cpu_s=round(spent_s, 1),
                )
            )
        return [*found, self.clone(found[-1])]

    def sealed(self, candidate: str) -> int:
        """Return how many of the sealed starts a candidate of the loop succeeds at."""
        folder = self.cache / candidate[:12]
        with Workspace.open(self.place) as workspace:
            workspace.objects.checkout(candidate, folder)
        return self.tried(folder)

    def clone(self, loop: Standing) -> Standing:
        """Clone the loop's demonstrations for as long as the loop trained in all."""
        with Workspace.open(self.place) as workspace:
            ids = [
                episode
                for record in self.records
                for request, episodes in zip(record.requests, record.added, strict=True)
                if request.kind == "demo"
                for episode in episodes
            ]
            episodes = [read_episode(workspace, episode) for episode in ids]

        def cloned(steps: int, name: str) -> float:
            began_s = cpu_seconds()
            out = self.cache / name
            if not (out / "candidate.json").exists():
                job = FitJob(
                    episodes=episodes,
                    seed=self.seed,
                    out=out,
                    scratch=self.cache / f"{name}-state",
                )
                fit(replace(CLONE, policy_steps=steps), job)
            return cpu_seconds() - began_s

        plan = self.cache / "clone-steps.json"
        if not plan.exists():
            step_s = cloned(TIMED_STEPS, "timing") / TIMED_STEPS
            steps = {"steps": round(loop.fit_cpu_s / step_s)}
            write_atomically(plan, json.dumps(steps).encode())
        steps = json.loads(plan.read_bytes())["steps"]
        cloned(steps, "clone")
        return Standing(
            seed=self.seed,
            round=-1,
            candidate=f"{steps} steps",
            decision="clone",
            successes=self.tried(self.cache / "clone"),
            trials=self.trials,
            demonstrations=len(episodes),
            videos=0,
            fit_cpu_s=loop.fit_cpu_s,
        )

    def tried(self, folder: Path) -> int:
        """Return how many sealed starts a policy succeeds at; remembered beside it."""
        memory = folder.with_name(f"{folder.name}-n{self.trials}.json")
        if not memory.exists():
            scenario, policy = get_scenario(SCENARIO), load_policy(folder)
            first = FIRST_SEALED + self.seed * self.trials
            with closing(scenario.make_world()) as world:
                outcomes = [
                    attempt(scenario, world, policy, split_seed("sealed", first + i), None)[
                        1
                    ].outcome
                    for i in range(self.trials)
                ]
            write_atomically(memory, json.dumps(outcomes).encode())
        return json.loads(memory.read_bytes()).count("success")


def report(bench: Benchmark, standings: Sequence[Standing]) -> None:
    """Add a row per seed and round, and what the claim comes to."""
    for s in standings:
        bench.add(
            Measurement(
                metric=f"seed {s.seed}, {'clone' if s.round < 0 else f'round {s.round}'} "
                f"({s.decision}; {s.demonstrations} demos, {s.videos} videos)",
                value=s.successes / s.trials,
                unit="success",
                interval=clopper_pearson(s.successes, s.trials),
                n=s.trials,
                compared_with=f"{s.fit_cpu_s:.0f} fit CPU-s",
            )
        )
    for number in sorted({s.round for s in standings if s.round >= 0}):
        add_mean(bench, f"round {number}", [s for s in standings if s.round == number])
    add_mean(bench, "clone of equal compute", [s for s in standings if s.round < 0])
    drops, gains, against_clone = [], [], []
    for seed in {s.seed for s in standings}:
        mine = {s.round: s.successes / s.trials for s in standings if s.seed == seed}
        clone, first = mine.pop(-1), mine[0]
        drops.append(min(rate - first for rate in mine.values()))
        gains.append(mine[max(mine)] - first)
        against_clone.append(mine[max(mine)] - clone)
    claims = (
        ("worst champion against the first", min(drops), ">= 0"),
        ("mean gain over the first champion", float(np.mean(gains)), "> 0"),
        ("mean gain over the clone", float(np.mean(against_clone)), "> 0"),
    )
    for metric, value, target in claims:
        bench.add(
            Measurement(metric=metric, value=value, unit="success", n=len(gains), target=target)
        )


def add_mean(bench: Benchmark, metric: str, standings: Sequence[Standing]) -> None:
    """Add the mean success over the seeds."""
    rates = [s.successes / s.trials for s in standings]
    trials = sum(s.trials for s in standings)
    bench.add(
        Measurement(
            metric=f"{metric}, mean of {len(rates)} seeds ({min(rates):.2f} to {max(rates):.2f})",
            value=float(np.mean(rates)),
            unit="success",
            interval=clopper_pearson(sum(s.successes for s in standings), trials),
            n=trials,
        )
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/loop_gain"))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--trials", type=int, default=50)
    return parser.parse_args()


def main() -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    options = parse()
    seeds = options.seeds
    with Benchmark("loop_gain", "What the loop adds, round by round", seeds=tuple(seeds)) as bench:
        if bench.quick:
            seeds, options.trials = seeds[:1], 20
        standings: list[Standing] = []
        for seed in bench.track(seeds, "loops"):
            loop = LoopRun(seed, options.work, options.trials)
            bench.say(f"seed {seed}: running {RECIPE}")
            loop.run()
            standings += loop.standings()
        facts: list[dict[str, Any]] = [asdict(s) for s in standings]
        bench.details = facts
        report(bench, standings)
        bench.note(
            "sealed starts that neither training nor gate used; the intervals of the means pool "
            "all seeds and so leave out how seeds differ"
        )


if __name__ == "__main__":
    main()
