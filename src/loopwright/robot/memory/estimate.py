"""Where something is believed to be, and how that belief ages and takes in what is seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from loopwright.robot.sighting import Sighting

JUMP_SIGMAS = 4.0
"""A sighting farther off than so many standard deviations means that the thing was moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A belief about one thing's pose."""

    entity: str
    pose: tuple[float, ...]
    """Position in metres and quaternion wxyz in the world's frame."""
    sigma_m: float
    """Standard deviation of the position at ``time_s``, the same in every direction."""
    time_s: float
    """Wall clock of the last sighting."""
    by: str
    """Who saw it last."""
    version: int
    """Counts changes; a writer that names an older one is refused."""

    @property
    def position_m(self) -> np.ndarray:
        """float64 ``(3,)``."""
        return np.array(self.pose[:3])

    def aged(self, now_s: float, drift_m_per_root_s: float) -> Estimate:
        """Return the belief as sure as it still is: variance grows with time (a random walk)."""
        unseen_s = max(0.0, now_s - self.time_s)
        return replace(self, sigma_m=math.hypot(self.sigma_m, drift_m_per_root_s * unseen_s**0.5))

    def seen(self, sighting: Sighting, drift_m_per_root_s: float) -> Estimate:
        """Return the belief after a sighting: fused by inverse variances, or begun anew.

        What lies too far off was moved meanwhile. Of two sensors at the same moment the surer one
        weighs more; the orientation is that of the last sighting.
        """
        assert sighting.pose is not None
        before = self.aged(sighting.time_s, drift_m_per_root_s)
        new_m = np.array(sighting.pose[:3])
        spread_m = math.hypot(before.sigma_m, sighting.sigma_m)
        away_m = float(np.linalg.norm(new_m - before.position_m))
        changed = replace(self, time_s=sighting.time_s, by=sighting.by, version=self.version + 1)
        if away_m > JUMP_SIGMAS * spread_m or spread_m == 0.0:
            return replace(changed, pose=sighting.pose, sigma_m=sighting.sigma_m)
        weight = before.sigma_m**2 / spread_m**2
        fused_m = before.position_m + weight * (new_m - before.position_m)
        return replace(
            changed,
            pose=(*fused_m.tolist(), *sighting.pose[3:]),
            sigma_m=before.sigma_m * sighting.sigma_m / spread_m,
        )
