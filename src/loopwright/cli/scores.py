"""Scores in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from loopwright.recipes.scorings import RecordedScoring
from loopwright.report.wording import DASH

WITHHELD = Text("withheld", "yellow")
"""In the place of the score of a model that had learned the items."""


def number(score: Mapping[str, Any]) -> str:
    """Return a score with its interval; shares in per cent."""
    scale, digits = (100, 1) if score["unit"] == "share" else (1, 3)
    low, high = score["low"] * scale, score["high"] * scale
    return f"{score['value'] * scale:.{digits}f} ({low:.{digits}f}{DASH}{high:.{digits}f})"


def scores_table(recorded: Sequence[RecordedScoring]) -> Table:
    """Return a row for each scoring that a workspace keeps, with the headline of its task."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("model", "score"):
        table.add_column(column, no_wrap=True)
    for column in ("task", "list"):
        table.add_column(column, overflow="fold")
    for each in recorded:
        scoring = each.scoring
        table.add_row(
            each.model[:12],
            _headline(scoring.facts["scores"]) if scoring.is_clean else WITHHELD,
            scoring.facts["task"],
            scoring.name,
        )
    return table


def _headline(scores: Mapping[str, Any]) -> str:
    name, first = next(iter(scores.items()))
    return f"{name} {number(first)}{' %' if first['unit'] == 'share' else ''}"
