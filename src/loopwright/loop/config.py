"""The configuration of a loop: plain, frozen, saved whole with the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.core.scenario import Box, Request
from loopwright.core.source import entry_digest, find_entry
from loopwright.core.stage import ProgressSink
from loopwright.loop.gate import GateConfig
from loopwright.safety.certificate.claims import Level, bound_of
from loopwright.safety.certificate.document import MAX_VALID_DAYS

MAX_SEEDS = 50
"""Each seed of a loop has its own block of every split. Together these blocks end below the sealed
seeds that certificates take (:data:`loopwright.loop.certification.FIRST_SEED`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusPlan:
    """A corpus to learn from, and how to come by it."""

    entry: str
    """``"package.module:function"`` or ``"path/to/file.py:function"``; ``function(**config,
    progress=sink)`` builds the corpus or finds it built, and returns its path."""
    config: Mapping[str, Json] = field(default_factory=dict)
    """The function's arguments as plain data. With the code they fix the corpus."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """What turns episodes, and corpora if there are any, into a candidate."""

    entry: str
    """``"package.module:function"`` or ``"path/to/file.py:function"``, a
    :data:`loopwright.core.learner.LearnFunction`."""
    config: Mapping[str, Json] = field(default_factory=dict)
    """The function's configuration as plain data; it refuses keys it does not know."""
    corpora: tuple[CorpusPlan, ...] = ()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Learner:
        """Read what :func:`dataclasses.asdict` made of one."""
        corpora = tuple(CorpusPlan(**plan) for plan in data.get("corpora", ()))
        return cls(entry=data["entry"], config=data["config"], corpora=corpora)


def build_corpora(learner: Learner, progress: ProgressSink) -> list[Path]:
    """Build the corpora of a learner, or find them built."""
    return [find_entry(c.entry, "corpus")(**c.config, progress=progress) for c in learner.corpora]


def foreign_code(learner: Learner) -> dict[str, Json]:
    """Return the digest of the code behind every entry of a learner that is not Loopwright's own.

    Raises:
        InvalidConfig: An entry names a file that does not exist.
    """
    entries = [learner.entry, *(corpus.entry for corpus in learner.corpora)]
    digests = {entry: entry_digest(entry) for entry in entries}
    return {entry: digest for entry, digest in digests.items() if digest is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class SeekConfig:
    """How the loop asks for data where the champion fails: video first, labels last."""

    videos: int = 20
    """Videos asked for when a region is seen to fail for the first time."""
    demos: int = 1
    """Labelled demonstrations asked for when video of the region did not help."""
    body: str = "robot"
    """Whose body the videos show."""

    def __post_init__(self) -> None:
        """Refuse negative counts."""
        if self.videos < 0 or self.demos < 0:
            raise InvalidConfig(f"seek counts must be >= 0, got {self.videos} and {self.demos}")


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundPlan:
    """One planned turn: what data to add and how to make a challenger from all of it."""

    label: str
    """For people: what this round tries."""
    learner: Learner
    requests: tuple[Request, ...] = ()
    """Source episodes to add."""
    seek: SeekConfig | None = None
    """Also ask for data where the champion fails."""
    own_successes: bool = False
    """Also train on the champions' own verified successes on train seeds."""
    planted: bool = False
    """The challenger is worthless on purpose, to show the gate at work; reports say so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateConfig:
    """The certificate that a challenger must hold before it is promoted, and how it is tested."""

    level: Level
    """Violations per episode, with the filter on: D at most 5 %, C 1 %, B 0.1 %."""
    rig: str | None = None
    """Where the robot and its limits come from; None takes the one built in for the scenario."""
    task_failure: float | None = None
    """Also show that the task fails less often than this, with the filter on."""
    unfiltered: int | None = None
    """Without the filter run so many episodes and state what happened; None: show the level."""
    strata: Mapping[str, int] = field(default_factory=dict)
    """Domain parameter to number of equal parts, each of which must show every claim."""
    episodes: int | None = None
    """Sealed seeds a stratum; None takes what the level usually needs."""
    valid_days: float = 90
    """How long a certificate is to hold."""
    demo_keys: bool = False
    """Unless the keys of people are named, both signatures come from keys made on the spot. Then
    one process signs twice, which shows the machinery and nobody's judgement."""

    def __post_init__(self) -> None:
        """Refuse levels and bounds that there are not."""
        bound_of(self.level)
        if self.task_failure is not None and not 0 < self.task_failure < 1:
            raise InvalidConfig(f"task_failure {self.task_failure}; expected above 0 and below 1")
        if not 0 < self.valid_days <= MAX_VALID_DAYS:
            raise InvalidConfig(
                f"valid_days {self.valid_days}; expected above 0 and at most {MAX_VALID_DAYS}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """A whole loop."""

    name: str
    scenario: str
    """A scenario id, or the path of a scenario file."""
    certificate: CertificateConfig | None
    """What a challenger must hold to be promoted. Said by every recipe: None, for what moves no
    robot, also means that nothing of this loop can be deployed."""
    genesis: RoundPlan
    """Round 0: makes the first champion."""
    rounds: tuple[RoundPlan, ...]
    """Rounds 1, 2, ...: each makes one challenger, which meets the champion at the gate."""
    gate: GateConfig = field(default_factory=GateConfig)
    operate_episodes: int = 20
    """Episodes that the champion runs on train seeds after each round, recorded and verified."""
    sealed_episodes: int = 50
    """Sealed seeds on which first and last champion are compared when the loop ends."""
    film_px: int = 240
    """Side of the images in films; they are re-rendered from recorded actions."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that cannot be run."""
        if self.operate_episodes < 1 or self.sealed_episodes < 0:
            raise InvalidConfig(
                f"loop {self.name!r}: operate_episodes must be >= 1 and sealed_episodes >= 0, "
                f"got {self.operate_episodes} and {self.sealed_episodes}"
            )
        if not 0 <= self.seed < MAX_SEEDS:
            raise InvalidConfig(f"seed is {self.seed}; expected 0 to {MAX_SEEDS - 1}")
        if self.film_px < 16 or self.film_px % 2:
            raise InvalidConfig(f"film_px must be even and at least 16, got {self.film_px}")

    @property
    def plans(self) -> tuple[RoundPlan, ...]:
        """All rounds in order; index 0 is the genesis."""
        return (self.genesis, *self.rounds)

    def refuse_overlaps(self) -> None:
        """Refuse two requests that would record the same starts in the same way.

        Not when a configuration is made: runs of earlier versions are read though they had some. A
        request passes over starts outside its box and those on which its expert fails, so requests
        that follow each other closely may still share some; these are counted once.

        Raises:
            InvalidConfig: Two requests overlap.
        """
        planned = [(i, r) for i, plan in enumerate(self.plans) for r in plan.requests]
        for (index, one), (later, other) in combinations(planned, 2):
            alike = (one.kind, one.body) == (other.kind, other.body) and _meet(one.box, other.box)
            first = max(one.first, other.first)
            last = min(one.first + one.count, other.first + other.count) - 1
            if alike and first <= last:
                raise InvalidConfig(
                    f"loop {self.name!r}: a {one.kind} request of round {index} and one of round "
                    f"{later} both record the starts {first} to {last}, and the same start twice "
                    f"is one episode. Give the second first={one.first + one.count} or more"
                )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LoopConfig:
        """Read what :meth:`to_json` wrote."""
        fields = dict(data)
        fields["genesis"] = _plan(data["genesis"])
        fields["rounds"] = tuple(_plan(p) for p in data["rounds"])
        fields["gate"] = GateConfig(**data["gate"])
        asked = data.get("certificate")  # runs of earlier versions asked for none
        fields["certificate"] = CertificateConfig(**asked) if asked is not None else None
        return cls(**fields)


def _meet(one: Box | None, other: Box | None) -> bool:
    """Tell whether two boxes share starts; None is the whole domain."""
    if one is None or other is None:
        return True
    return all(
        max(one.low[name], other.low[name]) < min(one.high[name], other.high[name])
        or (one.low[name], one.high[name]) == (other.low[name], other.high[name])
        for name in one.low.keys() & other.low.keys()
    )


def request_from_json(data: Mapping[str, Any]) -> Request:
    """Read a request from plain data (``dataclasses.asdict`` writes it)."""
    box = data["box"]
    return Request(**{**data, "box": Box(**box) if box is not None else None})


def _plan(data: Mapping[str, Any]) -> RoundPlan:
    return RoundPlan(
        label=data["label"],
        learner=Learner.from_json(data["learner"]),
        requests=tuple(request_from_json(r) for r in data["requests"]),
        seek=SeekConfig(**data["seek"]) if data["seek"] is not None else None,
        own_successes=data["own_successes"],
        planted=data["planted"],
    )
