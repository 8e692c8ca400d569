"""Asking a text-picture model for everything that its gallery shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loopwright.cli.expert_exhibit import expert_story
from loopwright.core.errors import UnknownName
from loopwright.core.policy import Candidate
from loopwright.core.seeds import derive_seed, generator
from loopwright.core.stage import ProgressSink
from loopwright.models.wudao.model import parameter_count
from loopwright.models.wudao.sample import Painting as PaintingSettings
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.report.gallery import story as told
from loopwright.report.gallery.nearest import distances, nearest_pictures
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.packages import STYLES
from loopwright.scenarios.emoji.pairs import build_pairs
from loopwright.scenarios.emoji.splits import KINDS, Kind, Part, load_splits
from loopwright.store.corpus import open_corpus
from loopwright.train.evaluate.pictures import (
    captions,
    grounding_gap,
    paintings,
    score_pictures,
)
from loopwright.train.evaluate.run import evaluate
from loopwright.train.progress import part_of

if TYPE_CHECKING:
    from loopwright.train.evaluate.bootstrap import Score
    from loopwright.train.evaluate.run import Evaluation

_ABOUT: Mapping[str, told.Kind] = {
    kind: told.Kind(
        name=kind,
        title=title,
        about=about,
        is_shown=kind in ("seen", "language"),
        is_control=kind in ("concept", "flag"),
    )
    for kind, title, about in (
        ("seen", "Seen", "The model learned from these very pictures and names."),
        ("tone", "Unseen skin tones", "It saw the emoji in other tones, and this tone on others."),
        (
            "gender",
            "Unseen genders of roles",
            "It saw the role with another gender, and this gender in other roles.",
        ),
        (
            "colour",
            "Unseen colours of objects",
            "It saw the object in other colours, and this colour on other objects.",
        ),
        ("style", "Unseen drawing styles", "It saw the emoji in other drawing styles."),
        (
            "language",
            "Unseen names in a language",
            "It saw the picture with names in other languages, and this name with other tones.",
        ),
        (
            "concept",
            "Unknown concepts",
            "It saw neither this concept nor its name. Success well above zero would mean a leak.",
        ),
        (
            "flag",
            "Unknown flags",
            "It saw neither this flag nor its name. Success well above zero would mean a leak.",
        ),
    )
}

_METRICS: Mapping[str, str] = {
    "top_1": "Painting right",
    "top_5": "Among the nearest 5",
    "exact": "Caption exact",
    "keyword_f1": "Words of the caption (F1)",
    "gap": "Worth of the name (nats a code)",
}

_TRIES_OF_FREE_PROMPTS = 4
_PAIRS_FOR_EXPERTS = 240
"""Pairs of each language: some thousand words and 15 thousand codes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choices:
    """What is to be shown."""

    part: Part
    language: str
    seed: int
    each: int
    """Items of each list."""
    tries: int
    """Pictures to paint of each name; the model keeps the one that it finds most like it."""
    how: PaintingSettings
    prompts: tuple[str, ...]


def gather_gallery(
    folder: Path, choices: Choices, *, cache: Path | None, progress: ProgressSink
) -> told.GalleryStory:
    """Ask a candidate everything that its gallery shows.

    Args:
        folder: Of the candidate.
        choices: What to show.
        cache: Folder of the emoji.
        progress: Told how far it is.

    Raises:
        UnknownName: The model was never shown the language.
        DamagedData: The candidate is damaged.
        FetchFailed: The emoji are not there and cannot be fetched.
    """
    candidate = Candidate.open(folder)
    model = TextPictureModel.load(folder, candidate)
    progress(0.0, "reading the emoji")
    px = model.pictures.config.px
    styles = [style for style in STYLES if style in model.words.tags()]
    emoji = load_emoji(px, styles, cache, progress=part_of(progress, 0.0, 0.01))
    asked = _Asked(model, emoji, choices)
    if choices.language not in asked.languages:
        raise UnknownName("language of the model", choices.language, asked.languages)
    asked.ask_all(part_of(progress, 0.02, 0.9))
    progress(0.9, "looking for the nearest training pictures")
    pairs = open_corpus(build_pairs(px, styles, asked.languages, cache))
    story = asked.story(candidate, is_trained_on_them=_names(candidate, pairs.digest))
    progress(1.0, "writing")
    return story


