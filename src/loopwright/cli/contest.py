"""Candidates from anywhere on the starts of a scenario: one alone, or two at the gate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loopwright.core.episode import Outcome
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface
from loopwright.core.policy import MANIFEST_NAME, Candidate, Policy
from loopwright.core.scenario import Scenario, World, split_of
from loopwright.loop.gate import GateConfig, GateDecision, PairedTrial, judge
from loopwright.models.adapters.adopt import adopt
from loopwright.models.registry import load_policy
from loopwright.scenarios.sources import attempt
from loopwright.store.workspace import MARKER, Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Entrant:
    """A candidate that is ready to act, with a world of its own."""

    name: str
    """As it was called when it was named."""
    digest: str
    policy: Policy
    scenario: Scenario
    world: World

    def attempt(self, seed: int) -> Outcome:
        """Try one start and return what the verifier says.

        Raises:
            ContractError: World, policy or verifier broke its contract.
        """
        _, verdict = attempt(self.scenario, self.world, self.policy, seed, self.digest)
        return verdict.outcome


@contextmanager
def entered(source: Path, scenario: Scenario) -> Iterator[Entrant]:
    """Open a candidate for a scenario; a foreign policy is adopted first.

    Args:
        source: Candidate folder, LeRobot policy folder, or Python file.
        scenario: Where it is to act.

    Raises:
        InvalidConfig: There is no such thing, or it does not fit the scenario.
        UnsafeCandidate: The folder holds what no candidate may hold.
        DamagedData: A file is not what its digest says.
    """
    with (
        tempfile.TemporaryDirectory(prefix="candidate-") as place,
        closing(scenario.make_world()) as world,
    ):
        sealed = _sealed(source, Path(place) / "candidate", scenario)
        policy, digest = load_policy(sealed), Candidate.open(sealed).digest
        yield Entrant(
            name=str(source), digest=digest, policy=policy, scenario=scenario, world=world
        )


def meet(
    config: GateConfig,
    champion: Entrant,
    challenger: Entrant,
    seeds: Sequence[int],
    *,
    begin: Callable[[Sequence[int]], None],
    tried: Callable[[int], None],
) -> tuple[GateDecision, list[PairedTrial]]:
    """Let two candidates meet on the same seeds until the gate of a loop's first round decides.

    Args:
        config: What is fixed before the first trial.
        champion: The one that is to be beaten.
        challenger: The one that is to be better.
        seeds: As many as the gate has pairs, in the order in which they are tried.
        begin: Told the seeds of every batch before any of them is tried.
        tried: Told after every pair how many there have been.

    Raises:
        InvalidConfig: They are the same candidate.
        ContractError: World, policy or verifier broke its contract.
    """
    if champion.digest == challenger.digest:
        raise InvalidConfig(
            f"{challenger.name} and {champion.name} are the same candidate "
            f"({champion.digest[:12]}), and nothing is better than itself"
        )
    trials: list[PairedTrial] = []
    decision = judge(config, 1, trials)
    while decision.decision == "continue":
        batch = seeds[len(trials) : len(trials) + config.batch]
        begin(batch)
        for seed in batch:
            outcomes = champion.attempt(seed), challenger.attempt(seed)
            trials.append(PairedTrial(seed=seed, champion=outcomes[0], challenger=outcomes[1]))
            tried(len(trials))
        decision = judge(config, 1, trials, planned_seeds=seeds)
    return decision, trials


def count_uses(folder: Path, scenario: Scenario, seeds: Sequence[int], purpose: str) -> int | None:
    """Count gate or sealed seeds as used, in a workspace.

    Args:
        folder: Of the workspace.
        scenario: What the seeds are starts of.
        seeds: Of one split.
        purpose: What for; the same purpose counts once.

    Returns:
        How many of them had been used before; None if nothing was counted, because there is no
        workspace or seeds to train on may be used at will.
    """
    split = split_of(seeds[0])
    if split == "train" or not (folder / MARKER).exists():
        return None
    with closing(Workspace.open(folder)) as workspace:
        uses = workspace.ledger.seed_uses(split, scenario.id)
        workspace.ledger.use_seeds(split, scenario.id, seeds, purpose=purpose)
    return sum(seed in uses for seed in seeds)


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
