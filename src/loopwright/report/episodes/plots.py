"""Actions and proprioception over time, as small hand-made SVG: hundreds stand on one page.

Matplotlib's drawings are thirty times as heavy. Colours are the variables of the style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from loopwright.report.episodes.story import EpisodeStory, Footage, Panel
from loopwright.report.episodes.ticks import number, round_ticks
from loopwright.report.markup import Html, element, join
from loopwright.report.svg import NUM_SERIES

WIDTH, LEFT, RIGHT = 420, 44, 8
"""Of a drawing and of the margins left and right of its axes, in its own units."""
_TOP, _HEIGHT, _GAP, _BOTTOM = 20, 62, 12, 34
_MAX_POINTS = 80
"""More points than this are closer than two pixels."""
_MAX_NAMES = 6

Scales = Mapping[tuple, tuple[float, float]]


def vector_plot(story: EpisodeStory, vector: str, drawn_on: Scales) -> Html | None:
    """Draw one vector of an episode, an axis per unit; None when there is nothing to draw."""
    footage = story.footage
    panels = [p for p in footage.panels if p.vector == vector] if footage else []
    if footage is None or not panels:
        return None
    shares = _shares(footage)
    parts: list[Html] = []
    top, first = 0, 0
    for panel in panels:
        axes = _Axes(top=top + _TOP, scale=drawn_on.get(panel.scale_key, (0.0, 1.0)))
        parts += [
            _legend(panel, top + 12, first),
            *_bands(story, footage, axes),
            axes.frame(),
            *_lines(panel, shares, axes, first),
        ]
        first += len(panel.names)
        top += _TOP + _HEIGHT + _GAP
    height = top - _GAP + _BOTTOM
    parts.append(_time_axis(footage.duration_s, top - _GAP))
    words = "; ".join(f"{', '.join(p.names)} in {p.unit or '1'}" for p in panels)
    return element(
        "svg",
        *parts,
        class_="plot",
        viewBox=f"0 0 {WIDTH} {height}",
        role="img",
        aria_label=f"{vector} over {footage.duration_s:.3g} s: {words}",
    )


class _Axes:
    """A box to draw in: shares of the episode across, values upwards."""

    def __init__(self, *, top: int, scale: tuple[float, float]) -> None:
        low, high = scale
        pad = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
        self.top = top
        self.low, self.high = low - pad, high + pad
        self.ticks = round_ticks(low, high)

    def x(self, share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        share = (np.asarray(value, float) - self.low) / (self.high - self.low)
        return self.top + _HEIGHT * (1.0 - share)

    def frame(self) -> Html:
        lines, words = [], []
        for tick in self.ticks:
            height = float(self.y(tick))
            lines.append(f"M{LEFT} {height:.1f}H{WIDTH - RIGHT}")
            words.append(_text(LEFT - 6, height + 4, number(tick), "end"))
        return join(element("path", d="".join(lines), class_="grid-line"), *words)


def _shares(footage: Footage) -> np.ndarray:
    if footage.duration_s <= 0:
        return np.zeros(len(footage.time_s))
    return (footage.time_s - footage.time_s[0]) / footage.duration_s


def _lines(panel: Panel, shares: np.ndarray, axes: _Axes, first: int) -> list[Html]:
    drawn = []
    for column in range(len(panel.names)):
        tone = (first + column) % NUM_SERIES
        if panel.requested is not None:
            drawn.append(_line(panel.requested[:, column], shares, axes, f"asked s{tone}"))
        drawn.append(_line(panel.values[:, column], shares, axes, f"s{tone}"))
    return drawn


def _line(values: np.ndarray, shares: np.ndarray, axes: _Axes, tone: str) -> Html:
    chosen = thinned(values)
    points = [
        f"{axes.x(float(s)):.0f} {y:.1f}" if np.isfinite(y) else None
        for s, y in zip(shares[chosen], axes.y(values[chosen]), strict=True)
    ]
    # A gap in the data is a gap in the line.
    path, pen = "", "M"
    for point in points:
        if point is None:
            pen = "M"
        else:
            path, pen = f"{path}{pen}{point}", "L"
    return element("path", d=path, class_=tone)


def thinned(values: np.ndarray, most: int = _MAX_POINTS) -> np.ndarray:
    """Return indices that keep the peaks of every stretch, so that no spike is hidden."""
    if len(values) <= most:
        return np.arange(len(values))
    kept = {0, len(values) - 1}
    for stretch in np.array_split(np.arange(len(values)), most // 2):
        seen = np.nan_to_num(values[stretch])
        kept |= {int(stretch[seen.argmin()]), int(stretch[seen.argmax()])}
    return np.array(sorted(kept))


def _legend(panel: Panel, y: int, first: int) -> Html:
    """Name the lines in their colours and the unit of their axis, above them."""
    shown = panel.names[:_MAX_NAMES]
    names: list[Html] = []
    for index, name in enumerate(shown):
        names.append(element("tspan", name, class_=f"s{(first + index) % NUM_SERIES}", dx=6))
    if more := len(panel.names) - len(shown):
        names.append(element("tspan", f"and {more} more", dx=6))
    unit = f"({panel.unit or '1'})"
    title = element("tspan", f"{panel.vector} {unit}", class_="axis-name")
    asked = element("tspan", "dotted: requested", dx=6) if panel.requested is not None else None
    return element("text", title, *names, asked, x=LEFT, y=y)


def _bands(story: EpisodeStory, footage: Footage, axes: _Axes) -> list[Html]:
    """Shade what someone noted about a stretch; the whole episode needs no shade."""
    bands = []
    for note in story.annotations:
        begin, end = footage.share_of(note.begin_step), footage.share_of(note.end_step)
        if 0.0 < end - begin < 1.0:
            left = axes.x(begin)
            width = axes.x(end) - left
            bands.append(
                element(
                    "rect",
                    x=f"{left:.0f}",
                    y=axes.top,
                    width=f"{width:.0f}",
                    height=_HEIGHT,
                    class_="band",
                )
            )
    return bands


def _time_axis(duration_s: float, bottom: int) -> Html:
    ticks: Sequence[float] = round_ticks(0.0, duration_s, most=6)
    span = duration_s or 1.0
    marks, words = [], []
    for tick in ticks:
        x = LEFT + tick / span * (WIDTH - LEFT - RIGHT)
        marks.append(f"M{x:.0f} {bottom}v4")
        # The last word would leave the drawing.
        side = "end" if x > WIDTH - 24 else "middle"
        words.append(_text(x, bottom + 16, number(tick), side))
    name = _text((LEFT + WIDTH - RIGHT) / 2, bottom + 31, "time (s)", "middle")
    return join(element("path", d="".join(marks), class_="tick"), *words, name)


def _text(x: float, y: float, words: str, anchor: str) -> Html:
    return element("text", words, x=f"{x:.0f}", y=f"{y:.0f}", text_anchor=anchor)
