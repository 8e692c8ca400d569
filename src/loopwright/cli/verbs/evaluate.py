"""``loopwright evaluate``: judge any candidate on a scenario."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import tyro

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.core.scenario import SPLITS, Scenario, Split, split_seed
from loopwright.core.statistics import clopper_pearson
from loopwright.models.adapters.adopt import adopt
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
    """Run a policy on held-out starts and print its success with an exact interval.

    Args:
        candidate: Candidate folder (it holds candidate.json), a LeRobot policy folder, or a Python
            file that defines act(observation) or make_policy().
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
    outcomes: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="candidate-") as place,
        closing(scenario.make_world()) as world,
    ):
        sealed = _sealed(folder, Path(place) / "candidate", scenario)
        policy, digest = load_policy(sealed), Candidate.open(sealed).digest
        for seed in progress_of(seeds, "episodes"):
            _, verdict = attempt(scenario, world, policy, seed, digest)
            outcomes.append(verdict.outcome)
    successes = outcomes.count("success")
    trials = len(outcomes) - outcomes.count("unknown")
    low, high = clopper_pearson(successes, trials) if trials else (0.0, 1.0)
    return {
        "scenario": scenario.id,
        "candidate": digest,
        "successes": successes,
        "trials": trials,
        "unknown": len(outcomes) - trials,
        "rate": successes / trials if trials else 0.0,
        "low": low,
        "high": high,
        "seeds": [seeds[0], seeds[-1]],
        "outcomes": outcomes,
    }


def _sealed(source: Path, place: Path, scenario: Scenario) -> Path:
    """Return a candidate folder that fits the scenario; a foreign policy is adopted first."""
    if not source.exists():
        raise InvalidConfig(f"{source} does not exist; expected a candidate folder or a policy")
    if not (source / MANIFEST_NAME).exists():
        adopt(source, place, scenario.interface)
        return place
    interface = Candidate.open(source).interface
    if interface != scenario.interface:
        raise InvalidConfig(
            f"{source} was made for another interface than {scenario.id}: "
            f"{_differences(interface, scenario.interface)}"
        )
    return source


def _differences(candidate: Interface, scenario: Interface) -> str:
    theirs, ours = candidate.to_json(), scenario.to_json()
    return "; ".join(
        f"{part} is {theirs[part]}, expected {ours[part]}"
        for part in ours
        if theirs[part] != ours[part]
    )
