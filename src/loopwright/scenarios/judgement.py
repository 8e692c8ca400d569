"""From a judgement to a verdict: what every verifier of recorded evidence shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.episode import EpisodeHeader, Outcome, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How an episode ended, and why."""

    outcome: Outcome
    score: float
    """0 to 1; how far the task got, 1 for success."""
    reason: str
    """One sentence for a person."""

    @classmethod
    def unknown(cls, reason: str) -> Judgement:
        """Return that the evidence does not tell."""
        return cls(outcome="unknown", score=0.0, reason=reason)


Judge = Callable[[Mapping[str, np.ndarray]], Judgement]
"""Concludes from the columns of the evidence, name to float64 ``(T,)``; pure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvidenceVerifier:
    """A verifier made of a judge; evidence that is damaged never reaches the judge."""

    name: str
    """Name and version, ``"my-task/1"``."""
    columns: tuple[str, ...]
    """The evidence columns it needs, in order."""
    judge: Judge

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one episode from its evidence ``(T, len(columns))``.

        The outcome is ``unknown`` when columns differ, rows are missing or a number is not finite.
        """
        judgement = self._damage(header, evidence)
        if judgement is None:
            # The judge sees copies: what it does to them cannot reach the recorded evidence.
            columns = zip(self.columns, np.array(evidence, dtype=np.float64).T, strict=True)
            judgement = self.judge(dict(columns))
        return Verdict(
            episode=header.id,
            outcome=judgement.outcome,
            score=judgement.score,
            verifier=self.name,
            evidence_digest=evidence_digest(header, evidence),
            reason=judgement.reason,
        )

    def _damage(self, header: EpisodeHeader, evidence: np.ndarray) -> Judgement | None:
        if header.evidence != self.columns:
            return Judgement.unknown(
                f"the evidence columns are {header.evidence}, expected {self.columns}"
            )
        if evidence.ndim != 2 or evidence.shape[1] != len(self.columns) or len(evidence) == 0:
            return Judgement.unknown(
                f"the evidence has the shape {evidence.shape}, "
                f"expected (T >= 1, {len(self.columns)})"
            )
        broken = ~np.isfinite(evidence).all(axis=1)
        if broken.any():
            return Judgement.unknown(f"evidence is not finite at step {int(np.argmax(broken))}")
        return None


def evidence_digest(header: EpisodeHeader, evidence: np.ndarray) -> str:
    """Return the digest of exactly what a verifier looks at: names, shape and numbers."""
    values = np.ascontiguousarray(evidence, dtype="<f8")
    label = f"{','.join(header.evidence)};{values.shape};".encode()
    return digest_bytes(label + values.tobytes())
