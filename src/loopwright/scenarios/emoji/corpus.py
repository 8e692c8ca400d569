"""The emoji as a corpus: one row for each emoji and drawing style, built once and then only read.

The user's cache folder holds the packages as they came and each corpus that was asked for. One
process builds at a time; another one that wants the same waits and reads. A build that dies leaves
nothing that counts.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.stage import ProgressSink
from loopwright.scenarios.emoji.captions import Caption, normal_hexcode, read_captions
from loopwright.scenarios.emoji.draw import DRAWN_PX, Drawings, draw, reduce
from loopwright.scenarios.emoji.fetch import fetch, read_json
from loopwright.scenarios.emoji.packages import CAPTIONS, DRAWINGS, STYLES, Package, Style
from loopwright.store.corpus import (
    Corpus,
    CorpusDamaged,
    CorpusFacts,
    CorpusMissing,
    CorpusVersion,
    array_column,
    open_corpus,
    write_corpus,
)
from loopwright.store.durable import storing, try_lock

NAME, VERSION = "emoji", 3
"""Name and version of the corpus; the version rises when the same packages give other rows."""

_LABEL, _TAGS = "label.", "tags."
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Emoji:
    """The emoji in memory: N rows, each an emoji in a style."""

    corpus: Corpus
    """What was read; its digest names this very data."""
    px: int
    pixels: np.ndarray
    """uint8 ``(N, px, px, 3)``, on white."""
    picture: np.ndarray
    """int32 ``(N,)``: the first row with the very same pixels (some emoji share a drawing)."""
    hexcode: np.ndarray
    """Object ``(N,)`` of str, as are the next seven."""
    style: np.ndarray
    parent: np.ndarray
    """Hexcode of the same emoji without skin tones."""
    base: np.ndarray
    """Hexcode of the concept without tone, gender and direction."""
    group: np.ndarray
    subgroup: np.ndarray
    gender: np.ndarray
    """``"man"``, ``"woman"``, ``"mixed"`` or ``""`` (not stated, or no person)."""
    colour: np.ndarray
    """Colour word of the English label, or ``""``."""
    tones: np.ndarray
    """int8 ``(N, 2)``: skin tones 1 (light) to 5 (dark), 0 for none; the second is 0 unless two
    persons differ."""
    is_flag: np.ndarray
    """bool ``(N,)``."""

    def __len__(self) -> int:
        """Return N."""
        return len(self.hexcode)

    @property
    def styles(self) -> tuple[str, ...]:
        """The drawing styles there are."""
        return tuple(self.corpus.facts.settings["styles"])

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages there are, sorted."""
        columns = self.corpus.columns
        return tuple(c.removeprefix(_LABEL) for c in columns if c.startswith(_LABEL))

    def labels(self, language: str = "en") -> np.ndarray:
        """Return the name of each row in a language, object ``(N,)`` of str.

        Raises:
            UnknownName: There is no such language.
        """
        return self._words(_LABEL, language)

    def tags(self, language: str = "en") -> np.ndarray:
        """Return the keywords of each row in a language, object ``(N,)`` of tuples of str."""
        return self._words(_TAGS, language)

    def _words(self, kind: str, language: str) -> np.ndarray:
        if language not in self.languages:
            raise UnknownName("language", language, self.languages)
        return self.corpus.column(kind + language)


def cache_folder() -> Path:
    """Return where built data lies by default: ``loopwright`` in the user's cache folder."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The standard says to ignore a relative path.
    root = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return root / "loopwright"


def load_emoji(
    px: int = 32,
    styles: Sequence[str] = STYLES,
    cache: Path | None = None,
    *,
    progress: ProgressSink | None = None,
) -> Emoji:
    """Return the emoji, which are fetched and drawn the first time (about half a minute).

    Args:
        px: Side of the pictures, at most 96.
        styles: Drawing styles; their order does not matter.
        cache: Folder for packages and corpora; :func:`cache_folder` by default.
        progress: Told how far building is.

    Raises:
        InvalidConfig: No style, or a side that cannot be drawn.
        UnknownName: There is no such style.
        MissingExtra: npm or resvg-py is needed and absent.
        FetchFailed: There is no network, or the registry refused.
        DamagedData: A package is not the one that was pinned.
        StorageError: The cache folder cannot be written.
    """
    return read_emoji(build_emoji(px, styles, cache, progress=progress))


def build_emoji(
    px: int = 32,
    styles: Sequence[str] = STYLES,
    cache: Path | None = None,
    *,
    progress: ProgressSink | None = None,
) -> Corpus:
    """Return the corpus behind :func:`load_emoji`; same arguments and errors."""
    chosen = _chosen_styles(styles)
    if not 1 <= px <= DRAWN_PX:
        raise InvalidConfig(f"emoji of {px} px; expected 1 to {DRAWN_PX}")
    folder = (cache or cache_folder()) / NAME
    path = folder / f"{NAME}-v{VERSION}-{px}px-{'+'.join(chosen)}.parquet"
    if (corpus := _built(path)) is not None:
        return corpus
    report = progress or _silent
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, report):
        # Another process may have built it meanwhile.
        if (corpus := _built(path)) is not None:
            return corpus
        _remove_remains(folder)
        facts = CorpusFacts(
            name=NAME,
            version=VERSION,
            sources=tuple(p.source() for p in (*(DRAWINGS[s] for s in chosen), CAPTIONS)),
            settings={"px": px, "styles": list(chosen)},
        )
        return write_corpus(path, _table(folder, px, chosen, report), facts=facts)


def read_emoji(corpus: Corpus) -> Emoji:
    """Return the columns of an emoji corpus."""
    column = corpus.column
    return Emoji(
        corpus=corpus,
        px=int(corpus.facts.settings["px"]),
        pixels=column("pixels"),
        picture=column("picture"),
        hexcode=column("hexcode"),
        style=column("style"),
        parent=column("parent"),
        base=column("base"),
        group=column("group"),
        subgroup=column("subgroup"),
        gender=column("gender"),
        colour=column("colour"),
        tones=column("tones"),
        is_flag=column("is_flag").astype(bool),
    )


def _chosen_styles(styles: Sequence[str]) -> tuple[Style, ...]:
    for style in styles:
        if style not in STYLES:
            raise UnknownName("emoji style", style, STYLES)
    if not styles:
        raise InvalidConfig(f"no emoji style; expected some of {', '.join(STYLES)}")
    return tuple(style for style in STYLES if style in styles)


def _built(path: Path) -> Corpus | None:
    """Return the corpus if it is there and whole; a damaged one is as good as none."""
    try:
        return open_corpus(path, name=NAME, version=VERSION)
    except (CorpusMissing, CorpusDamaged, CorpusVersion):
        return None


def _silent(fraction: float, message: str) -> None:
    """Report nothing."""


@contextmanager
def _alone(folder: Path, report: ProgressSink) -> Iterator[None]:
    """Hold the folder's lock, which the kernel frees however the process ends."""
    with storing(folder):
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not try_lock(descriptor):
            report(0.0, "waiting for another process that builds emoji")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _remove_remains(folder: Path) -> None:
    """Remove what builds that died have left; nobody else builds while the lock is held."""
    for remains in folder.glob(".*"):
        if remains.is_dir():
            shutil.rmtree(remains, ignore_errors=True)
        elif remains.suffix == ".tmp":
            remains.unlink(missing_ok=True)


