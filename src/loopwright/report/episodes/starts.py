"""Where in the operating domain the episodes of a snapshot start, one map per scenario."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loopwright.report import wording
from loopwright.report.episodes.story import JUDGEMENT_BADGES, EpisodeStory
from loopwright.report.episodes.ticks import number, round_ticks
from loopwright.report.layout import grid
from loopwright.report.markup import Html, element, join

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 10, 10, 44
_MARKS = {
    "success": "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0",
    "failure": "M-3.4-3.4L3.4 3.4M-3.4 3.4L3.4-3.4",
    "unknown": "M-3.2-3.2h6.4v6.4h-6.4z",
    "unjudged": "M-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0",
}
"""Disc, cross, square and ring: shape says it too, never colour alone."""


def start_maps(episodes: Sequence[EpisodeStory]) -> Html | None:
    """Return a map for each scenario whose starts differ in something; None if none does."""
    scenarios = dict.fromkeys(story.row.scenario for story in episodes)
    drawn = [_map(s, [e for e in episodes if e.row.scenario == s]) for s in scenarios]
    return grid(drawn)


def _map(scenario: str, episodes: Sequence[EpisodeStory]) -> Html | None:
    names = _varying(episodes)
    if not names:
        return None
    x_name, y_name = names[0], names[1] if names[1:] else None
    placed = [e for e in episodes if all(name in e.row.start for name in names[:2])]
    x = np.array([e.row.start[x_name] for e in placed])
    # With one parameter the kinds stand above each other.
    kinds = sorted({e.row.kind for e in placed})
    y = np.array([e.row.start[y_name] if y_name else kinds.index(e.row.kind) for e in placed])
    across, up = _Axis(x, _LEFT, WIDTH - _RIGHT), _Axis(y, HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(), *_x_axis(across, x_name)]
    parts += _y_axis(up, y_name) if y_name else _kind_axis(up, kinds)
    parts += [_dot(e, across.at(a), up.at(b)) for e, a, b in zip(placed, x, y, strict=True)]
    words = f"Starts of {len(placed)} episodes of {scenario}"
    more = f"; it also varies {', '.join(names[2:])}" if names[2:] else ""
    return element(
        "figure",
        element(
            "svg",
            *parts,
            class_="plot starts",
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            role="group",
            aria_label=words,
        ),
        element("figcaption", f"{words}{more}. Each mark leads to its episode. ", _legend(placed)),
    )


class _Axis:
    """From values to a place between two edges of the drawing."""

    def __init__(self, values: np.ndarray, begin: float, end: float) -> None:
        low, high = float(values.min()), float(values.max())
        pad = 0.06 * (high - low) or 0.5
        self._low, self._high = low - pad, high + pad
        self._begin, self._end = begin, end
        self.ticks = round_ticks(low, high, most=5)

    def at(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)


def _varying(episodes: Sequence[EpisodeStory]) -> list[str]:
    """Return the start parameters that are not the same everywhere, widest choice first."""
    values: dict[str, set[float]] = {}
    for story in episodes:
        for name, value in story.row.start.items():
            values.setdefault(name, set()).add(value)
    return [name for name, found in values.items() if len(found) > 1]


def _frame() -> Html:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    return element("path", d=f"M{_LEFT} {_TOP}H{right}V{bottom}H{_LEFT}z", class_="frame-line")


def _x_axis(axis: _Axis, name: str) -> list[Html]:
    bottom = HEIGHT - _BOTTOM
    words = [
        element("text", number(t), x=f"{axis.at(t):.0f}", y=bottom + 16, text_anchor="middle")
        for t in axis.ticks
    ]
    middle = (_LEFT + WIDTH - _RIGHT) // 2
    return [*words, element("text", _named(name), x=middle, y=HEIGHT - 8, text_anchor="middle")]


def _y_axis(axis: _Axis, name: str) -> list[Html]:
    words = [
        element("text", number(t), x=_LEFT - 6, y=f"{axis.at(t) + 4:.0f}", text_anchor="end")
        for t in axis.ticks
    ]
    middle = (_TOP + HEIGHT - _BOTTOM) // 2
    turned = f"translate(12 {middle}) rotate(-90)"
    return [*words, element("text", _named(name), transform=turned, text_anchor="middle")]


def _kind_axis(axis: _Axis, kinds: Sequence[str]) -> list[Html]:
    return [
        element("text", kind, x=_LEFT - 6, y=f"{axis.at(index) + 4:.0f}", text_anchor="end")
        for index, kind in enumerate(kinds)
    ]


def _dot(story: EpisodeStory, x: float, y: float) -> Html:
    outcome = story.judgement
    tone, _ = JUDGEMENT_BADGES[outcome]
    start = ", ".join(wording.measure(n, v) for n, v in story.row.start.items())
    return element(
        "a",
        element("title", f"{story.row.kind}, {outcome}: {start}"),
        element("path", d=_MARKS[outcome], transform=f"translate({x:.1f} {y:.1f})"),
        href=f"#e-{story.row.id}",
        class_=f"dot {outcome} {tone}",
        data_episode=story.row.id,
    )


def _legend(episodes: Sequence[EpisodeStory]) -> Html:
    """Show the marks that occur, each with its word."""
    occurring = {e.judgement for e in episodes}
    return join(
        *(
            element(
                "span",
                element(
                    "svg",
                    element("path", d=_MARKS[outcome], transform="translate(6 6)"),
                    class_=f"plot dot {outcome} {tone}",
                    viewBox="0 0 12 12",
                    aria_hidden="true",
                ),
                outcome,
                class_="mark",
            )
            for outcome, (tone, _) in JUDGEMENT_BADGES.items()
            if outcome in occurring
        )
    )


def _named(name: str) -> str:
    words, unit = wording.quantity(name)
    return f"{words} ({unit})" if unit else words
