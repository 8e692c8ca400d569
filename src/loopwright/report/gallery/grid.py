"""A picture of paintings for documents: prompt, true, painted and nearest training picture."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.report import svg
from loopwright.report.gallery.story import Painting

_HEADS = ("true", "painted", "nearest learned")
_SIDE_IN, _GAP_IN, _TEXT_IN, _HEAD_IN = 0.62, 0.07, 1.75, 0.28
_DOTS_PER_INCH = 160
_INK, _SOFT, _GOOD, _BAD, _LINE = "#16191d", "#59636e", "#0b5fa5", "#b8430b", "#dfe3e7"


def picture_grid(items: Sequence[Painting], *, columns: int = 2) -> bytes:
    """Return rows of prompt, true, painted and nearest training picture as a PNG on white.

    A tick or cross before the prompt says whether the painting was found right. Letters that the
    font of the figures lacks (it has Latin, Greek, Cyrillic and Arabic) become boxes.

    Args:
        items: Paintings, down the first column and then the next.
        columns: Of such rows side by side.

    Raises:
        InvalidConfig: There is nothing to show.
        MissingExtra: matplotlib is not installed.
    """
    if not items or columns < 1:
        raise InvalidConfig(
            f"a grid of {len(items)} paintings in {columns} columns; expected at least one of both"
        )
    rows = -(-len(items) // columns)
    cell_in = _TEXT_IN + len(_HEADS) * (_SIDE_IN + _GAP_IN) + 3 * _GAP_IN
    width_in = columns * cell_in + _GAP_IN
    height_in = _HEAD_IN + rows * (_SIDE_IN + _GAP_IN) + _GAP_IN
    with svg.drawing(width_in, height_in) as figure:
        figure.set_layout_engine("none")
        figure.set_facecolor("white")
        axes = figure.add_axes((0, 0, 1, 1), frameon=False)
        axes.set(xlim=(0, width_in), ylim=(height_in, 0), xticks=[], yticks=[])
        axes.grid(visible=False)
        for index, item in enumerate(items):
            column, row = divmod(index, rows)
            left_in = _GAP_IN + column * cell_in
            top_in = _HEAD_IN + row * (_SIDE_IN + _GAP_IN)
            if row == 0:
                for place, head in enumerate(_HEADS):
                    axes.text(_picture_left(left_in, place), _HEAD_IN - 0.06, head,
                              color=_SOFT, fontsize=6)  # fmt: skip
            sign, colour = ("✓", _GOOD) if item.is_right else ("✕", _BAD)
            middle_in = top_in + _SIDE_IN / 2
            axes.text(left_in, middle_in, sign, color=colour, fontsize=8, va="center")
            words = textwrap.fill(item.prompt, 26, max_lines=3, placeholder=" …")
            axes.text(left_in + 0.17, middle_in, words, color=_INK, fontsize=7, va="center")
            for place, pixels in enumerate((item.true, item.painted, item.nearest.picture)):
                left = _picture_left(left_in, place)
                axes.imshow(
                    pixels,
                    extent=(left, left + _SIDE_IN, top_in + _SIDE_IN, top_in),
                    interpolation="nearest",
                )
        axes.set(xlim=(0, width_in), ylim=(height_in, 0), aspect="auto")
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def write_grid(items: Sequence[Painting], path: Path, *, columns: int = 2) -> Path:
    """Write :func:`picture_grid` into a file and return its path.

    Raises:
        StorageError: The file cannot be written.
    """
    data = picture_grid(items, columns=columns)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(
            f"the picture {path} could not be written: {error}; free some space or choose "
            "another folder"
        ) from error
    return path


def _picture_left(left_in: float, place: int) -> float:
    return left_in + _TEXT_IN + place * (_SIDE_IN + _GAP_IN)
