"""``loopwright evaluate``: judge any candidate on a scenario."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import SPLITS, Split, split_seed
from loopwright.core.statistics import clopper_pearson
from loopwright.models.registry import load_policy
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt


def main(
    candidate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CANDIDATE")],
    /,
    *,
    scenario: str,
    episodes: int = 20,
    split: Split = "gate",
    first: int = 0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Run a candidate folder on held-out starts and print its success with an exact interval.

    Args:
        candidate: Candidate folder (it holds candidate.json).
        scenario: Scenario id or path of a scenario file.
        episodes: Number of starts.
        split: Which seeds: train, gate or sealed.
        first: Index of the first seed in the split.
        json_output: Print JSON instead of a sentence.
    """
    if episodes < 1:
        raise InvalidConfig(f"episodes is {episodes}; expected at least 1")
    if split not in SPLITS:
        raise InvalidConfig(f"split is {split!r}; expected one of {SPLITS}")
    result = _evaluate(candidate, scenario, [split_seed(split, first + i) for i in range(episodes)])
    if json_output:
        print(json.dumps(result))
    else:
        print(
            f"{scenario}: {result['successes']}/{result['trials']} successes, "
            f"{result['rate']:.2f} (95 % interval {result['low']:.2f} to {result['high']:.2f})"
            + (f", {result['unknown']} unknown" if result["unknown"] else "")
        )
    return 0


def _evaluate(folder: Path, scenario_ref: str, seeds: list[int]) -> dict[str, Json]:
    from loopwright.cli.display import progress_of

    scenario = get_scenario(scenario_ref)
    policy = load_policy(folder)
    outcomes: list[str] = []
    with closing(scenario.make_world()) as world:
        for seed in progress_of(seeds, "episodes"):
            _, verdict = attempt(scenario, world, policy, seed, None)
            outcomes.append(verdict.outcome)
    successes = outcomes.count("success")
    trials = len(outcomes) - outcomes.count("unknown")
    low, high = clopper_pearson(successes, trials) if trials else (0.0, 1.0)
    return {
        "scenario": scenario.id,
        "candidate": str(folder),
        "successes": successes,
        "trials": trials,
        "unknown": len(outcomes) - trials,
        "rate": successes / trials if trials else 0.0,
        "low": low,
        "high": high,
        "seeds": [seeds[0], seeds[-1]],
        "outcomes": outcomes,
    }
