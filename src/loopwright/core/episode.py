"""Episodes and verdicts: what happened, and what a verifier concluded from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from loopwright.core.digest import Json, digest_json
from loopwright.core.errors import ContractError, InvalidConfig
from loopwright.core.interface import Interface

SourceKind = Literal["demo", "play", "video", "attempt"]
"""Where an episode comes from: an expert with actions; undirected motion with actions; images only,
maybe of another body; the candidate's own try."""

Outcome = Literal["success", "failure", "unknown"]

SOURCE_KINDS: tuple[SourceKind, ...] = ("demo", "play", "video", "attempt")
SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeHeader:
    """Everything about an episode that is not a time series."""

    scenario: str
    """Versioned id of the scenario."""
    kind: SourceKind
    seed: int
    """Seed of the start; with the scenario it fixes the start exactly."""
    start: Mapping[str, float]
    """Where in the operating domain the episode began (parameter name to value)."""
    instruction: str
    body: str
    """Whose body moves: ``"robot"``, or another one for video."""
    interface: Interface
    evidence: tuple[str, ...] = ()
    """Names of the evidence columns, in order; empty for video."""
    candidate: str | None = None
    """Digest of the candidate that acted, for an attempt."""
    behaviour: str = ""
    """What else distinguishes how it acted (expert version, noise), in one string."""
    censored: str | None = None
    """Why the recording ends early, if it does (crash, fault); None for a whole episode."""
    scenario_code: str | None = None
    """Digest of the code of a scenario that is not built in: what was recorded before an edit of
    it and what comes after are different episodes."""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse an unknown kind, and a video that claims evidence."""
        if self.kind not in SOURCE_KINDS:
            raise InvalidConfig(f"episode kind {self.kind!r}; expected one of {SOURCE_KINDS}")
        if self.kind == "video" and self.evidence:
            raise InvalidConfig(
                f"a video episode holds images only, but names the evidence {self.evidence}"
            )

    @property
    def id(self) -> str:
        """20 hexadecimal digits that name the cause of the episode.

        The same start, kind, body and candidate give the same id, so a collection that is run
        again after a crash finds what it had already committed.
        """
        cause = {k: v for k, v in self.to_json().items() if k != "censored"}
        return digest_json(cause)[:20]

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        # Left out where there is none, so that ids from before there was such a field stay.
        code = {"scenario_code": self.scenario_code} if self.scenario_code else {}
        return {
            **code,
            "schema_version": self.schema_version,
            "scenario": self.scenario,
            "kind": self.kind,
            "seed": self.seed,
            "start": {k: float(v) for k, v in self.start.items()},
            "instruction": self.instruction,
            "body": self.body,
            "interface": self.interface.to_json(),
            "evidence": list(self.evidence),
            "candidate": self.candidate,
            "behaviour": self.behaviour,
            "censored": self.censored,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpisodeHeader:
        """Read what :meth:`to_json` wrote."""
        fields = dict(data)
        fields["interface"] = Interface.from_json(data["interface"])
        fields["evidence"] = tuple(data["evidence"])
        return cls(**fields)


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One attempt, recorded whole: a header and T rows.

    Row ``t`` holds what was seen before action ``t``, the action, and the evidence after it.
    A ``video`` has images and times and *nothing else*: constructing one with actions,
    proprioception or evidence is an error, so none of them can reach training.
    """

    header: EpisodeHeader
    images: Mapping[str, np.ndarray]
    """Camera name to uint8 ``(T, H, W, 3)``."""
    time_s: np.ndarray
    """float64 ``(T,)``, strictly increasing."""
    proprio: np.ndarray | None = None
    """float32 ``(T, P)``."""
    requested: np.ndarray | None = None
    """float32 ``(T, A)``: the action the policy asked for."""
    applied: np.ndarray | None = None
    """float32 ``(T, A)``: the action the actuators got."""
    evidence: np.ndarray | None = None
    """float64 ``(T, E)``: what the verifier may look at, after the action of the row."""

    def __post_init__(self) -> None:
        """Check that every series has T rows and that a video is only a video."""
        series = {
            "proprio": self.proprio,
            "requested": self.requested,
            "applied": self.applied,
            "evidence": self.evidence,
        }
        kind = self.header.kind
        for name, values in series.items():
            if kind == "video" and values is not None:
                raise ContractError(
                    f"episode {self.header.id} is a video but carries {name}; "
                    "a video holds images and times only"
                )
            if kind != "video" and values is None:
                raise ContractError(f"episode {self.header.id} is a {kind} but lacks {name}")
            if values is not None and len(values) != self.num_steps:
                raise ContractError(
                    f"episode {self.header.id}: {name} has {len(values)} rows, "
                    f"time has {self.num_steps}"
                )
        for camera, frames in self.images.items():
            if len(frames) != self.num_steps:
                raise ContractError(
                    f"episode {self.header.id}: camera {camera!r} has {len(frames)} frames, "
                    f"time has {self.num_steps} rows"
                )

    @property
    def id(self) -> str:
        """The header's id."""
        return self.header.id

    @property
    def num_steps(self) -> int:
        """T, the number of control steps."""
        return len(self.time_s)

    def without_labels(self, *, body: str | None = None) -> Episode:
        """Return the episode as a ``video``: images and times, everything else gone."""
        header = replace(
            self.header, kind="video", evidence=(), candidate=None, body=body or self.header.body
        )
        return Episode(header=header, images=self.images, time_s=self.time_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a verifier concluded from the evidence of one episode."""

    episode: str
    outcome: Outcome
    score: float
    """0 to 1; how far the task got, 1 for success."""
    verifier: str
    """Name and version of the verifier (``"metaworld-state/1"``)."""
    evidence_digest: str
    """Digest of exactly what was looked at."""
    reason: str = ""
    """One sentence for a person."""
    authority: Literal["verifier", "judge", "operator"] = "verifier"
    """A deterministic verifier outranks a model judge, which outranks the operator."""
    flags: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            "episode": self.episode,
            "outcome": self.outcome,
            "score": float(self.score),
            "verifier": self.verifier,
            "evidence_digest": self.evidence_digest,
            "reason": self.reason,
            "authority": self.authority,
            "flags": dict(self.flags),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Read what :meth:`to_json` wrote."""
        return cls(**data)


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotation:
    """What someone noted about a stretch of an episode. Added, never changed; the newest counts."""

    episode: str
    label: str
    """What it is: ``"intervention"`` (a person took over), ``"phase"``, ``"note"``, or any word."""
    author: str
    """Who or what noted it (``"operator/ada"``, ``"segmenter/2"``)."""
    begin_step: int = 0
    end_step: int | None = None
    """One after the last step; None for the end of the episode."""
    text: str = ""
    withdrawn: bool = False
    """Takes back the author's earlier annotation of the same label and stretch."""

    def __post_init__(self) -> None:
        """Refuse an empty label and an empty stretch."""
        if not self.label:
            raise InvalidConfig("an annotation needs a label")
        if self.begin_step < 0 or (self.end_step is not None and self.end_step <= self.begin_step):
            raise InvalidConfig(
                f"annotation {self.label!r} covers the steps {self.begin_step} to {self.end_step}; "
                "expected 0 <= begin < end"
            )

    @property
    def place(self) -> tuple[str, str, int, int | None]:
        """What two annotations have in common when the later replaces the earlier."""
        return (self.label, self.author, self.begin_step, self.end_step)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Annotation:
        """Read what :meth:`to_json` wrote."""
        return cls(**data)
