"""From SVG drawings to pixels: drawn large on white, then averaged down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import av
import numpy as np

from loopwright.core.errors import DamagedData, InvalidConfig, MissingExtra

DRAWN_PX = 96
"""Side at which every drawing is made, before it is averaged down."""

_MOST_ALIASES = 8
"""How many aliases may follow each other before they are taken for a circle."""


class Drawings:
    """The SVG drawings of one icon set, by name.

    The format is Iconify's: a body of SVG elements for each icon, a size for each icon or for all,
    and aliases that name another icon, maybe flipped or turned.
    """

    def __init__(self, icons: Mapping[str, Any], name: str) -> None:
        """Hold an icon set.

        Args:
            icons: The content of ``icons.json``.
            name: What to call it in errors.

        Raises:
            DamagedData: It is no icon set.
        """
        if not isinstance(icons, Mapping) or not isinstance(icons.get("icons"), Mapping):
            raise DamagedData(f"{name} is no icon set: it has no table of icons")
        self._name = name
        self._icons: Mapping[str, Any] = icons["icons"]
        self._aliases: Mapping[str, Any] = icons.get("aliases", {})
        self._size = {side: icons.get(side, 16) for side in ("width", "height")}

    def svg(self, icon: str) -> str:
        """Return the drawing of an icon as a square SVG document.

        Raises:
            DamagedData: There is no such icon, or it has no body or no sensible size.
        """
        turns: list[str] = []
        found, entry = icon, self._icons.get(icon)
        for _ in range(_MOST_ALIASES):
            if entry is not None:
                break
            alias = self._aliases.get(found)
            if not isinstance(alias, Mapping):
                raise DamagedData(f"{self._name} has no icon {found!r}")
            turns.append(_turn(alias))
            found = str(alias.get("parent"))
            entry = self._icons.get(found)
        if not isinstance(entry, Mapping) or not isinstance(entry.get("body"), str):
            raise DamagedData(f"{self._name}: icon {icon!r} has no body")
        box = [entry.get(key, self._size.get(key, 0)) for key in ("left", "top", "width", "height")]
        if not all(isinstance(number, (int, float)) for number in box) or min(box[2:]) <= 0:
            raise DamagedData(f"{self._name}: icon {icon!r} has the box {box}")
        return _document(entry["body"], box, turns)


def _turn(alias: Mapping[str, Any]) -> str:
    """Return an alias's flips and quarter turns as a transform of the unit square's middle."""
    flip = f"scale({-1 if alias.get('hFlip') else 1} {-1 if alias.get('vFlip') else 1})"
    return f"{flip} rotate({90 * int(alias.get('rotate', 0))})"


def _document(body: str, box: list[float], turns: list[str]) -> str:
    left, top, width, height = box
    if turns:
        x, y = left + width / 2, top + height / 2
        around = f"translate({x} {y}) {' '.join(turns)} translate({-x} {-y})"
        body = f'<g transform="{around}">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{DRAWN_PX}" height="{DRAWN_PX}" viewBox="{left} {top} {width} {height}">'
        f"{body}</svg>"
    )


def draw(svg: str) -> np.ndarray:
    """Return a drawing on white, uint8 ``(DRAWN_PX, DRAWN_PX, 3)``.

    Raises:
        MissingExtra: resvg-py is not installed.
        DamagedData: It is no SVG that can be drawn.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise MissingExtra("resvg-py", "emoji", "drawing emoji") from error
    try:
        png = svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    except ValueError as error:
        raise DamagedData(f"a drawing of {len(svg)} characters cannot be drawn: {error}") from error
    decoder = av.CodecContext.create("png", "r")
    (frame,) = decoder.decode(av.Packet(bytes(png)))
    return frame.to_ndarray(format="rgb24")


def reduction(px: int) -> np.ndarray:
    """Return the box filter from DRAWN_PX to ``px`` points, float32 ``(px, DRAWN_PX)``.

    Row ``i`` averages the stretch of drawn points that point ``i`` covers, with the share of it
    that each covers. Reducing in two steps gives the same as in one.

    Raises:
        InvalidConfig: ``px`` is not within 1 to DRAWN_PX.
    """
    if not 1 <= px <= DRAWN_PX:
        raise InvalidConfig(f"emoji of {px} px; expected 1 to {DRAWN_PX}")
    edges = np.arange(px + 1) * (DRAWN_PX / px)
    points = np.arange(DRAWN_PX)
    begin = np.maximum(edges[:-1, None], points)
    end = np.minimum(edges[1:, None], points + 1)
    return (np.maximum(end - begin, 0) * (px / DRAWN_PX)).astype(np.float32)


def reduce(pixels: np.ndarray, px: int) -> np.ndarray:
    """Average a drawing down.

    Args:
        pixels: uint8 ``(DRAWN_PX, DRAWN_PX, 3)``.
        px: Side of the result.

    Returns:
        uint8 ``(px, px, 3)``.
    """
    weights = reduction(px)
    wide = np.einsum("ih,hwc->iwc", weights, pixels.astype(np.float32), optimize=True)
    small = np.einsum("jw,iwc->ijc", weights, wide, optimize=True)
    return np.rint(small).astype(np.uint8)
