"""Source episodes and attempts: running behaviours and candidates in a world, and judging them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from loopwright.core.control import Recorder, attempt_header, run_episode
from loopwright.core.episode import Episode, EpisodeHeader, Verdict
from loopwright.core.errors import ContractError, LoopwrightError, PolicyError, VerifierError
from loopwright.core.interface import Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import Request, Scenario, World, instruction_for, seeds_in
from loopwright.simulation.faults import SimulationDiverged

PLAY_STEPS = 50
"""Control steps of a play episode."""
PATIENCE = 50
"""Failures of an expert in a row after which the request is given up."""

INFRASTRUCTURE = (SimulationDiverged, OSError, MemoryError)
"""Faults that say nothing about a candidate: diverged physics, the operating system, memory.

An attempt that one of them cuts short is ``unknown`` and counts as neither success nor failure.
Everything else (NaN or wrong shapes from the world, a policy or verifier that raises) is a defect
that repeats, so it is raised.
"""


def record_sources(
    scenario: Scenario, request: Request, *, scenario_code: str | None = None
) -> Iterator[tuple[Episode, Verdict | None]]:
    """Make source episodes and yield each with its verdict.

    One world is built and closed. Seeds are those of the train split that start in the request's
    box, in order, so equal arguments give equal episodes. Demonstrations and videos are kept only
    when the verifier calls them a success, else the next seed is tried; play has no task and so
    no verdict.

    Args:
        scenario: Where to act.
        request: How many of which kind, body and part of the domain.
        scenario_code: Digest of the scenario's code, unless it is built in.

    Raises:
        UnknownName: The scenario has no such body, or cannot make that kind.
        ContractError: The expert failed :data:`PATIENCE` times in a row, or a plug-in broke its
            contract.
    """
    world = scenario.make_world(body=request.body)
    try:
        policy = scenario.behaviour(request.kind, world)
        kept = failures = 0
        seeds = seeds_in(scenario, "train", request.box, first=request.first)
        while kept < request.count:
            header = _source_header(scenario, policy, request, next(seeds), scenario_code)
            episode, verdict = _source(scenario, world, policy, request, header)
            if verdict is not None and verdict.outcome != "success":
                failures += 1
                if failures >= PATIENCE:
                    raise ContractError(
                        f"the expert of {scenario.id} failed {failures} times in a row, last at "
                        f"seed {episode.header.seed} ({verdict.reason}); no {request.kind} is made"
                    )
                continue
            kept, failures = kept + 1, 0
            yield episode, verdict
    finally:
        world.close()


def attempt(
    scenario: Scenario,
    world: World,
    policy: Policy,
    seed: int,
    candidate_digest: str | None,
    *,
    scenario_code: str | None = None,
) -> tuple[Episode, Verdict]:
    """Let a candidate try one start, and judge it.

    Args:
        scenario: Where the world, the start and the verifier come from.
        world: A world of the scenario; it stays open.
        policy: The candidate's policy.
        seed: Fixes the start and the policy's randomness.
        candidate_digest: Digest of the candidate, None for a policy that is no candidate.
        scenario_code: Digest of the scenario's code, unless it is built in.

    Raises:
        WorldError: The world broke its contract.
        PolicyError: The policy returned no valid chunk, or raised; whatever it raised, lack of
            memory and what the operating system refused included, is its own failure.
        VerifierError: The verifier broke its contract.
    """
    header = header_of_attempt(
        scenario, policy, seed, candidate_digest, scenario_code=scenario_code
    )
    recorder = Recorder()
    try:
        run_episode(
            world=world,
            policy=_Answerable(policy=policy, seed=seed, recorder=recorder),
            header=header,
            max_steps=scenario.max_steps,
            subscribers=(recorder,),
        )
    except INFRASTRUCTURE as error:
        if not recorder.num_steps:
            raise
        episode = recorder.episode()
        episode = replace(episode, header=replace(episode.header, censored=recorder.censored))
        return episode, _unknown(scenario, episode, error)
    episode = recorder.episode()
    return episode, judge(scenario, episode)


def header_of_attempt(
    scenario: Scenario,
    policy: Policy,
    seed: int,
    candidate_digest: str | None,
    *,
    scenario_code: str | None = None,
) -> EpisodeHeader:
    """Return the header under which :func:`attempt` records, from the same arguments."""
    return attempt_header(
        scenario,
        seed,
        candidate=candidate_digest,
        behaviour=_name_of(policy),
        scenario_code=scenario_code,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answerable:
    """A policy that answers for what it raises: its own fault never passes for the machine's."""

    policy: Policy
    seed: int
    recorder: Recorder

    def reset(self, seed: int) -> None:
        try:
            self.policy.reset(seed)
        except LoopwrightError:
            raise
        except Exception as error:
            raise PolicyError(f"{self._place()} before its first step: {error!r}") from error

    def act(self, observation: Observation) -> np.ndarray:
        try:
            return self.policy.act(observation)
        except LoopwrightError:
            raise
        except Exception as error:
            raise PolicyError(
                f"{self._place()} at step {self.recorder.num_steps}: {error!r}"
            ) from error

    def _place(self) -> str:
        return f"policy {_name_of(self.policy)} raised from seed {self.seed}"


