"""``loopwright evaluate``: judge any candidate on a scenario, alone or against another."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from loopwright.cli.contest import count_uses, entered, meet
from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Scenario, Split, split_seed
from loopwright.core.statistics import clopper_pearson
from loopwright.loop.gate import GateConfig
from loopwright.scenarios.registry import get_scenario

_ALONE, _PAIRS = 20, 200


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Where a policy is tried."""

    episodes: int | None = None
    """Number of starts, 20 by default; against another the most pairs, 200 by default."""
    split: Split = "gate"
    """Which seeds: train, gate or sealed."""
    first: int = 0
    """Index of the first seed in the split."""

    def seeds(self, usual: int) -> list[int]:
        """Return the seeds, the ``usual`` number of them unless it was said."""
        count = usual if self.episodes is None else self.episodes
        if count < 1:
            raise InvalidConfig(f"episodes is {count}; expected at least 1")
        return [split_seed(self.split, self.first + i) for i in range(count)]


def main(
    candidate: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CANDIDATE")],
    /,
    *,
    scenario: str,
    against: Path | None = None,
    starts: Annotated[Starts, tyro.conf.OmitArgPrefixes] = Starts(),
    workspace: Path = Path("runs"),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Run a policy on held-out starts and print its success, or whether it is better than another.

    Alone it gets an exact interval. Against another it passes the gate that promotes in a loop:
    both meet on the same starts, until it is proven better or there is too little hope.

    Args:
        candidate: Candidate folder (it holds candidate.json), a LeRobot policy folder, or a Python
            file that defines act(observation) or make_policy().
        scenario: Scenario id or path of a scenario file.
        against: Candidate or policy that it must be better than.
        starts: Where it is tried.
        workspace: Where uses of gate and sealed seeds are counted, if there is a workspace.
        json_output: Print JSON instead of a sentence.
    """
    seeds = starts.seeds(_ALONE if against is None else _PAIRS)
    where = get_scenario(scenario)
    if against is None:
        result = _evaluate(candidate, where, seeds, workspace)
        lines = _said_of_one(result)
    else:
        result = _compare(candidate, against, where, seeds, workspace)
        lines = _said_of_two(result)
    if json_output:
        print(json.dumps(result))
        return 0
    print("\n".join(lines))
    _warn_of_uses(result, starts.split, workspace)
    return 0


def _evaluate(
    candidate: Path, scenario: Scenario, seeds: list[int], workspace: Path
) -> dict[str, Json]:
    from loopwright.cli.display import progress_of

    with entered(candidate, scenario) as entrant:
        used = count_uses(workspace, scenario, seeds, f"evaluate {entrant.digest}")
        outcomes = [entrant.attempt(seed) for seed in progress_of(seeds, "episodes")]
    successes = outcomes.count("success")
    trials = len(outcomes) - outcomes.count("unknown")
    low, high = clopper_pearson(successes, trials) if trials else (0.0, 1.0)
    return {
        "scenario": scenario.id,
        "candidate": entrant.digest,
        "successes": successes,
        "trials": trials,
        "unknown": len(outcomes) - trials,
        "rate": successes / trials if trials else 0.0,
        "low": low,
        "high": high,
        "seeds": [seeds[0], seeds[-1]],
        "used_before": used,
        "outcomes": list(outcomes),
    }


def _compare(
    candidate: Path, against: Path, scenario: Scenario, seeds: list[int], workspace: Path
) -> dict[str, Json]:
    from loopwright.cli.progress import progress_bar

    config = GateConfig(max_pairs=len(seeds), min_pairs=min(GateConfig().min_pairs, len(seeds)))
    used: list[int | None] = []
    with (
        entered(candidate, scenario) as challenger,
        entered(against, scenario) as champion,
        progress_bar("pairs") as show,
    ):
        purpose = f"evaluate {challenger.digest} against {champion.digest}"
        decision, trials = meet(
            config,
            champion,
            challenger,
            seeds,
            begin=lambda batch: used.append(count_uses(workspace, scenario, batch, purpose)),
            tried=lambda pairs: show(pairs / len(seeds), f"{pairs} of at most {len(seeds)}"),
        )
    known = [before for before in used if before is not None]
    return {
        "scenario": scenario.id,
        "candidate": challenger.digest,
        "against": champion.digest,
        "names": [challenger.name, champion.name],
        "decision": decision.decision,
        "reason": decision.reason,
        "e_value": decision.e_value,
        "threshold": decision.threshold,
        "gate": decision.to_json(),
        "seeds": [trials[0].seed, trials[-1].seed],
        "used_before": sum(known) if known else None,
        "pairs": [[trial.champion, trial.challenger] for trial in trials],
    }


def _said_of_one(result: Mapping[str, Any]) -> list[str]:
    unknown = f", {result['unknown']} unknown" if result["unknown"] else ""
    return [f"{result['scenario']}: {_amount(result)}{unknown}"]


def _said_of_two(result: Mapping[str, Any]) -> list[str]:
    challenger, champion = result["names"]
    return [
        f"{result['scenario']}: {result['decision']}; {result['reason']}",
        f"  challenger {challenger}: {_amount(_rate(result['gate']['challenger']))}",
        f"  champion {champion}: {_amount(_rate(result['gate']['champion']))}",
    ]


def _rate(counted: Mapping[str, Any]) -> dict[str, Any]:
    trials = counted["trials"]
    return {**counted, "rate": counted["successes"] / trials if trials else 0.0}


def _amount(result: Mapping[str, Any]) -> str:
    return (
        f"{result['successes']}/{result['trials']} successes, "
        f"{result['rate']:.2f} (95 % interval {result['low']:.2f} to {result['high']:.2f})"
    )


def _warn_of_uses(result: Mapping[str, Any], split: Split, workspace: Path) -> None:
    """Say that starts are no longer fresh, where that matters: at a gate, and on sealed seeds."""
    used = result["used_before"]
    if used and ("against" in result or split == "sealed"):
        print(
            f"loopwright: {used} of these {split} seeds had been used before in {workspace}; a "
            "candidate that was chosen by them looks better on them than it is. --first takes "
            "others",
            file=sys.stderr,
        )
    elif used is None and split == "sealed":
        print(
            f"loopwright: {workspace} is no workspace, so this use of sealed seeds is not counted",
            file=sys.stderr,
        )
