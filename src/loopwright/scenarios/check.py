"""The contract of a scenario, checked from outside: for authors of worlds, tasks and verifiers.

Every rule is one function that yields what it found. A rule that needs what an earlier one found
missing is skipped, so the report names causes, not consequences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import get_args

import numpy as np

from loopwright.core.control import Recorder, attempt_header, run_episode
from loopwright.core.episode import Episode, Outcome, SourceKind, Verdict
from loopwright.core.errors import ContractError, LoopwrightError, UnknownName
from loopwright.core.interface import Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import (
    SPLITS,
    ManyTasks,
    Request,
    Scenario,
    World,
    WorldStep,
    split_seed,
)
from loopwright.core.seeds import generator
from loopwright.scenarios.motion import SmoothNoise
from loopwright.scenarios.sources import judge, record_sources

_STEPS = 12
"""Control steps of each rehearsal: long enough to move, short enough to wait for."""
_MADE_KINDS: tuple[SourceKind, ...] = ("demo", "play", "video")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One breach of the contract."""

    rule: str
    """The rule that is broken, in a word or two (``"repeatable reset"``)."""
    message: str
    """What was found and what was expected."""

    def __str__(self) -> str:
        """Rule and message on one line."""
        return f"{self.rule}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckReport:
    """What :func:`check_scenario` found."""

    scenario: str
    findings: tuple[Finding, ...] = ()
    passed: tuple[str, ...] = ()
    """Rules that hold."""
    kinds: tuple[SourceKind, ...] = ()
    """Source episodes that the scenario can make."""

    @property
    def ok(self) -> bool:
        """Whether every rule holds."""
        return not self.findings

    def require(self) -> None:
        """Raise :class:`ContractError` with every finding, if there is one."""
        if not self.ok:
            raise ContractError(str(self))

    def __str__(self) -> str:
        """Several lines for a person."""
        if self.ok:
            made = ", ".join(self.kinds) or "no source episodes"
            return f"{self.scenario} keeps its contract ({len(self.passed)} rules; makes {made})"
        lines = [f"{self.scenario} breaks its contract:", *(f"- {f}" for f in self.findings)]
        return "\n".join(lines)


@dataclass(kw_only=True, slots=True)
class _Bench:
    """What the rules share: the scenario, its worlds, and what has been recorded so far."""

    scenario: Scenario
    seeds: tuple[int, ...]
    worlds: list[World] = field(default_factory=list)
    episodes: list[Episode] = field(default_factory=list)
    kinds: list[SourceKind] = field(default_factory=list)

    def world(self) -> World:
        """Return the one world that most rules use; built when first asked for."""
        return self.worlds[0] if self.worlds else self.another_world()

    def another_world(self) -> World:
        """Return a fresh world, closed with the others."""
        self.worlds.append(self.scenario.make_world())
        return self.worlds[-1]


_Rule = Callable[[_Bench], Iterator[str]]


def check_scenario(scenario: Scenario, *, seeds: int = 3) -> CheckReport:
    """Check that a scenario keeps its contract.

    Builds two worlds, simulates a few short episodes on the first train seeds and records one
    source episode of each kind. Nothing is raised for what a scenario does wrong, even when it
    raises itself: the report names it.

    Args:
        scenario: What to check.
        seeds: How many starts to try, at least 2.
    """
    bench = _Bench(
        scenario=scenario, seeds=tuple(split_seed("train", i) for i in range(max(2, seeds)))
    )
    findings: list[Finding] = []
    passed: list[str] = []
    for name, rule, vital in _RULES:
        messages = _messages(partial(rule, bench))
        findings += [Finding(rule=name, message=message) for message in messages]
        if not messages:
            passed.append(name)
        elif vital:
            break
    for world in bench.worlds:
        messages = _messages(partial(_close_twice, world))
        findings += [Finding(rule="close", message=message) for message in messages]
    return CheckReport(
        scenario=str(getattr(scenario, "id", type(scenario).__name__)),
        findings=tuple(findings),
        passed=tuple(passed),
        kinds=tuple(bench.kinds),
    )


