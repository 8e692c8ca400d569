"""Success by the published criterion, recomputed from recorded distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.episode import EpisodeHeader, Outcome, Verdict

EVIDENCE: tuple[str, ...] = ("object_to_target_m", "tcp_to_object_m", "simulator_success")
"""Columns of the evidence: how far the task is from done, how far the gripper is from the object,
and what the simulator itself says (1 or 0)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceVerifier:
    """Success when the object comes within a distance of its target at any control step.

    The simulator's own opinion is recorded beside the distance; where the two disagree, or where
    the evidence is missing or not finite, the outcome is ``unknown``.
    """

    success_within_m: float
    name: str = "metaworld-distance/1"

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one episode from its evidence, float64 ``(T, 3)``."""
        outcome, score, reason = self._judge(header, evidence)
        return Verdict(
            episode=header.id,
            outcome=outcome,
            score=score,
            verifier=self.name,
            evidence_digest=evidence_digest(header, evidence),
            reason=reason,
            flags={"success_within_m": self.success_within_m},
        )

    def _judge(self, header: EpisodeHeader, evidence: np.ndarray) -> tuple[Outcome, float, str]:
        if header.evidence != EVIDENCE:
            return "unknown", 0.0, f"evidence columns are {header.evidence}, expected {EVIDENCE}"
        if evidence.ndim != 2 or evidence.shape[1] != len(EVIDENCE) or len(evidence) == 0:
            return "unknown", 0.0, f"evidence has the shape {evidence.shape}, expected (T >= 1, 3)"
        if not np.isfinite(evidence).all():
            step = int(np.flatnonzero(~np.isfinite(evidence).all(axis=1))[0])
            return "unknown", 0.0, f"evidence of step {step} is not finite"
        distance_m, claimed = evidence[:, 0], evidence[:, 2] > 0.5
        reached = distance_m <= self.success_within_m
        if (reached != claimed).any():
            step = int(np.flatnonzero(reached != claimed)[0])
            return (
                "unknown",
                0.0,
                (
                    f"at step {step} the distance is {distance_m[step]:.4f} m (criterion "
                    f"{self.success_within_m} m) but the simulator says {bool(claimed[step])}"
                ),
            )
        nearest_m = float(distance_m.min())
        if reached.any():
            step = int(np.flatnonzero(reached)[0])
            return "success", 1.0, f"within {self.success_within_m} m of the target at step {step}"
        return (
            "failure",
            self._progress(distance_m),
            (
                f"came within {nearest_m:.4f} m of the target, "
                f"the criterion is {self.success_within_m} m"
            ),
        )

    def _progress(self, distance_m: np.ndarray) -> float:
        """Return the share of the initial distance that was covered, in [0, 0.99]."""
        to_cover_m = float(distance_m[0]) - self.success_within_m
        covered_m = float(distance_m[0] - distance_m.min())
        return float(np.clip(covered_m / to_cover_m, 0.0, 0.99))


def evidence_digest(header: EpisodeHeader, evidence: np.ndarray) -> str:
    """Return the digest of exactly what a verifier looked at."""
    values = np.ascontiguousarray(evidence, dtype="<f8")
    label = f"{','.join(header.evidence)};{values.shape};".encode()
    return digest_bytes(label + values.tobytes())
