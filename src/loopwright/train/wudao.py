"""Training the text-picture model: first how pictures become codes, then what follows what.

Stage one trains the tokenizer of pictures. Stage two trains one decoder on sequences in both
orders, painting from words and writing about pictures, half of each.

Shapes: R pictures, H and W pixels, N codes of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loopwright.core.digest import Json, digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import NO_BODY
from loopwright.core.learner import FitJob
from loopwright.core.policy import Candidate
from loopwright.core.seeds import derive_seed, generator
from loopwright.core.stage import ProgressSink
from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.loss import SequenceWeights, picture_loss, sequence_loss
from loopwright.models.wudao.model import Wudao, parameter_count
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sample import FAMILY, TextPictureModel
from loopwright.models.wudao.sequences import Pair, Sequences, batch, paint, write
from loopwright.models.wudao.words import Words
from loopwright.store.corpus import Corpus, open_corpus
from loopwright.train.device import Precision, chosen_precision, cpu_threads, probe_device
from loopwright.train.progress import part_of
from loopwright.train.trainer import Portion, TrainerConfig, train


@dataclass(frozen=True, kw_only=True, slots=True)
class WudaoFit:
    """How to train the text-picture model."""

    pictures: PictureConfig = field(default_factory=PictureConfig)
    width: int = 192
    layers: int = 5
    heads: int = 6
    hidden: int = 512
    """Hidden width of the first, dense layer, or of all layers without experts."""
    mixture: MixtureConfig | None = field(
        default_factory=lambda: MixtureConfig(experts=8, chosen=2, hidden=192, bias_rate=1e-2)
    )
    """Experts of the other layers; None for a dense model."""
    words: int = 1500
    """Most tokens of the text vocabulary."""
    text_tokens: int = 24
    picture_steps: int = 1300
    picture_batch: int = 64
    picture_rate: float = 3e-3
    steps: int = 2600
    batch: int = 32
    learning_rate: float = 4e-3
    """Of embeddings and heads."""
    muon_rate: float = 0.02
    """Of the matrices in between."""
    weight_decay: float = 0.05
    paint_share: float = 0.5
    """Share of the sequences in which the picture follows from the text."""
    drop_text: float = 0.1
    """Share of those in which the text is left out."""
    noise: float = 0.15
    """Share of codes seen wrong at the start; it falls to a third."""
    precision: str = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"`` for what this machine computes faster."""
    threads: int = 1
    """Threads on a CPU. The same number gives the same bytes."""
    device: str = "cpu"
    """``"cpu"``, or ``"auto"`` for the accelerator if there is one."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in ("picture_steps", "picture_batch", "steps", "batch", "threads", "words"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("paint_share", "drop_text", "noise"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.device not in ("cpu", "auto"):
            raise InvalidConfig(f"device is {self.device!r}; expected 'cpu' or 'auto'")

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WudaoFit:
        """Read what :meth:`to_json` wrote; missing keys take their default.

        Raises:
            InvalidConfig: A key is unknown or a value impossible.
        """
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(data) - set(known)):
            raise InvalidConfig(f"fit configuration has the unknown keys {unknown}; known: {known}")
        given = dict(data)
        if "pictures" in given:
            levels = tuple(given["pictures"].get("levels", PictureConfig().levels))
            given["pictures"] = PictureConfig(**{**given["pictures"], "levels": levels})
        if given.get("mixture") is not None:
            given["mixture"] = MixtureConfig(**given["mixture"])
        return cls(**given)

    def model(self, texts: int) -> WudaoConfig:
        """Return the model's size for a vocabulary of ``texts`` words."""
        return WudaoConfig(
            pictures=self.pictures,
            backbone=TransformerConfig(
                width=self.width,
                layers=self.layers,
                heads=self.heads,
                key_heads=self.heads,
                hidden=self.hidden,
                causal=True,
                normalise_heads=True,
                mixture=self.mixture,
            ),
            texts=texts,
            text_tokens=self.text_tokens,
        )