def _messages(rule: Callable[[], Iterator[str]]) -> list[str]:
    """Return what a rule finds; what the plug-in raises meanwhile is a finding too."""
    messages: list[str] = []
    try:
        messages.extend(rule())
    except LoopwrightError as error:
        messages.append(str(error))
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; the report names it
        messages.append(f"raised {type(error).__name__}: {error}")
    return messages


# --- Rules about what a scenario says of itself ---------------------------------------------------


def _members(bench: _Bench) -> Iterator[str]:
    scenario = bench.scenario
    if not isinstance(scenario, Scenario):
        members = sorted(name for name in vars(Scenario) if not name.startswith("_"))
        yield f"lacks {[name for name in members if not hasattr(scenario, name)]}"
        return
    if not re.search(r"-v\d+$", scenario.id):
        yield f"the id {scenario.id!r} carries no version; expected an id that ends like '-v1'"
    if scenario.max_steps < 1:
        yield f"max_steps is {scenario.max_steps}, expected at least 1"
    if len(set(scenario.evidence)) != len(scenario.evidence) or not scenario.evidence:
        yield f"evidence is {scenario.evidence}, expected at least one name and none twice"
    if not isinstance(getattr(scenario.verifier, "name", None), str):
        yield "the verifier has no name; verdicts must say who gave them"
    numbers = [*scenario.interface.proprio.low, *scenario.interface.proprio.high]
    numbers += [*scenario.interface.action.low, *scenario.interface.action.high]
    if not np.isfinite(numbers).all():
        yield "the interface states infinite ranges; state the largest values that occur"


def _starts(bench: _Bench) -> Iterator[str]:
    scenario, domain = bench.scenario, bench.scenario.domain
    starts = []
    for split in SPLITS:
        for index in range(len(bench.seeds)):
            seed = split_seed(split, index)
            start = dict(scenario.start(seed))
            starts.append(tuple(start.values()))
            if start != dict(scenario.start(seed)):
                yield f"start({seed}) differs from call to call"
            if set(start) != set(domain.low):
                yield f"start({seed}) names {sorted(start)}, the domain {sorted(domain.low)}"
                return
            if not domain.contains(start):
                yield f"start({seed}) = {start} lies outside the domain {domain.to_json()}"
    if len(set(starts)) == 1:
        yield f"every seed starts at {starts[0]}"


def _instructions(bench: _Bench) -> Iterator[str]:
    scenario = bench.scenario
    if not isinstance(scenario, ManyTasks):
        return
    for seed in bench.seeds:
        said = scenario.instruction_at(seed)
        if not said or not isinstance(said, str):
            yield f"instruction_at({seed}) is {said!r}, expected some words"
        elif said != scenario.instruction_at(seed):
            yield f"instruction_at({seed}) differs from call to call"
        elif (heard := bench.world().reset(seed).instruction) != said:
            yield f"seed {seed} asks for {said!r}, but its world's observation says {heard!r}"


# --- Rules about the world ------------------------------------------------------------------------


def _bodies(bench: _Bench) -> Iterator[str]:
    try:
        bench.worlds.append(bench.scenario.make_world(body="no such body"))
    except UnknownName:
        return
    yield "make_world(body='no such body') made a world, expected UnknownName"


def _observations(bench: _Bench) -> Iterator[str]:
    world = bench.world()
    for seed in bench.seeds:
        observation = world.reset(seed)
        bench.scenario.interface.check_observation(observation)
        if observation.time_s != 0.0:
            yield f"time_s is {observation.time_s} after reset({seed}), expected 0"


def _repeatable_reset(bench: _Bench) -> Iterator[str]:
    world, other = bench.world(), bench.another_world()
    first, last = bench.seeds[0], bench.seeds[-1]
    one = world.reset(first)
    _rehearse(bench, world, last)
    two = world.reset(first)
    if difference := _difference(one, two):
        yield f"reset({first}) after another episode gives {difference}"
    elif difference := _difference(one, other.reset(first)):
        yield f"reset({first}) of another world gives {difference}"


