"""What a model may learn from: the emoji without what is held out, as a corpus of pairs.

One row for each picture, its weight, its style, and a text for each language: its name, where the
name may be learned, else nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.digest import digest_json
from loopwright.core.stage import ProgressSink
from loopwright.scenarios.emoji.corpus import Emoji, cache_folder, load_emoji
from loopwright.scenarios.emoji.packages import STYLES
from loopwright.scenarios.emoji.splits import DIGEST, load_splits, sampling_weights
from loopwright.store.corpus import (
    CorpusMissing,
    array_column,
    open_corpus,
    write_corpus,
)

NAME = "emoji-pairs"


def build_pairs(
    px: int = 32,
    styles: Sequence[str] = STYLES,
    languages: Sequence[str] = ("en",),
    cache: Path | None = None,
    *,
    groups: Sequence[str] = (),
    progress: ProgressSink | None = None,
) -> Path:
    """Return the corpus that a model is trained on, which is built the first time.

    Args:
        px: Side of the pictures.
        styles: Drawing styles.
        languages: Languages of the texts.
        cache: Folder for packages and corpora; the user's by default.
        groups: Unicode groups to keep, without skin tones; all, if there are none.
        progress: Told how far building is.

    Raises:
        UnknownName: There is no such style or language.
        FetchFailed: There is no network, or the registry refused.
    """
    emoji = load_emoji(px, styles, cache, progress=progress)
    settings = {"emoji": emoji.corpus.digest, "splits": DIGEST, "languages": sorted(languages)}
    if groups:
        settings["groups"] = sorted(groups)
    folder = (cache or cache_folder()) / "emoji"
    path = folder / f"{NAME}-{digest_json(settings)[:16]}.parquet"
    try:
        return open_corpus(path, name=NAME).path
    except CorpusMissing:
        facts = replace(emoji.corpus.facts, name=NAME, version=1, settings=settings)
        return write_corpus(path, _table(emoji, sorted(languages), groups), facts=facts).path


def _table(emoji: Emoji, languages: Sequence[str], groups: Sequence[str]) -> pa.Table:
    splits = load_splits()
    kept = np.flatnonzero(np.isin(emoji.group, groups) & (emoji.tones[:, 0] == 0))
    shown = {language: splits.train_rows(emoji, language) for language in languages}
    if groups:
        shown = {language: np.intersect1d(rows, kept) for language, rows in shown.items()}
    rows = np.unique(np.concatenate(list(shown.values())))
    pixels_field, pixels = array_column("pixels", emoji.pixels[rows])
    fields = [pixels_field, pa.field("style", pa.string()), pa.field("weight", pa.float64())]
    columns = [pixels, pa.array(emoji.style[rows]), pa.array(sampling_weights(emoji, rows))]
    for language in languages:
        labels, known = emoji.labels(language), set(shown[language].tolist())
        fields.append(pa.field(f"text.{language}", pa.string()))
        columns.append(pa.array([labels[row] if row in known else "" for row in rows]))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))
