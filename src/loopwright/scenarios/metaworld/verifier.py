"""Success by the published criterion, recomputed from recorded distances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loopwright.scenarios.judgement import EvidenceVerifier, Judgement

EVIDENCE: tuple[str, ...] = ("object_to_target_m", "tcp_to_object_m", "simulator_success")
"""Columns of the evidence: how far the task is from done, how far the gripper is from the object,
and what the simulator itself says (1 or 0)."""


def distance_verifier(success_within_m: float) -> EvidenceVerifier:
    """Return the verifier of a task that is done within a distance of its target."""
    return EvidenceVerifier(
        name=f"metaworld-distance/1 within {success_within_m} m",
        columns=EVIDENCE,
        judge=DistanceJudge(success_within_m=success_within_m),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DistanceJudge:
    """Success when the object comes within a distance of its target at any control step.

    The simulator's own opinion is recorded beside the distance; where the two disagree, the
    outcome is unknown.
    """

    success_within_m: float

    def __call__(self, evidence: Mapping[str, np.ndarray]) -> Judgement:
        """Judge one episode from the columns of :data:`EVIDENCE`."""
        distance_m = evidence["object_to_target_m"]
        reached = distance_m <= self.success_within_m
        claimed = evidence["simulator_success"] > 0.5
        if (reached != claimed).any():
            step = int(np.argmax(reached != claimed))
            return Judgement.unknown(
                f"at step {step} the distance is {distance_m[step]:.4f} m (criterion "
                f"{self.success_within_m} m), but the simulator says "
                f"{'success' if claimed[step] else 'no success'}"
            )
        if reached.any():
            return Judgement(
                outcome="success",
                score=1.0,
                reason=f"within {self.success_within_m} m of the target "
                f"at step {int(np.argmax(reached))}",
            )
        return Judgement(
            outcome="failure",
            score=self._progress(distance_m),
            reason=f"came within {distance_m.min():.4f} m of the target, "
            f"the criterion is {self.success_within_m} m",
        )

    def _progress(self, distance_m: np.ndarray) -> float:
        """Return the share of the initial distance that was covered, in [0, 0.99]."""
        to_cover_m = distance_m[0] - self.success_within_m
        return float(np.clip((distance_m[0] - distance_m.min()) / to_cover_m, 0.0, 0.99))