def _table(folder: Path, px: int, styles: Sequence[Style], report: ProgressSink) -> pa.Table:
    report(0.0, "fetching the captions")
    captions = {c.hexcode: c for c in read_captions(fetch(CAPTIONS, folder))}
    rows: list[tuple[Style, Caption]] = []
    pictures: list[np.ndarray] = []
    for index, style in enumerate(styles):
        report(index / len(styles), f"fetching the drawings of {style}")
        tarball = fetch(DRAWINGS[style], folder)
        part = partial(_report_part, report, index / len(styles), 1 / len(styles), style)
        for caption, pixels in _drawn(tarball, DRAWINGS[style], captions, px, part):
            rows.append((style, caption))
            pictures.append(pixels)
    report(1.0, "writing")
    return _columns(rows, np.stack(pictures))


def _report_part(
    report: ProgressSink, begin: float, share: float, style: str, done: int, total: int
) -> None:
    report(begin + share * done / total, f"drawing {style}: {done} of {total}")


def _drawn(
    tarball: Path, package: Package, captions: dict[str, Caption], px: int, report: partial[None]
) -> Iterator[tuple[Caption, np.ndarray]]:
    """Yield each emoji that has both a caption and a drawing, in the order of the captions."""
    drawings = Drawings(read_json(tarball, "icons.json"), package.name)
    listed = read_json(tarball, "chars.json")
    if not isinstance(listed, dict) or not all(isinstance(n, str) for n in listed.values()):
        raise DamagedData(f"{package.name}: chars.json is no table of characters and names")
    names = {normal_hexcode(code): name for code, name in listed.items()}
    found = [caption for hexcode, caption in captions.items() if hexcode in names]
    if not found:
        raise DamagedData(f"{package.name}: not one drawing has a caption")
    for index, caption in enumerate(found):
        if index % 50 == 0:
            report(index, len(found))
        yield caption, reduce(draw(drawings.svg(names[caption.hexcode])), px)


def _columns(rows: Sequence[tuple[Style, Caption]], pixels: np.ndarray) -> pa.Table:
    captions = [caption for _, caption in rows]
    texts = {
        "hexcode": [c.hexcode for c in captions],
        "style": [style for style, _ in rows],
        "parent": [c.parent for c in captions],
        "base": [c.base for c in captions],
        "group": [c.group for c in captions],
        "subgroup": [c.subgroup for c in captions],
        "gender": [c.gender for c in captions],
        "colour": [c.colour for c in captions],
    }
    tones = np.zeros((len(rows), 2), np.int8)
    for row, caption in zip(tones, captions, strict=True):
        row[: len(caption.tones)] = caption.tones
    fields: list[pa.Field] = []
    columns: list[pa.Array] = []

    def add(field: pa.Field, column: pa.Array) -> None:
        fields.append(field)
        columns.append(column)

    for name, values in texts.items():
        add(pa.field(name, pa.string()), pa.array(values, pa.string()))
    add(pa.field("is_flag", pa.bool_()), pa.array([c.is_flag for c in captions], pa.bool_()))
    add(pa.field("picture", pa.int32()), pa.array(_first_equal(pixels), pa.int32()))
    for language in captions[0].labels:
        labels = [c.labels[language] for c in captions]
        tags = [list(c.tags[language]) for c in captions]
        add(pa.field(_LABEL + language, pa.string()), pa.array(labels, pa.string()))
        listed = pa.list_(pa.string())
        add(pa.field(_TAGS + language, listed), pa.array(tags, listed))
    add(*array_column("tones", tones))
    add(*array_column("pixels", pixels))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _first_equal(pixels: np.ndarray) -> list[int]:
    """Return for each picture the first one with the same bytes."""
    seen: dict[bytes, int] = {}
    return [seen.setdefault(picture.tobytes(), index) for index, picture in enumerate(pixels)]
