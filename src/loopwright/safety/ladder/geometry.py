"""How far points are from walls and keep-out volumes, and which way leads there.

Shapes: M points, W walls, S keep-outs, H = W + S hazards (the walls first).
"""

from __future__ import annotations

import numpy as np

from loopwright.safety.limits import Limits


class Hazards:
    """The walls and keep-outs of some limits, seen from a fixed number of points."""

    def __init__(self, limits: Limits, points: int) -> None:
        """Collect them, and lay out the answers."""
        walls, keep_outs = limits.walls, limits.keep_outs
        self.walls, self.count = len(walls), len(walls) + len(keep_outs)
        self._inward = np.array([w.inward for w in walls]).reshape(len(walls), 3)
        on_walls_m = np.array([w.point_m for w in walls]).reshape(len(walls), 3)
        self._offset_m = (on_walls_m * self._inward).sum(1)
        low_m = np.array([k.low_m for k in keep_outs]).reshape(len(keep_outs), 3)
        high_m = np.array([k.high_m for k in keep_outs]).reshape(len(keep_outs), 3)
        self._centre_m = (low_m + high_m) / 2
        # Of the boxes, as seen from their centres.
        self._low_m, self._high_m = (low_m - high_m) / 2, (high_m - low_m) / 2
        self._radius_m = np.array([k.radius_m for k in keep_outs])
        self.distance_m = np.zeros((points, self.count))
        """``(M, H)``, signed; negative where a point may not be."""
        self.towards = np.zeros((points, self.count, 3))
        """``(M, H, 3)``: unit vectors along which the distances shrink."""
        self.towards[:, : self.walls] = -self._inward
        self._to_walls_m = self.distance_m[:, : self.walls]
        self._to_keep_outs_m = self.distance_m[:, self.walls :]
        self._towards_keep_outs = self.towards[:, self.walls :]

    def look(self, points_m: np.ndarray) -> None:
        """Fill distances and directions for ``points_m (M, 3)``."""
        np.subtract(points_m @ self._inward.T, self._offset_m, out=self._to_walls_m)
        apart = self._centre_m - points_m[:, None]
        outside = apart - np.minimum(np.maximum(apart, self._low_m), self._high_m)
        length_m = np.sqrt(np.add.reduce(outside * outside, 2))
        if length_m.all():
            np.subtract(length_m, self._radius_m, out=self._to_keep_outs_m)
        else:
            self._point_out(apart, outside, length_m)
        np.divide(outside, length_m[..., None], out=self._towards_keep_outs)

    def _point_out(self, apart: np.ndarray, outside: np.ndarray, length_m: np.ndarray) -> None:
        """Treat points inside a box: the nearest face is the way out, and the depth counts."""
        inside = length_m == 0.0
        depth_m = np.minimum.reduce(self._high_m - np.abs(apart), 2) * inside
        np.subtract(length_m - depth_m, self._radius_m, out=self._to_keep_outs_m)
        for point, box in np.argwhere(inside):
            axis = int((self._high_m[box] - np.abs(apart[point, box])).argmin())
            outside[point, box, axis] = np.copysign(1.0, apart[point, box, axis])
        length_m[inside] = 1.0
