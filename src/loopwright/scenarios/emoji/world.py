"""A canvas that is painted from the top down, one row of pixels a control step.

Shapes: S side of the picture in pixels, A = 3 S numbers of a row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loopwright.core.canvas import CANVAS, canvas_interface, row_names
from loopwright.core.errors import WorldError
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep

_BARE = 226
"""Grey of what is not painted yet; the pictures stand on white."""


def canvas_evidence(side_px: int) -> tuple[str, ...]:
    """Return the evidence columns: the colours of the row just painted, 0 to 255."""
    return tuple(f"{name}_of_255" for name in row_names(side_px))


class CanvasWorld:
    """A square that remembers what is painted on it, and whose episode ends when it is full."""

    def __init__(
        self, *, side_px: int, image_px: int, instruction_at: Callable[[int], str]
    ) -> None:
        """Put up a canvas.

        Args:
            side_px: Its side.
            image_px: Side of its image; pixels are repeated to fill it.
            instruction_at: What a seed asks for.
        """
        self.interface = canvas_interface(side_px)
        self._side_px = side_px
        self._shown = np.arange(image_px) * side_px // image_px
        self._instruction_at = instruction_at
        self._instruction = ""
        self._canvas = np.full((side_px, side_px, 3), _BARE, dtype=np.uint8)
        self._painted = 0

    def reset(self, seed: int) -> Observation:
        """Wipe the canvas and ask for what the seed says."""
        self._instruction = self._instruction_at(seed)
        self._canvas[:] = _BARE
        self._painted = 0
        return self._observation()

    def step(self, action: np.ndarray) -> WorldStep:
        """Paint the next row, float32 ``(A,)`` in [0, 1].

        Raises:
            WorldError: The canvas is full.
        """
        if self._painted == self._side_px:
            raise WorldError(f"all {self._side_px} rows are painted; reset() wipes the canvas")
        applied = self.interface.action.clip(action)
        row = np.round(applied * 255)
        self._canvas[self._painted] = row.reshape(-1, 3)
        self._painted += 1
        return WorldStep(
            observation=self._observation(),
            evidence=row.astype(np.float64),
            applied=applied,
            ended=self._painted == self._side_px,
        )

    def close(self) -> None:
        """Hold nothing, release nothing."""

    def _observation(self) -> Observation:
        return Observation(
            images={CANVAS: self._canvas[np.ix_(self._shown, self._shown)]},
            proprio=np.array([self._painted], dtype=np.float32),
            instruction=self._instruction,
            time_s=self._painted / self.interface.rate_hz,
        )