def judge(scenario: Scenario, episode: Episode) -> Verdict:
    """Return the verdict of the scenario's verifier on an episode with evidence.

    Raises:
        VerifierError: The verifier raised, or returned no verdict on this episode.
    """
    verifier = scenario.verifier
    where = f"verifier {_name_of(verifier)} of {scenario.id} on episode {episode.id}"
    if episode.evidence is None:
        raise VerifierError(f"{where}: the episode is a video and carries no evidence to judge")
    try:
        verdict = verifier(episode.header, episode.evidence)
    except Exception as error:
        raise VerifierError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(verdict, Verdict):
        raise VerifierError(f"{where} returned a {type(verdict).__name__}, expected a Verdict")
    if verdict.episode != episode.id:
        raise VerifierError(f"{where} returned a verdict on episode {verdict.episode!r}")
    if not 0.0 <= verdict.score <= 1.0:
        raise VerifierError(f"{where} gave the score {verdict.score}, expected 0 to 1")
    return verdict


def _source(
    scenario: Scenario, world: World, policy: Policy, request: Request, header: EpisodeHeader
) -> tuple[Episode, Verdict | None]:
    """Record one episode; a video is judged while its evidence exists, then stripped."""
    recorder = Recorder()
    run_episode(
        world=world,
        policy=policy,
        header=header,
        max_steps=PLAY_STEPS if request.kind == "play" else scenario.max_steps,
        subscribers=(recorder,),
    )
    episode = recorder.episode()
    if request.kind == "play":
        return episode, None
    verdict = judge(scenario, episode)
    if request.kind != "video":
        return episode, verdict
    video = episode.without_labels()
    return video, replace(verdict, episode=video.id)


def _source_header(
    scenario: Scenario, policy: Policy, request: Request, seed: int, scenario_code: str | None
) -> EpisodeHeader:
    return EpisodeHeader(
        scenario=scenario.id,
        # A video begins as a demonstration: the verifier needs its evidence once.
        kind="demo" if request.kind == "video" else request.kind,
        seed=seed,
        start=scenario.start(seed),
        instruction="" if request.kind == "play" else instruction_for(scenario, seed),
        body=request.body,
        interface=scenario.interface,
        evidence=scenario.evidence,
        behaviour=_name_of(policy),
        scenario_code=scenario_code,
    )


def _unknown(scenario: Scenario, episode: Episode, error: BaseException) -> Verdict:
    verdict = judge(scenario, episode)
    return replace(
        verdict,
        outcome="unknown",
        score=0.0,
        reason=f"cut short by {type(error).__name__}: {error}",
        flags={**verdict.flags, "infrastructure": True},
    )


def _name_of(part: object) -> str:
    return str(getattr(part, "name", type(part).__name__))
