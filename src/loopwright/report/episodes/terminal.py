"""Episodes at a terminal: rich objects for the command line to print, 80 columns wide or more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loopwright.core.episode import Annotation, Verdict
from loopwright.report import wording
from loopwright.report.episodes.blocks import half_blocks, sparkline
from loopwright.report.episodes.cards import facts_of
from loopwright.report.episodes.story import JUDGEMENT_BADGES, EpisodeStory, Footage, SnapshotStory
from loopwright.report.terminal import pairs
from loopwright.report.wording import quantity
from loopwright.store.curate import JUDGEMENTS, Judgement

_STYLES: Mapping[Judgement, str] = {
    "success": "blue",
    "failure": "red",
    "unknown": "yellow",
    "unjudged": "dim",
}
_CURVE_CELLS = 14
_LONG_CURVE_CELLS = 26


def snapshots_table(snapshots: Sequence[tuple[str, SnapshotStory]]) -> Table:
    """Return one row per snapshot, under the beginning of its digest: what is in it, and why.

    Args:
        snapshots: When it was saved, and what it holds.
    """
    table = _table()
    table.add_column("snapshot", no_wrap=True)
    table.add_column("saved", no_wrap=True)
    table.add_column("episodes", justify="right", no_wrap=True)
    table.add_column("kinds", max_width=26)
    table.add_column("rule", ratio=1, min_width=14)
    for saved, story in snapshots:
        kinds = {kind: count.total() for kind, count in story.outcomes_by_kind().items()}
        table.add_row(
            story.digest[:12],
            Text(saved, "dim"),
            f"{len(story.rows):,}",
            ", ".join(f"{number:,} {kind}" for kind, number in kinds.items()) or wording.DASH,
            Text(story.rule or wording.DASH),
        )
    return table


def summary(story: SnapshotStory) -> str:
    """Return a snapshot in one line: ``"7 episodes (5 demo, 2 play): 5 success, 2 unjudged"``."""
    kinds = {kind: count.total() for kind, count in story.outcomes_by_kind().items()}
    outcomes = story.outcomes()
    words = wording.count(len(story.rows), "episode")
    if kinds:
        words += f" ({', '.join(f'{n:,} {kind}' for kind, n in kinds.items())})"
        words += ": " + ", ".join(f"{outcomes[o]:,} {o}" for o in JUDGEMENTS if outcomes[o])
    if story.missing:
        words += f"; {len(story.missing):,} no longer on record"
    return words


def snapshot_view(story: SnapshotStory) -> RenderableType:
    """Return what a snapshot holds, and a row for each episode that was read."""
    lines: list[RenderableType] = [
        Text.assemble(("Snapshot ", "bold"), (story.digest[:12], "bold")),
        Text(f"{summary(story)}."),
        Text(story.choice, "dim"),
        Text(),
        _episodes_table(story.episodes),
        *_legend(story.episodes),
    ]
    if story.cut:
        lines += [Text(), Text(f"{story.cut} --limit shows more.", "dim")]
    return Group(*lines)


def _episodes_table(episodes: Sequence[EpisodeStory]) -> Table:
    table = _table()
    table.add_column("episode", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("start", ratio=1, min_width=11)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("action size", no_wrap=True)
    table.add_column("notes", max_width=13)
    for story in episodes:
        table.add_row(
            story.row.id[:10],
            story.row.kind,
            Text(_short_start(story)),
            f"{story.row.num_steps:,}{'*' if story.row.censored else ''}",
            _outcome(story.judgement),
            _effort(story),
            Text(", ".join(dict.fromkeys(note.label for note in story.annotations))),
        )
    return table


def _legend(episodes: Sequence[EpisodeStory]) -> list[Text]:
    """Say what the columns mean, where that is not plain."""
    if not episodes:
        return []
    words = ["action size from ▁ (rest) to █ (the most that is allowed)"]
    names = {tuple(story.row.start) for story in episodes}
    if len(names) == 1 and (start := names.pop()):
        named = [quantity(name) for name in start[:3]]
        said = [f"{name} ({unit})" if unit else name for name, unit in named]
        words.insert(0, "start: " + ", ".join(said))
    if any(story.row.censored for story in episodes):
        words.append("* cut short")
    return [Text(), Text("; ".join(words) + ".", "dim")]


def episode_view(
    story: EpisodeStory, frames: Sequence[np.ndarray] = (), *, columns: int = 80
) -> RenderableType:
    """Return everything about an episode.

    Args:
        story: The episode, with every verdict on it.
        frames: Some frames at even times, uint8 ``(H, W, 3)`` each, to draw above it all.
        columns: Width of the terminal.
    """
    row, footage = story.row, story.footage
    instruction = footage.header.instruction if footage else ""
    start = ", ".join(wording.measure(name, value) for name, value in row.start.items())
    length = wording.count(row.num_steps, "step")
    if footage:
        length += f", {footage.duration_s:.3g} s"
    lines: list[RenderableType] = [
        Text.assemble((f"{row.kind} {row.id}  ", "bold"), _outcome(story.judgement)),
        Text(", ".join(filter(None, [f"“{instruction}”" if instruction else "", start, length]))),
        Text(),
    ]
    if frames:
        lines += [*half_blocks(frames, columns=columns), Text()]
    if story.damage:
        lines += [Text(story.damage, "red"), Text()]
    lines.append(pairs([(n.lower(), v) for n, v in facts_of(story) if n not in ("Id",)]))
    lines += [Text(), Text("Verdicts", "bold"), _verdicts(story)]
    if story.annotations:
        lines += [Text(), Text("Annotations", "bold"), _annotations(story.annotations)]
    if footage and footage.panels:
        lines += [Text(), _curves(footage)]
    return Group(*lines)


def _verdicts(story: EpisodeStory) -> RenderableType:
    if not story.verdicts:
        return Text("none: nobody has judged it", "dim")
    standing_at = max(i for i, v in enumerate(story.verdicts) if v == story.standing)
    table = _table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for index, verdict in enumerate(story.verdicts):
        stands = index == standing_at
        table.add_row(
            Text("→ stands" if stands else "", "dim"), _outcome(verdict.outcome), _said(verdict)
        )
    return table


def _said(verdict: Verdict) -> Text:
    text = Text(wording.sentence(verdict.reason) + " " if verdict.reason else "")
    return text.append(f"{wording.said_by(verdict)}, score {verdict.score:.2g}", "dim")


def _annotations(notes: Sequence[Annotation]) -> Table:
    table = _table(header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for note in notes:
        end = "end" if note.end_step is None else str(note.end_step)
        whole = note.begin_step == 0 and note.end_step is None
        table.add_row(
            Text(note.label, "yellow"),
            "whole" if whole else f"steps {note.begin_step}:{end}",
            Text(note.text + " " if note.text else "").append(f"by {note.author}", "dim"),
        )
    return table


def _curves(footage: Footage) -> Table:
    """Draw each component on its own line, lowest to highest value."""
    table = _table()
    table.add_column("quantity", no_wrap=True, max_width=24)
    table.add_column("lowest", justify="right", no_wrap=True)
    table.add_column("highest", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column(f"over {footage.duration_s:.3g} s", no_wrap=True)
    for panel in footage.panels:
        for index, name in enumerate(panel.names):
            values = np.nan_to_num(panel.values[:, index])
            low, high = float(values.min()), float(values.max())
            curve = sparkline(values, width=_LONG_CURVE_CELLS, low=low, high=high)
            table.add_row(
                Text(f"{panel.vector} {name}"), f"{low:.3g}", f"{high:.3g}", panel.unit, curve
            )
    return table


def _effort(story: EpisodeStory) -> str:
    """Draw how large the actions were, as a share of the largest allowed ones."""
    footage = story.footage
    if footage is None:
        return "damaged"
    actions = [p for p in footage.panels if p.vector == "action"]
    if not actions:
        return wording.DASH
    spec = footage.header.interface.action
    limit = np.maximum(np.abs(spec.low), np.abs(spec.high))
    values = np.concatenate([p.values for p in actions], axis=1)
    order = [spec.index(name) for p in actions for name in p.names]
    scale = np.where(limit[order] > 0, limit[order], 1.0)
    size = np.sqrt(np.mean((np.nan_to_num(values) / scale) ** 2, axis=1))
    return sparkline(size, width=_CURVE_CELLS, low=0.0, high=1.0)


def _short_start(story: EpisodeStory) -> str:
    numbers = [f"{value:.3g}" for value in story.row.start.values()]
    return ", ".join(numbers[:3]) + (", …" if numbers[3:] else "") or f"seed {story.row.seed}"


def _outcome(outcome: Judgement) -> Text:
    _, sign = JUDGEMENT_BADGES[outcome]
    return Text(f"{sign} {outcome}", _STYLES[outcome])


def _table(*, header: bool = True) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        show_header=header,
    )