def _names(candidate: Candidate, corpus: str) -> bool:
    named = candidate.lineage.get("corpora")
    return isinstance(named, list) and named == [corpus]


class _Asked:
    """A model and its answers about all items of some lists."""

    def __init__(self, model: TextPictureModel, emoji: Emoji, choices: Choices) -> None:
        self.model, self.emoji, self.choices = model, emoji, choices
        self.labels: list[str] = emoji.labels(choices.language).tolist()
        self.styles: list[str] = emoji.style.tolist()
        self.languages = [tag for tag in model.words.tags() if tag in emoji.languages]
        splits = load_splits()
        shown = [splits.train_rows(emoji, language) for language in self.languages]
        self.train_rows = np.unique(np.concatenate(shown)) if shown else np.zeros(0, int)
        self.rows: dict[Kind, np.ndarray] = {}
        for kind in KINDS:
            rows = splits.rows(emoji, kind, choices.part, choices.language)
            if len(rows := rows[[self.labels[row] != "" for row in rows]]):
                self.rows[kind] = rows
        self.painted: dict[Kind, Evaluation] = {}
        self.written: dict[Kind, Evaluation] = {}
        self.grounded: dict[Kind, Evaluation] = {}

    def ask_all(self, progress: ProgressSink) -> None:
        """Ask for a painting and a caption of every item of every list."""
        total, done = sum(map(len, self.rows.values())), 0
        for kind, rows in self.rows.items():
            part = part_of(progress, done / total, (done + len(rows)) / total)
            language, seed = self.choices.language, self.choices.seed
            self.painted[kind] = evaluate(
                paintings(
                    self.emoji, rows, language, how=self.choices.how, tries=self.choices.tries
                ),
                self.model,
                seed=seed,
                progress=part_of(part, 0.0, 0.8),
            )
            self.written[kind] = evaluate(
                captions(self.emoji, rows, language),
                self.model,
                seed=seed,
                progress=part_of(part, 0.8, 0.9),
            )
            self.grounded[kind] = evaluate(
                grounding_gap(self.emoji, rows, language),
                self.model,
                seed=seed,
                progress=part_of(part, 0.9, 1.0),
            )
            done += len(rows)

    def story(self, candidate: Candidate, *, is_trained_on_them: bool) -> told.GalleryStory:
        """Return everything as plain data."""
        listed = np.unique(np.concatenate(list(self.rows.values())))
        ceiling = score_pictures(self.model, self.emoji, listed).headline
        pictures, how = self.model.pictures.config, self.choices.how
        return told.GalleryStory(
            digest=candidate.digest,
            parameters=parameter_count([self.model.model, self.model.pictures]),
            px=pictures.px,
            codes=pictures.tokens,
            part=self.choices.part,
            language=self.choices.language,
            seed=self.choices.seed,
            tries=self.choices.tries,
            how=f"temperature {how.temperature:g}, guidance {how.guidance:g}",
            training_pictures=len(self.train_rows),
            is_trained_on_them=is_trained_on_them,
            paintings=tuple(self._painting_list(kind) for kind in self.rows),
            captions=tuple(self._caption_list(kind) for kind in self.rows),
            free=tuple(map(self._free_prompt, self.choices.prompts)),
            experts=expert_story(self.model, self._expert_pairs()),
            scores=tuple(self._scores(kind) for kind in self.rows),
            metrics=_METRICS,
            tokenizer=_measure(ceiling),
            credits=tuple(
                told.Credit(
                    package=f"{source.package} {source.version}",
                    licence=source.licence,
                    attribution=source.attribution,
                    changes=source.changes,
                )
                for source in self.emoji.corpus.facts.sources
            ),
        )

    @cached_property
    def train_codes(self) -> np.ndarray:
        """Codes of the training pictures."""
        return self.model.encode(self.emoji.pixels[self.train_rows])

    @cached_property
    def train_restored(self) -> np.ndarray:
        """Training pictures as their codes bring them back, which is all the model learned of."""
        parts = np.array_split(self.train_codes, max(1, len(self.train_codes) // 256))
        return np.concatenate([self.model.decode(part) for part in parts])

    def nearest(self, painted: np.ndarray) -> list[told.Neighbour]:
        """Return the training picture that each painted one is most like."""
        found, distance = nearest_pictures(painted, self.train_restored)
        rows = self.train_rows[found]
        return [
            told.Neighbour(
                picture=self.emoji.pixels[row],
                name=self.labels[row] or str(self.emoji.hexcode[row]),
                distance=float(off),
            )
            for row, off in zip(rows.tolist(), distance, strict=True)
        ]

    def drawn(self, kind: Kind, what: str) -> list[int]:
        """Return which items of a list are shown, drawn at random, in the order of the list."""
        total = len(self.rows[kind])
        random = generator(self.choices.seed, "gallery", what, kind)
        chosen = random.choice(total, min(self.choices.each, total), replace=False)
        return np.sort(chosen).tolist()

    def _painting_list(self, kind: Kind) -> told.PaintingList:
        rows, found = self.rows[kind], self.painted[kind]
        true, painted = self.emoji.pixels[rows], np.stack(found.answers)
        restored = self.model.decode(self.model.encode(true))
        near, off = self.nearest(painted), distances(painted, restored)
        items = tuple(
            told.Painting(
                prompt=self.labels[rows[i]],
                language=self.choices.language,
                style=self.styles[rows[i]],
                true=true[i],
                restored=restored[i],
                painted=painted[i],
                true_distance=float(off[i]),
                nearest=near[i],
                is_right=bool(found.values["top_1"][i]),
            )
            for i in self.drawn(kind, "paintings")
        )
        return told.PaintingList(
            kind=_ABOUT[kind],
            shown=items,
            total=len(rows),
            right=int(found.values["top_1"].sum()),
            copied=sum(n.is_copied for n in near),
            nearer_true=sum(o < n.distance for o, n in zip(off, near, strict=True)),
        )

    def _caption_list(self, kind: Kind) -> told.CaptionList:
        rows, found = self.rows[kind], self.written[kind]
        exact = found.values["exact"]
        items = tuple(
            told.Caption(
                picture=self.emoji.pixels[rows[i]],
                said=found.answers[i],
                true=self.labels[rows[i]],
                language=self.choices.language,
                is_exact=bool(exact[i]),
            )
            for i in self.drawn(kind, "captions")
        )
        return told.CaptionList(
            kind=_ABOUT[kind], shown=items, total=len(rows), exact=int(exact.sum())
        )

    def _free_prompt(self, text: str) -> told.FreePrompt:
        asked = Prompt(text, language=self.choices.language, style=self.emoji.styles[0])
        painted = np.concatenate(
            [
                self.model.paint(
                    [asked],
                    seed=derive_seed(self.choices.seed, "free", number),
                    how=self.choices.how,
                    tries=self.choices.tries,
                )
                for number in range(_TRIES_OF_FREE_PROMPTS)
            ]
        )
        return told.FreePrompt(
            prompt=text, painted=tuple(painted), nearest=tuple(self.nearest(painted))
        )

    def _expert_pairs(self) -> dict[str, tuple[list[Prompt], np.ndarray]]:
        """Return some training pairs of each language: prompts and codes."""
        found = {}
        for language in self.languages:
            labels = self.emoji.labels(language)[self.train_rows].tolist()
            known = np.flatnonzero([label != "" for label in labels])
            random = generator(self.choices.seed, "experts")
            # In random order, so that every other one is a random half.
            chosen = random.choice(known, min(_PAIRS_FOR_EXPERTS, len(known)), replace=False)
            prompts = [
                Prompt(labels[i], language=language, style=self.styles[self.train_rows[i]])
                for i in chosen.tolist()
            ]
            found[language] = (prompts, self.train_codes[chosen])
        return found

    def _scores(self, kind: Kind) -> told.ScoreRow:
        measures: dict[str, told.Measure] = {}
        for found in (self.painted[kind], self.written[kind], self.grounded[kind]):
            measures |= {name: _measure(score) for name, score in found.scores.items()}
        return told.ScoreRow(
            kind=_ABOUT[kind], measures={k: v for k, v in measures.items() if k in _METRICS}
        )


def _measure(score: Score) -> told.Measure:
    return told.Measure(
        value=score.value, low=score.low, high=score.high, unit=score.unit, groups=score.groups
    )