def _seeds_differ(bench: _Bench) -> Iterator[str]:
    observations = [bench.world().reset(seed) for seed in bench.seeds]
    if not any(_difference(observations[0], other) for other in observations[1:]):
        yield f"the seeds {bench.seeds} all look the same"


def _steps(bench: _Bench) -> Iterator[str]:
    scenario, world = bench.scenario, bench.world()
    interface = scenario.interface
    before = world.reset(bench.seeds[0])
    kept = {name: image.copy() for name, image in before.images.items()}
    step = world.step(_full(bench))
    if not isinstance(step, WorldStep):
        yield f"step returned a {type(step).__name__}, expected a WorldStep"
        return
    interface.check_observation(step.observation)
    if any(not np.array_equal(kept[name], before.images[name]) for name in kept):
        yield "a step overwrote the image of an earlier observation; return a copy"
    period_s = 1.0 / interface.rate_hz
    if not np.isclose(step.observation.time_s, period_s):
        yield f"time_s is {step.observation.time_s} after one step, expected {period_s:.4f}"
    expected = (len(scenario.evidence),)
    if step.evidence.shape != expected or step.evidence.dtype != np.float64:
        found = f"{step.evidence.dtype} {step.evidence.shape}"
        yield f"evidence is {found}, expected float64 {expected}"
    elif not np.isfinite(step.evidence).all():
        yield f"evidence is not finite: {dict(zip(scenario.evidence, step.evidence, strict=True))}"
    size = (interface.action.size,)
    if step.applied.shape != size or step.applied.dtype != np.float32:
        yield f"applied is {step.applied.dtype} {step.applied.shape}, expected float32 {size}"
    elif not np.array_equal(interface.action.clip(step.applied), step.applied):
        yield f"the applied action {step.applied} lies outside the range of the interface"


def _repeatable_replay(bench: _Bench) -> Iterator[str]:
    for seed in bench.seeds:
        one, two = (_rehearse(bench, world, seed) for world in bench.worlds[:2])
        bench.episodes.append(one)
        if one.num_steps != two.num_steps:
            yield f"seed {seed} with equal actions ended after {one.num_steps} and {two.num_steps}"
            continue
        assert one.evidence is not None
        assert two.evidence is not None
        # A number that is missing both times is no difference; it has a rule of its own.
        differs = ~np.isclose(one.evidence, two.evidence, rtol=0, atol=0, equal_nan=True)
        if differs.any():
            step = int(np.argmax(differs.any(axis=1)))
            yield f"seed {seed} with equal actions gave different evidence from step {step} on"
        for name, frames in one.images.items():
            if not np.array_equal(frames, two.images[name]):
                yield f"seed {seed} with equal actions gave different images of camera {name!r}"


def _finite_evidence(bench: _Bench) -> Iterator[str]:
    for episode in bench.episodes:
        assert episode.evidence is not None
        lacking = ~np.isfinite(episode.evidence)
        if lacking.any():
            step = int(np.argmax(lacking.any(axis=1)))
            found = {
                name: float(value)
                for name, value, lacks in zip(
                    episode.header.evidence, episode.evidence[step], lacking[step], strict=True
                )
                if lacks
            }
            yield f"seed {episode.header.seed}: evidence is not finite at step {step}: {found}"


def _close_twice(world: World) -> Iterator[str]:
    world.close()
    world.close()
    yield from ()


# --- Rules about the verifier ---------------------------------------------------------------------


def _verdicts(bench: _Bench) -> Iterator[str]:
    for episode in bench.episodes:
        yield from _verdict_of(bench.scenario, episode)


def _verdict_of(scenario: Scenario, episode: Episode) -> Iterator[str]:
    assert episode.evidence is not None
    untouched = episode.evidence.copy()
    one, two = judge(scenario, episode), judge(scenario, episode)
    if one.outcome not in get_args(Outcome):
        yield f"the outcome is {one.outcome!r}, expected one of {get_args(Outcome)}"
    if one != two:
        yield f"the verdict on {episode.id} differs from call to call"
    if not np.array_equal(untouched, episode.evidence, equal_nan=True):
        yield "the verifier changed the evidence it was given"
    if not one.evidence_digest:
        yield "the verdict carries no digest of the evidence"


