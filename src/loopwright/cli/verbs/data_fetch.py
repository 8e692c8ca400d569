"""``loopwright data fetch``: get and prepare public data that is not part of the repository."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from loopwright.core.stage import ProgressSink
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.packages import STYLES, Style

_SAY_EVERY_S = 10.0


def main(
    what: Annotated[Literal["emoji"], tyro.conf.Positional],
    /,
    *,
    px: int = 32,
    styles: tuple[Style, ...] = STYLES,
    cache: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Fetch public data, prepare it in the cache, and say whose work it is.

    What is there already is only read. emoji: drawings in up to three styles with names in 28
    languages, through npm.

    Args:
        what: Which data.
        px: Side of the pictures in pixels, at most 96.
        styles: Drawing styles.
        cache: Folder to keep it in; loopwright in the user's cache folder by default.
        json_output: Print JSON.
    """
    del what  # there is one
    with _progress() as progress:
        emoji = load_emoji(px, styles, cache, progress=progress)
    if json_output:
        corpus = emoji.corpus
        facts = {"path": str(corpus.path), "sha256": corpus.digest, "rows": _rows(emoji)}
        print(json.dumps({**facts, **corpus.facts.to_json()}))
    else:
        _report(emoji)
    return 0


def _rows(emoji: Emoji) -> dict[str, int]:
    return {style: int((emoji.style == style).sum()) for style in emoji.styles}


def _report(emoji: Emoji) -> None:
    corpus = emoji.corpus
    print(f"{corpus.path} ({corpus.path.stat().st_size / 1e6:.1f} MB, sha256 {corpus.digest[:12]})")
    counts = ", ".join(f"{count} {style}" for style, count in _rows(emoji).items())
    print(f"{len(emoji)} pictures of {emoji.px} px: {counts}; {len(emoji.languages)} languages")
    print("Whose work it is; keep these lines with whatever you publish of it:")
    for source in corpus.facts.sources:
        print(f"  {source.package} {source.version} ({source.licence}): {source.attribution}")
        print(f"    changes: {source.changes}")


@contextmanager
def _progress() -> Iterator[ProgressSink]:
    """Yield a sink that draws a bar at a terminal, and writes a line now and then elsewhere."""
    console = Console(stderr=True, highlight=False)
    said_s = 0.0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("emoji", total=1.0)

        def report(fraction: float, message: str) -> None:
            nonlocal said_s
            bar.update(task, completed=fraction, description=message)
            if not console.is_terminal and time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                console.print(f"{fraction:4.0%} {message}")

        yield report
