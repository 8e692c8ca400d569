"""Pictures as files: what a model painted, and what it is asked to look at.

Shapes: H and W pixels.
"""

from __future__ import annotations

import io
from types import ModuleType
from typing import Final

import numpy as np

from loopwright.core.errors import InvalidConfig, MissingExtra

LARGEST_PX: Final = 4096
"""Longest side of a picture that is read."""
_FORMATS: Final = ("PNG", "JPEG", "WEBP")


def png_of(image_HWC: np.ndarray, *, factor: int = 1) -> bytes:
    """Return a uint8 picture as a PNG file.

    Args:
        image_HWC: The picture.
        factor: How many pixels each of its pixels becomes, along each side.
    """
    grown_HWC = image_HWC.repeat(factor, axis=0).repeat(factor, axis=1)
    file = io.BytesIO()
    _import_pillow().fromarray(grown_HWC).save(file, format="PNG")
    return file.getvalue()


def read_picture(data: bytes, px: int) -> np.ndarray:
    """Return the picture in a file as a square on white, uint8 ``(px, px, 3)``.

    Args:
        data: A PNG, JPEG or WebP file.
        px: Side of the square; the picture is shrunk or grown to fit.

    Raises:
        InvalidConfig: It is none of these, is damaged, or is too large.
    """
    image = _import_pillow()
    try:
        with image.open(io.BytesIO(data), formats=_FORMATS) as opened:
            # Read from the header, before any pixel takes memory.
            if max(opened.size) > LARGEST_PX:
                raise InvalidConfig(
                    f"the picture has {opened.width} x {opened.height} pixels; expected at most "
                    f"{LARGEST_PX} along a side"
                )
            drawn = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        # The library's own message names an address in memory.
        raise InvalidConfig(
            f"the picture cannot be read; expected a whole {', '.join(_FORMATS)} file"
        ) from error
    side = max(drawn.size)
    square = image.new("RGBA", (side, side), "white")
    square.alpha_composite(drawn, ((side - drawn.width) // 2, (side - drawn.height) // 2))
    fitted = square.convert("RGB").resize((px, px), image.Resampling.BOX)
    return np.asarray(fitted, dtype=np.uint8)


def _import_pillow() -> ModuleType:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise MissingExtra("pillow", "serve", "pictures as files") from error
    return Image
