"""What a round leaves behind: one plain record, kept in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from loopwright.core.digest import Json
from loopwright.core.episode import Outcome
from loopwright.core.scenario import Request
from loopwright.loop.config import request_from_json

RoundDecision = Literal["genesis", "promote", "refuse", "blocked"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StageName:
    """A stage that a round ran or found finished."""

    name: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Trials:
    """One candidate's tries at an ordered list of seeds."""

    candidate: str
    seeds: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    episodes: tuple[str, ...]

    @property
    def successes(self) -> int:
        """How many verdicts were ``success``."""
        return self.outcomes.count("success")

    @property
    def decided(self) -> int:
        """How many verdicts were not ``unknown``."""
        return len(self.outcomes) - self.outcomes.count("unknown")

    def then(self, later: Trials) -> Trials:
        """Return these trials followed by later ones of the same candidate."""
        return Trials(
            candidate=self.candidate,
            seeds=self.seeds + later.seeds,
            outcomes=self.outcomes + later.outcomes,
            episodes=self.episodes + later.episodes,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Certification:
    """What came of testing a challenger that the gate would promote.

    Holds nothing that another pair of keys, or another hour, would change: who signed, and until
    when it holds, is in the register, under the plan.
    """

    level: str
    """What the recipe asks for."""
    plan: str
    """Digest of the test plan."""
    attempt: int
    """Which plan for this candidate, scenario and robot it was, from 1."""
    claims: tuple[Mapping[str, Json], ...]
    """What was to be shown, with what was counted."""
    holds: bool
    """Whether the certificate was in force when it was decided."""
    reason: str
    """One sentence for a person."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Certification:
        """Read what :func:`dataclasses.asdict` made of one."""
        return cls(**{**data, "claims": tuple(data["claims"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundRecord:
    """One turn of the loop, whole: data, challenger, trials, decision, operation."""

    index: int
    label: str
    requests: tuple[Request, ...]
    """What was asked for in this round."""
    added: tuple[tuple[str, ...], ...]
    """Ids of the episodes that came of each request."""
    demonstrations: int
    """Labelled demonstrations spent so far."""
    snapshot: str
    challenger: str
    champion_before: str | None
    champion_after: str
    decision: RoundDecision
    reason: str
    gate: Mapping[str, Json] | None
    """The gate's decision as plain data; None for the genesis."""
    floor: Mapping[str, Json] | None
    """The comparison with the first champion, if the gate came to it."""
    gate_report: str | None
    """Digest of the stored gate report."""
    champion_trials: Trials | None
    challenger_trials: Trials | None
    operated: Trials
    """The champion's recorded episodes after the decision."""
    certification: Certification | None = None
    """What testing showed, if the gate said yes and the recipe asks for a certificate."""
    surprise: tuple[float, ...] = ()
    """Mean forward error per operated episode, if the candidate can tell."""
    agreement: tuple[float, ...] = ()
    """Mean agreement of its motion models per operated episode, if it has any."""
    fit: Mapping[str, Json] = field(default_factory=dict)
    """What the learner said."""
    stages: tuple[StageName, ...] = ()
    """The stages of this round, in order."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RoundRecord:
        """Read what :meth:`to_json` wrote."""
        fields = dict(data)
        fields["requests"] = tuple(request_from_json(r) for r in data["requests"])
        for name in ("champion_trials", "challenger_trials", "operated"):
            fields[name] = _trials(data[name])
        fields["added"] = tuple(tuple(ids) for ids in data["added"])
        fields["surprise"] = tuple(data["surprise"])
        fields["agreement"] = tuple(data.get("agreement", ()))  # nor have they this
        fields["stages"] = tuple(StageName(**stage) for stage in data["stages"])
        tested = data.get("certification")  # runs of earlier versions have none
        fields["certification"] = Certification.from_json(tested) if tested else None
        return cls(**fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Filmed:
    """One sealed start as the first and as the last champion met it, as stored films."""

    seed: int
    first: str
    """Digest of the film of the first champion."""
    last: str
    """Digest of the film of the last champion."""
    first_outcome: Outcome
    last_outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What is made once the last round is over: a sealed comparison, and things to look at."""

    first: Trials
    """The first champion on the sealed seeds."""
    last: Trials
    """The last champion on the same seeds."""
    films: tuple[Filmed, ...] = ()
    foresight: str | None = None
    """Digest of stored imagined and real frames, if the last champion can imagine."""
    stages: tuple[StageName, ...] = ()

    @property
    def objects(self) -> tuple[str, ...]:
        """Digests of everything that there is to look at."""
        films = [digest for film in self.films for digest in (film.first, film.last)]
        return (*films, self.foresight) if self.foresight else tuple(films)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ending:
        """Read what :meth:`to_json` wrote."""
        first, last = _trials(data["first"]), _trials(data["last"])
        assert first is not None
        assert last is not None
        return cls(
            first=first,
            last=last,
            films=tuple(Filmed(**film) for film in data["films"]),
            foresight=data["foresight"],
            stages=tuple(StageName(**stage) for stage in data["stages"]),
        )


def _trials(data: Mapping[str, Any] | None) -> Trials | None:
    if data is None:
        return None
    return Trials(
        candidate=str(data["candidate"]),
        seeds=tuple(data["seeds"]),
        outcomes=tuple(data["outcomes"]),
        episodes=tuple(data["episodes"]),
    )
