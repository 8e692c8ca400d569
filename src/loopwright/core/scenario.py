"""Scenarios: a world, a task and a verifier, with their seeds and operating domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from loopwright.core.episode import EpisodeHeader, SourceKind, Verdict
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy

Split = Literal["train", "gate", "sealed"]
SPLITS: tuple[Split, ...] = ("train", "gate", "sealed")
SPLIT_SIZE = 1_000_000_000


def split_seed(split: Split, index: int) -> int:
    """Return seed number ``index`` of a split; the three splits never share a seed."""
    if split not in SPLITS:
        raise UnknownName("seed split", split, SPLITS)
    if not 0 <= index < SPLIT_SIZE:
        raise InvalidConfig(f"seed index {index} is outside [0, {SPLIT_SIZE})")
    return SPLITS.index(split) * SPLIT_SIZE + index


def split_of(seed: int) -> Split:
    """Return the split that a seed belongs to."""
    if not 0 <= seed < SPLIT_SIZE * len(SPLITS):
        raise InvalidConfig(f"seed {seed} is in no split; expected 0 <= seed < {SPLIT_SIZE * 3}")
    return SPLITS[seed // SPLIT_SIZE]


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A box of starts: a closed range per parameter of the operating domain."""

    low: Mapping[str, float]
    high: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse ranges that are empty or name different parameters."""
        if set(self.low) != set(self.high):
            raise InvalidConfig(f"box names {sorted(self.low)} below and {sorted(self.high)} above")
        for name in self.low:
            if not self.low[name] <= self.high[name]:
                raise InvalidConfig(
                    f"box is empty in {name!r}: [{self.low[name]}, {self.high[name]}]"
                )

    def contains(self, start: Mapping[str, float]) -> bool:
        """Tell whether a start lies in the box; parameters the box does not name are free."""
        return all(self.low[n] <= start[n] <= self.high[n] for n in self.low)

    def portion(self, parameter: str, begin: float, end: float) -> Box:
        """Return the part of the box between two fractions of one parameter's range."""
        if parameter not in self.low:
            raise UnknownName("domain parameter", parameter, self.low)
        if not 0.0 <= begin < end <= 1.0:
            raise InvalidConfig(f"portion [{begin}, {end}] of {parameter!r}: need 0 <= a < b <= 1")
        origin, width = self.low[parameter], self.high[parameter] - self.low[parameter]
        return Box(
            low={**self.low, parameter: origin + begin * width},
            high={**self.high, parameter: origin + end * width},
        )

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return plain data; ``Box(**data)`` reads it back."""
        return {"low": dict(self.low), "high": dict(self.high)}


@dataclass(frozen=True, kw_only=True, slots=True)
class WorldStep:
    """What a world answers to one action."""

    observation: Observation
    evidence: np.ndarray
    """float64 ``(E,)``, named by :attr:`Scenario.evidence`."""
    applied: np.ndarray
    """float32 ``(A,)``: what the actuators got."""
    ended: bool = False
    """The world has nothing more to show (task done, or a state it cannot leave)."""


class World(Protocol):
    """A place where one robot acts, at the rate of its interface."""

    def reset(self, seed: int) -> Observation:
        """Start over; the seed alone fixes the start."""
        ...

    def step(self, action: np.ndarray) -> WorldStep:
        """Apply one action, float32 ``(A,)``, for ``1 / rate_hz`` seconds of world time."""
        ...

    def close(self) -> None:
        """Release what the world holds (renderer, simulator); idempotent."""
        ...


class Verifier(Protocol):
    """Concludes from recorded evidence, and from nothing else, how an episode ended."""

    @property
    def name(self) -> str:
        """Name and version, ``"metaworld-state/1"``."""
        ...

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one episode from its evidence ``(T, E)``; pure, so anyone can repeat it."""
        ...


@runtime_checkable
class Scenario(Protocol):
    """A world with a checkable outcome."""

    # Properties, so that frozen dataclasses and plain attributes both fit.
    @property
    def id(self) -> str:
        """Versioned, ``"button-press-v1"``; any change of behaviour raises the version."""
        ...

    @property
    def instruction(self) -> str:
        """What to do, in words; in general words, if it differs (:class:`ManyTasks`)."""
        ...

    @property
    def interface(self) -> Interface:
        """What a policy sees and commands."""
        ...

    @property
    def evidence(self) -> tuple[str, ...]:
        """Names of the evidence columns, with units."""
        ...

    @property
    def domain(self) -> Box:
        """The operating domain: where it claims anything."""
        ...

    @property
    def max_steps(self) -> int:
        """Control steps after which an episode is over."""
        ...

    @property
    def verifier(self) -> Verifier:
        """Judges an episode from its evidence."""
        ...

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts, without simulating."""
        ...

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Build the world, with another body or image side if asked.

        Raises:
            UnknownName: There is no such body.
        """
        ...

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return what acts in ``world`` to make a source episode of that kind.

        Raises:
            UnknownName: The scenario cannot make that kind (it has no expert, say).
        """
        ...


@runtime_checkable
class ManyTasks(Protocol):
    """A scenario that asks for something else at every start."""

    def instruction_at(self, seed: int) -> str:
        """Return what a seed asks for, in words; its world's observations say the same."""
        ...


def instruction_for(scenario: Scenario, seed: int) -> str:
    """Return what a scenario asks for at a seed: one thing always, or what that seed says."""
    return (
        scenario.instruction_at(seed) if isinstance(scenario, ManyTasks) else scenario.instruction
    )


def seeds_in(
    scenario: Scenario, split: Split, box: Box | None = None, *, first: int = 0
) -> Iterator[int]:
    """Yield the seeds of a split, in order, whose start lies in ``box`` (default: all).

    Raises:
        InvalidConfig: 100,000 seeds in a row start outside the box.
    """
    misses = 0
    for index in range(first, SPLIT_SIZE):
        seed = split_seed(split, index)
        if box is None or box.contains(scenario.start(seed)):
            misses = 0
            yield seed
        elif (misses := misses + 1) >= 100_000:
            raise InvalidConfig(
                f"no start of {scenario.id} in 100,000 seeds lies in {box}; "
                f"its domain is {scenario.domain}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A wish for source episodes: how many of which kind, body and part of the domain."""

    kind: SourceKind
    count: int
    body: str = "robot"
    box: Box | None = None
    """Starts to cover; None for the whole domain."""
    first: int = field(default=0)
    """Index in the train split from which seeds are taken, so that requests do not overlap."""