def learn(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Train on the text-picture corpora of a job and write a sealed candidate.

    Raises:
        InvalidConfig: A key is unknown, a value impossible, or there is nothing to learn from.
        DamagedData: A corpus is not what it was.
        Diverged: Training ran away.
    """
    fit = WudaoFit.from_json(config)
    with cpu_threads(fit.threads if fit.device == "cpu" else None):
        run = _Run(fit, job)
        run.fit_pictures(part_of(job.progress, 0.0, 0.15))
        run.fit_sequences(part_of(job.progress, 0.15, 1.0))
        return run.seal()


class _Run:
    """One fit: the data, the three parts of the model, and what is known so far."""

    def __init__(self, fit: WudaoFit, job: FitJob) -> None:
        self.fit, self.job = fit, job
        self.device = probe_device() if fit.device == "auto" else torch.device("cpu")
        self.precision: Precision = chosen_precision(fit.precision, self.device)
        self.data = TextPictures.of([open_corpus(path) for path in job.corpora])
        texts, tags = self.data.all_texts(), [*self.data.languages, *self.data.styles]
        self.words = Words.learn(texts, tags=tags, size=fit.words)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(job.seed, "weights"))
            self.pictures = PictureTokenizer(fit.pictures).to(self.device)
            self.model = Wudao(fit.model(self.words.size)).to(self.device)
        self.curves: dict[str, list[list[float]]] = {}

    def _identity(self, stage: str) -> str:
        return digest_json(
            {
                "stage": stage,
                "fit": self.fit.to_json(),
                "seed": self.job.seed,
                "corpora": list(self.data.digests),
            }
        )

    def fit_pictures(self, progress: ProgressSink) -> None:
        """Train the tokenizer of pictures on every picture alike."""
        fit, pixels = self.fit, torch.from_numpy(self.data.pixels)

        def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
            random = generator(self.job.seed, "pictures", portion.step)
            rows = random.integers(len(pixels), size=fit.picture_batch)
            mine = torch.from_numpy(rows[portion.rows(len(rows))])
            return picture_loss(self.pictures, pixels[mine].to(self.device))

        found = train(
            self.pictures,
            loss_at,
            TrainerConfig(
                steps=fit.picture_steps,
                learning_rate=fit.picture_rate,
                warmup_steps=50,
                precision=self.precision,
            ),
            name="pictures",
            identity=self._identity("pictures"),
            folder=self.job.scratch,
            progress=progress,
            step_tokens=fit.picture_batch * fit.pictures.tokens,
        )
        self.curves |= {f"pictures/{k}": v for k, v in found.items()}

    def fit_sequences(self, progress: ProgressSink) -> None:
        """Train the decoder on sequences in both orders."""
        fit = self.fit
        joined = TextPictureModel(self.model, self.pictures, self.words)
        batches = SequenceBatches(self.data, joined, fit, self.job.seed)
        weights = SequenceWeights()

        def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
            sequences, random = batches.at(portion)
            noise = fit.noise * (1 - 2 / 3 * portion.step / fit.steps)
            return sequence_loss(
                self.model, sequences.to(self.device), weights, noise=noise, generator=random
            )

        found = train(
            self.model,
            loss_at,
            TrainerConfig(
                steps=fit.steps,
                learning_rate=fit.learning_rate,
                muon_rate=fit.muon_rate,
                weight_decay=fit.weight_decay,
                warmup_steps=60,
                precision=self.precision,
            ),
            name="sequences",
            identity=self._identity("sequences"),
            folder=self.job.scratch,
            progress=progress,
            step_tokens=round(fit.batch * batches.mean_tokens),
        )
        self.curves |= {f"sequences/{k}": v for k, v in found.items()}

    def seal(self) -> dict[str, Json]:
        """Write the candidate and return plain facts."""
        out = self.job.out
        out.mkdir(parents=True, exist_ok=True)
        TextPictureModel(self.model, self.pictures, self.words).save(out)
        candidate = Candidate.seal(
            out,
            family=FAMILY,
            interface=NO_BODY,
            config=self.model.config.to_json(),
            lineage={**self.job.lineage, "corpora": list(self.data.digests)},
        )
        return {
            "candidate": candidate.digest,
            "curves": self.curves,
            "parameters": {
                "pictures": parameter_count([self.pictures]),
                "model": parameter_count([self.model]),
            },
            "precision": self.precision,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextPictures:
    """Pictures with their texts in some languages, as corpora hold them."""

    pixels: np.ndarray
    """uint8 ``(R, H, W, 3)``."""
    weight: np.ndarray
    """float64 ``(R,)``: how often each is to be shown."""
    style: np.ndarray
    """Object ``(R,)`` of str."""
    texts: Mapping[str, np.ndarray]
    """Language to object ``(R,)`` of str; empty where there is no text to learn from."""
    digests: tuple[str, ...]

    @classmethod
    def of(cls, corpora: Sequence[Corpus]) -> TextPictures:
        """Join corpora with the columns ``pixels``, ``weight``, ``style`` and ``text.<language>``.

        Raises:
            InvalidConfig: There is none.
        """
        if not corpora:
            raise InvalidConfig("there is no corpus of texts and pictures to learn from")
        languages = sorted(
            {c.removeprefix(_TEXT) for x in corpora for c in x.columns if c.startswith(_TEXT)}
        )
        return cls(
            pixels=np.concatenate([c.column("pixels") for c in corpora]),
            weight=np.concatenate([c.column("weight") for c in corpora]),
            style=np.concatenate([c.column("style") for c in corpora]),
            texts={
                language: np.concatenate([_column(c, _TEXT + language) for c in corpora])
                for language in languages
            },
            digests=tuple(c.digest for c in corpora),
        )

    @property
    def languages(self) -> list[str]:
        """The languages, sorted."""
        return sorted(self.texts)

    @property
    def styles(self) -> list[str]:
        """The drawing styles, sorted."""
        return sorted(set(self.style))

    def all_texts(self) -> list[str]:
        """Return every text there is."""
        return [text for language in self.languages for text in self.texts[language] if text]


_TEXT = "text."


def _column(corpus: Corpus, name: str) -> np.ndarray:
    if name in corpus.columns:
        return corpus.column(name)
    return np.full(corpus.num_rows, "", dtype=object)


class SequenceBatches:
    """Sequences in both orders; the batch of a step depends on seed and step alone."""

    def __init__(
        self, data: TextPictures, model: TextPictureModel, fit: WudaoFit, seed: int
    ) -> None:
        """Turn every picture and text into tokens, once."""
        self.fit, self.seed, self.words = fit, seed, model.words
        codes_RN = model.encode(data.pixels)
        self.pairs: list[Pair] = []
        chance: list[float] = []
        for language in data.languages:
            mark = model.words.tag(language)
            for row in np.flatnonzero(data.texts[language] != ""):
                text = model.words.encode(data.texts[language][row])[: fit.text_tokens]
                style = model.words.tag(data.style[row])
                self.pairs.append(Pair(text, codes_RN[row], mark, style))
                chance.append(data.weight[row])
        if not self.pairs:
            raise InvalidConfig("no picture of the corpora has a text to learn from")
        self.cumulative = np.cumsum(chance) / np.sum(chance)
        self.mean_tokens = fit.pictures.tokens + 4 + np.mean([len(p.text) for p in self.pairs])

    def at(self, portion: Portion) -> tuple[Sequences, torch.Generator]:
        """Return a portion of the batch of a step, and what draws its noise."""
        random = generator(self.seed, "sequences", portion.step)
        chosen = np.searchsorted(self.cumulative, random.random(self.fit.batch))
        paints = random.random(self.fit.batch) < self.fit.paint_share
        drops = random.random(self.fit.batch) < self.fit.drop_text
        framed = []
        rows = range(self.fit.batch)[portion.rows(self.fit.batch)]
        for row in rows:
            pair = self.pairs[min(chosen[row], len(self.pairs) - 1)]
            framed.append(
                paint(pair, self.words.size, drop_text=bool(drops[row]))
                if paints[row]
                else write(pair, self.words.size)
            )
        noise = torch.Generator()
        noise.manual_seed(derive_seed(self.seed, "noise", portion.step, portion.index))
        found = batch(framed, [bool(paints[r]) for r in rows], codes=self.fit.pictures.tokens)
        return found, noise