def _damaged_evidence(bench: _Bench) -> Iterator[str]:
    for episode in bench.episodes[:1]:
        assert episode.evidence is not None
        damaged = np.full_like(episode.evidence, np.nan)
        verdict: Verdict = judge(bench.scenario, replace(episode, evidence=damaged))
        if verdict.outcome != "unknown":
            yield f"evidence of NaN was judged a {verdict.outcome}, expected 'unknown'"


# --- Rules about source episodes ------------------------------------------------------------------


def _sources(bench: _Bench) -> Iterator[str]:
    for kind in _MADE_KINDS:
        try:
            bench.scenario.behaviour(kind, bench.world())
        except UnknownName:
            continue
        bench.kinds.append(kind)
        for episode, _ in record_sources(bench.scenario, Request(kind=kind, count=1)):
            yield from _source_of_kind(episode, kind)


def _source_of_kind(episode: Episode, kind: SourceKind) -> Iterator[str]:
    if episode.header.kind != kind:
        yield f"a {kind} was recorded as a {episode.header.kind}"
    if kind == "video" and any(
        part is not None
        for part in (episode.proprio, episode.requested, episode.applied, episode.evidence)
    ):
        yield "a video carries more than images and times"


_RULES: tuple[tuple[str, _Rule, bool], ...] = (
    ("members", _members, True),
    ("starts", _starts, False),
    ("bodies", _bodies, False),
    ("observations", _observations, True),
    ("instructions", _instructions, False),
    ("repeatable reset", _repeatable_reset, False),
    ("seeds differ", _seeds_differ, False),
    ("steps", _steps, True),
    ("repeatable replay", _repeatable_replay, False),
    ("finite evidence", _finite_evidence, False),
    ("verdicts", _verdicts, True),
    ("damaged evidence", _damaged_evidence, False),
    ("sources", _sources, False),
)
"""Name, rule, and whether later rules make no sense without it."""


# --- What the rules act with ----------------------------------------------------------------------


class _Wanderer:
    """Smooth random actions over the whole range of an action, whatever the scenario."""

    def __init__(self, low: np.ndarray, high: np.ndarray) -> None:
        self._centre, self._half = (low + high) / 2, (high - low) / 2
        self._motion = SmoothNoise(len(low))

    def reset(self, seed: int) -> None:
        """Begin a new episode."""
        self._motion.reset(generator(seed, "check"))

    def act(self, observation: Observation) -> np.ndarray:
        """Return one action."""
        return (self._centre + self._half * self._motion.draw()).astype(np.float32)[None]


def _wanderer(bench: _Bench) -> Policy:
    action = bench.scenario.interface.action
    return _Wanderer(np.array(action.low), np.array(action.high))


def _full(bench: _Bench) -> np.ndarray:
    """Return full deflection: an action that shows."""
    return np.array(bench.scenario.interface.action.high, dtype=np.float32)


def _rehearse(bench: _Bench, world: World, seed: int) -> Episode:
    recorder = Recorder()
    run_episode(
        world=world,
        policy=_wanderer(bench),
        header=attempt_header(bench.scenario, seed, candidate=None, behaviour="check"),
        max_steps=min(_STEPS, bench.scenario.max_steps),
        subscribers=(recorder,),
    )
    return recorder.episode()


def _difference(one: Observation, two: Observation) -> str:
    """Return what differs between two observations, in words; empty if nothing does."""
    if one.instruction != two.instruction:
        return f"another instruction ({one.instruction!r} and {two.instruction!r})"
    if not np.array_equal(one.proprio, two.proprio):
        return f"other proprioception ({one.proprio} and {two.proprio})"
    for name, image in one.images.items():
        if not np.array_equal(image, two.images[name]):
            pixels = int((image != two.images[name]).any(axis=-1).sum())
            return f"another image of camera {name!r} ({pixels} pixels differ)"
    return ""
