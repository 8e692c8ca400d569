"""``loopwright score``: what a model can do, and whether it had learned the answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from loopwright.cli.display import stdout_console
from loopwright.cli.progress import progress_bar
from loopwright.cli.scores import WITHHELD, number
from loopwright.recipes.evaluation import UNSAID, score
from loopwright.recipes.scorings import Scoring
from loopwright.train.evaluate.request import Part, TaskRequest


def main(  # noqa: PLR0913  (a command line is wide)
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    /,
    *,
    task: str,
    part: Part = "report",
    lists: tuple[str, ...] = (),
    limit: int | None = None,
    language: str = "en",
    styles: tuple[str, ...] = ("twemoji",),
    data: Path | None = None,
    learned_from: tuple[Path, ...] = (),
    contaminated: bool = False,
    workspace: Path | None = None,
    seed: int = 0,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Score a model on a task, with intervals, and look whether it had learned the items.

    A score on items that the model was trained on is withheld unless you ask for it.

    Args:
        model: Candidate folder, or a language model as Hugging Face writes it.
        task: emoji.captions, emoji.paintings, emoji.grounding, emoji.pictures, perplexity, chat, or
            one of an installed package.
        part: Items to choose settings by (tune), or to report.
        lists: Item lists of the task (emoji: seen, tone, gender ...); all by default.
        limit: Most items of a list, spread evenly over it.
        language: Of the texts.
        styles: Of the drawings.
        data: File with the items: a text (perplexity) or JSON lines of conversations (chat).
        learned_from: Files the model was trained on, beside the corpora in your cache that its
            manifest names.
        contaminated: Show scores on items that the model had learned, too.
        workspace: Keep the result in this workspace, where status and history show it, and do not
            score the same twice.
        seed: Of what is drawn at random.
        json_output: Print JSON.
    """
    request = TaskRequest(
        part=part,
        lists=lists,
        limit=limit,
        language=language,
        styles=styles,
        data=None if data is None else str(data),
    )
    with progress_bar(task) as progress:
        found = score(
            model,
            task,
            request,
            progress,
            seed=seed,
            learned_from=learned_from,
            workspace=workspace,
        )
    if json_output:
        shown = [_plain(scoring, contaminated) for scoring in found]
        print(json.dumps({"model": str(model), "task": task, "part": part, "lists": shown}))
        return 0
    stdout_console().print(_table(found, contaminated))
    for line in _notes(found, contaminated):
        print(line)
    return 0


def _plain(scoring: Scoring, contaminated: bool) -> dict[str, Any]:
    shown = scoring.is_clean or contaminated
    facts = {**scoring.facts, "scores": scoring.facts["scores"] if shown else None}
    return {"list": scoring.name, **facts, "receipt": scoring.receipt}


def _table(found: list[Scoring], contaminated: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("list")
    for name, of in found[0].facts["scores"].items():
        table.add_column(_heading(name, of["unit"]), justify="right")
    for column in ("items", "groups", "learned"):
        table.add_column(column, justify="right")
    for scoring in found:
        scores, known = scoring.facts["scores"], scoring.facts["contamination"]
        shown = scoring.is_clean or contaminated
        numbers = [number(s) if shown else WITHHELD for s in scores.values()]
        first = next(iter(scores.values()))
        learned = f"{len(known['learned'])}" if known["learned"] or scoring.is_checked else "?"
        table.add_row(scoring.name, *numbers, str(first["items"]), str(first["groups"]), learned)
    return table


def _heading(name: str, unit: str) -> str:
    return f"{name} (%)" if unit == "share" else f"{name} ({unit})" if unit else name


def _notes(found: list[Scoring], contaminated: bool) -> list[str]:
    notes = []
    for scoring in found:
        known = scoring.facts["contamination"]
        parts = [
            f"{known[name]} {words}"
            for name, words in (
                ("text_exact", "texts word for word"),
                ("text_overlap", "texts in the main"),
                ("picture_exact", "pictures to the byte"),
                ("picture_near", "pictures that look the same"),
            )
            if known[name]
        ]
        if parts:
            notes.append(f"{scoring.name}: training showed {', '.join(parts)}")
        if not scoring.is_clean and not contaminated:
            notes.append(
                f"{scoring.name}: withheld, for the model was trained on {len(known['learned'])} "
                f"of the {known['items']} items; --contaminated shows it"
            )
    missing = {digest for s in found for digest in s.facts["contamination"]["missing"]}
    if missing:
        names = ", ".join(
            "what it does not name" if m == UNSAID else m[:12] for m in sorted(missing)
        )
        notes.append(f"not looked at, though the model was trained on it: {names} (--learned-from)")
    return notes
