"""Painting as acting: a picture is painted row by row, one row a control step.

What paints, what is painted on, and what learns from it agree on this interface alone.

Shapes: S side of the picture in pixels, T = S steps, A = 3 S numbers of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, VectorSpec

CANVAS = "canvas"
"""Name of the camera that looks at the canvas."""


def canvas_interface(side_px: int) -> Interface:
    """Return the interface of a canvas: a row of colours in, the canvas so far out."""
    names = row_names(side_px)
    return Interface(
        cameras=(CameraSpec(name=CANVAS, height_px=side_px, width_px=side_px),),
        proprio=VectorSpec(names=("rows_painted",), units=("1",), low=(0.0,), high=(side_px,)),
        action=VectorSpec(
            names=names,
            units=("1",) * len(names),
            low=(0.0,) * len(names),
            high=(1.0,) * len(names),
        ),
        rate_hz=float(side_px),
    )


def row_names(side_px: int) -> tuple[str, ...]:
    """Return the names of the colours of a row, left to right: ``x0_red, x0_green ...``."""
    return tuple(f"x{x}_{c}" for x in range(side_px) for c in ("red", "green", "blue"))


def is_canvas(interface: Interface) -> bool:
    """Tell whether pictures are painted through an interface."""
    sides = [camera.height_px for camera in interface.cameras if camera.name == CANVAS]
    return bool(sides) and interface.action.names == row_names(sides[0])


def rows_of(picture: np.ndarray) -> np.ndarray:
    """Return the actions that paint a uint8 picture ``(S, S, 3)``, float32 ``(T, A)`` in [0, 1]."""
    return (picture.reshape(len(picture), -1) / 255.0).astype(np.float32)


def picture_of(rows: np.ndarray) -> np.ndarray:
    """Return the uint8 picture ``(S, S, 3)`` that actions ``(T, A)`` in [0, 1] paint.

    Raises:
        InvalidConfig: They paint no whole square.
    """
    steps, numbers = rows.shape
    if numbers != 3 * steps:
        raise InvalidConfig(f"{steps} rows of {numbers} numbers are no square picture")
    return np.round(np.clip(rows, 0, 1) * 255).astype(np.uint8).reshape(steps, steps, 3)


@dataclass(frozen=True, slots=True)
class PaintRequest:
    """What is to be painted, as it stands in an instruction."""

    text: str
    language: str
    style: str

    def to_instruction(self) -> str:
        """Return ``"paint (en, twemoji): red heart"``."""
        return f"paint ({self.language}, {self.style}): {self.text}"

    @classmethod
    def from_instruction(cls, instruction: str) -> PaintRequest:
        """Read what :meth:`to_instruction` wrote.

        Raises:
            InvalidConfig: It asks for something else.
        """
        head, separator, text = instruction.partition("): ")
        language, comma, style = head.removeprefix("paint (").partition(", ")
        if not (head.startswith("paint (") and separator and comma and text):
            raise InvalidConfig(
                f"the instruction {instruction!r} asks for no picture; expected "
                "'paint (LANGUAGE, STYLE): TEXT'"
            )
        return cls(text, language, style)
