"""Do the scripted experts succeed, and what does an episode of each kind cost?

Every built-in simulated scenario is listed because its expert passes here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.core.scenario import Request, Scenario, split_seed
from loopwright.core.statistics import clopper_pearson
from loopwright.scenarios.metaworld.catalogue import TASKS
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt, record_sources

DEFAULT = "button-press-v1"
SOURCES = (
    Request(kind="demo", count=20),
    Request(kind="play", count=20),
    Request(kind="video", count=20, body="recoloured"),
    Request(kind="video", count=20, body="hand"),
)


def main() -> None:
    with Benchmark("experts", "Scripted experts and the cost of source episodes") as bench:
        tasks = TASKS[:4] if bench.quick else TASKS
        seeds = [split_seed("train", index) for index in range(10 if bench.quick else 50)]
        for task in bench.track(tasks, "scenarios"):
            bench.add(expert_success(get_scenario(task.id), seeds))
        for request in bench.track(SOURCES, "source episodes"):
            bench.add(source_cost(get_scenario(DEFAULT), request))
        bench.note("Gaussian action noise 0.1, actions at 40 Hz, 64 px, first starts of train.")


def expert_success(scenario: Scenario, seeds: Sequence[int]) -> Measurement:
    """Return the share of starts at which the expert succeeds."""
    with closing(scenario.make_world()) as world:
        expert = scenario.behaviour("demo", world)
        outcomes = [attempt(scenario, world, expert, seed, None)[1].outcome for seed in seeds]
    successes = outcomes.count("success")
    return Measurement(
        metric=f"expert of {scenario.id}",
        value=successes / len(seeds),
        unit="share",
        interval=clopper_pearson(successes, len(seeds)),
        n=len(seeds),
        target=">= 0.9",
    )


def source_cost(scenario: Scenario, request: Request) -> Measurement:
    """Return what one source episode costs, its share of the world's construction included."""
    began_s = time.process_time()
    steps = [episode.num_steps for episode, _ in record_sources(scenario, request)]
    cpu_s = time.process_time() - began_s
    return Measurement(
        metric=f"{request.kind} of {request.body}, {np.mean(steps):.0f} steps ({scenario.id})",
        value=cpu_s / request.count,
        unit="s CPU/episode",
        n=request.count,
    )


if __name__ == "__main__":
    main()
