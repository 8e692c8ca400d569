"""Success by the recorded distance."""

from __future__ import annotations

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.episode import EpisodeHeader, Outcome, Verdict
from loopwright.scenarios.point.task import SUCCESS_WITHIN_M


class GoalVerifier:
    """The goal is reached when the recorded distance was ever small enough."""

    name = "point-distance/1"

    def __call__(self, header: EpisodeHeader, evidence: np.ndarray) -> Verdict:
        """Judge one episode from its distances ``(T, 1)`` in metres."""
        distance_m = evidence[:, 0]
        known = bool(len(distance_m)) and bool(np.isfinite(distance_m).all())
        nearest_m = float(distance_m.min()) if known else float("nan")
        outcome: Outcome = "unknown"
        if known:
            outcome = "success" if nearest_m <= SUCCESS_WITHIN_M else "failure"
        return Verdict(
            episode=header.id,
            outcome=outcome,
            score=min(1.0, SUCCESS_WITHIN_M / max(nearest_m, 1e-9)) if known else 0.0,
            verifier=self.name,
            evidence_digest=digest_bytes(np.ascontiguousarray(evidence).tobytes()),
            reason=(
                f"came within {nearest_m:.3f} m (needs {SUCCESS_WITHIN_M} m)"
                if known
                else "the evidence is missing or not finite"
            ),
        )
