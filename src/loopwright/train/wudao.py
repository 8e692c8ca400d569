"""Training the text-picture model: first how pictures become codes, then what follows what.

Stage one trains the tokenizer of pictures. Stage two trains one decoder on sequences in both
orders, painting from words and writing about pictures, half of each. Codes of another kind, like
those of the backbones of proteins, come from a tokenizer that needs no training; a student takes
over the tokenizers of its teacher. For both there is stage two alone.

Shapes: R pictures, H and W pixels, N codes of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from loopwright.core.canvas import PaintRequest, canvas_interface, is_canvas, picture_of
from loopwright.core.configuration import plain_without, read_config
from loopwright.core.digest import Json, digest_json
from loopwright.core.episode import Episode
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import NO_BODY, Interface
from loopwright.core.learner import FitJob, shaped_by
from loopwright.core.policy import Candidate
from loopwright.core.seeds import derive_seed, generator
from loopwright.core.stage import ProgressSink
from loopwright.models.layers.mixture import MixtureConfig
from loopwright.models.layers.transformer import TransformerConfig
from loopwright.models.wudao.config import (
    CodesConfig,
    PictureConfig,
    StructureConfig,
    WudaoConfig,
)
from loopwright.models.wudao.loss import Lesson, SequenceWeights, picture_loss, sequence_loss
from loopwright.models.wudao.model import Wudao, parameter_count
from loopwright.models.wudao.ports import CodeTokenizer, PictureTokenizer
from loopwright.models.wudao.sample import TextPictureModel, TokenModel
from loopwright.models.wudao.sequences import Counts, Framed, Pair, Sequences, batch, paint, write
from loopwright.models.wudao.structures import StructureModel
from loopwright.models.wudao.words import Words
from loopwright.store.corpus import Corpus, open_corpus
from loopwright.train.device import (
    DeviceName,
    Precision,
    chosen_precision,
    cpu_threads,
    named_device,
)
from loopwright.train.parallel import (
    ALONE,
    ParallelConfig,
    Processes,
    parallelise,
    start_processes,
    trains_together,
)
from loopwright.train.progress import part_of
from loopwright.train.teacher import TeacherConfig
from loopwright.train.trainer import Portion, Schedule, TrainerConfig, begun_precision, train

_COUNTS: Final = ("picture_steps", "picture_batch", "steps", "batch", "threads", "words")
_NOT_SHAPING: Final = ("checkpoint_every_steps", "parallel", "peak_tflop_s", "teacher")
"""Of a teacher it is the digest that counts, not where it lies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WudaoFit:
    """How to train the text-picture model."""

    pictures: CodesConfig = field(default_factory=PictureConfig)
    """What codes stand for: pictures, or backbones of proteins."""
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
    muon_rate: float | None = 0.02
    """Of the matrices in between; None leaves them to AdamW, which shares of weights ask for."""
    weight_decay: float = 0.05
    schedule: Schedule = "cosine"
    """How both rates fall after the warm-up."""
    final_rate: float = 0.02
    """Share of the rates that is left at the last step."""
    average_decay: float | None = None
    """Decay of the moving average of the decoder's weights, which then is what paints and writes;
    None keeps none."""
    weight_power: float = 1.0
    """What the weights of the corpora are raised to: 1 shows every picture as often as they say, 0
    shows all alike. In between, rare variants of a drawing are shown more often."""
    paint_share: float = 0.5
    """Share of the sequences in which the picture follows from the text."""
    drop_text: float = 0.1
    """Share of those in which the text is left out."""
    noise: float = 0.15
    """Share of codes seen wrong at the start; it falls to a third."""
    accumulate: int = 1
    """Portions of a batch of sequences that a process computes one after the other, to save
    memory."""
    checkpoint_every_steps: int = 100
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    """``"float32"``, ``"bfloat16"``, or ``"auto"`` for what this machine computes faster."""
    peak_tflop_s: float | None = None
    """What the device can compute in this precision, for the share of it that progress shows; None
    for what is known of it."""
    threads: int = 1
    """Threads on a CPU. The same number gives the same bytes."""
    device: DeviceName = "cpu"
    """``"cpu"``, or ``"auto"`` for the accelerator if there is one."""
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    """How the decoder is spread over the processes that torchrun has started. The tokenizer of
    pictures is small: every process holds a copy."""
    teacher: TeacherConfig | None = None
    """Whom to learn from beside the data. Words and codes are the teacher's then; ``words`` and the
    stage that trains the tokenizer of pictures do not count."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name in (*_COUNTS, "accumulate", "checkpoint_every_steps"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("weight_power", "paint_share", "drop_text", "noise"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected 0 to 1")
        if self.device not in ("cpu", "auto"):
            raise InvalidConfig(f"device is {self.device!r}; expected 'cpu' or 'auto'")
        # Better refused now than after an hour of training, what the candidate paints through too.
        _ = self.interface
        _ = self.model(self.words)
        _ = self.trainer("float32")

    @property
    def interface(self) -> Interface:
        """What the candidate sees and does."""
        if isinstance(self.pictures, PictureConfig):
            return canvas_interface(self.pictures.px)
        return NO_BODY

    @property
    def kind(self) -> type[TokenModel[Any]]:
        """The kind of model that is trained."""
        return StructureModel if isinstance(self.pictures, StructureConfig) else TextPictureModel

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    def shaping(self) -> dict[str, Any]:
        """Return what shapes the result. How the work is divided does not, but for rounding.

        The loss that balances experts is the exception: it sees the loads of one portion at a time.
        A teacher counts by what it is, not by where it lies.

        Raises:
            UnsafeCandidate: The teacher's folder holds what no candidate does.
            DamagedData: The teacher is not there, or not what it was.
        """
        by_loss = self.mixture is not None and self.mixture.balance_weight > 0
        said = plain_without(self, _NOT_SHAPING if by_loss else ("accumulate", *_NOT_SHAPING))
        if self.teacher is not None:
            digest = Candidate.open(Path(self.teacher.path)).digest
            said["teacher"] = {"digest": digest, **plain_without(self.teacher, ("path",))}
        return said

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WudaoFit:
        """Read what :meth:`to_json` wrote; missing keys take their default.

        Raises:
            InvalidConfig: A key is unknown, or a value of another type or impossible.
        """
        return read_config(cls, data)

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

    def trainer(self, precision: Precision) -> TrainerConfig:
        """Return how the decoder is trained."""
        return TrainerConfig(
            steps=self.steps,
            learning_rate=self.learning_rate,
            muon_rate=self.muon_rate,
            weight_decay=self.weight_decay,
            warmup_steps=60,
            schedule=self.schedule,
            final_rate=self.final_rate,
            average_decay=self.average_decay,
            precision=precision,
            peak_tflop_s=self.peak_tflop_s,
            accumulate=self.accumulate,
            checkpoint_every_steps=self.checkpoint_every_steps,
        )


def _shaping(config: Mapping[str, Any]) -> dict[str, Json]:
    return WudaoFit.from_json(config).shaping()


@trains_together
@shaped_by(_shaping)
def learn(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Train on the text-picture corpora of a job and write a sealed candidate.

    Started by torchrun, all its processes train one model; the first writes it and returns its
    facts, the others return nothing.

    Raises:
        InvalidConfig: A key is unknown, a value impossible, or there is nothing to learn from.
        DamagedData: A corpus is not what it was.
        Diverged: Training ran away.
        ProcessLost: Another process ended; started again, training goes on.
    """
    fit = WudaoFit.from_json(config)
    device = named_device(fit.device)
    with (
        cpu_threads(fit.threads if fit.device == "cpu" else None),
        start_processes(fit.parallel, device=device) as processes,
    ):
        _check_divides(fit, processes)
        run = _Run(fit, job, device, processes)
        run.fit_pictures(part_of(job.progress, 0.0, 0.15))
        run.fit_sequences(part_of(job.progress, 0.15, 1.0))
        return run.seal()


def _check_divides(fit: WudaoFit, processes: Processes) -> None:
    """Refuse batches that cannot be divided, before anything is trained.

    Raises:
        InvalidConfig: One cannot.
    """
    batches = [("batch", fit.batch, processes.data_count * fit.accumulate)]
    if fit.teacher is None and isinstance(fit.pictures, PictureConfig):
        # Of the tokenizer every process holds a copy, and no batch is accumulated.
        batches += [
            ("picture_batch", fit.picture_batch, processes.data_count * fit.parallel.tensor)
        ]
    for name, rows, shares in batches:
        if rows % shares:
            raise InvalidConfig(
                f"{name} is {rows}, which does not divide into {shares} equal shares (processes "
                f"times accumulation); choose a multiple of {shares}"
            )


class _Run:
    """One fit: the data, the three parts of the model, and what is known so far."""

    def __init__(
        self, fit: WudaoFit, job: FitJob, device: torch.device, processes: Processes
    ) -> None:
        self.fit, self.job, self.device, self.processes = fit, job, device, processes
        self.data = TextPictures.of(
            [open_corpus(path) for path in job.corpora], paintings(job.episodes)
        )
        tags = [*self.data.languages, *self.data.styles]
        self.teacher = _Teacher.of(fit, tags)
        self.words = (
            self.teacher.model.words
            if self.teacher
            else Words.learn(self.data.all_texts(), tags=tags, size=fit.words)
        )
        self.precision: Precision = self._precision()
        processes.agree("corpora and settings", self._identity(self.precision))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(job.seed, "weights"))
            config = fit.model(self.words.size)
            self.pictures: CodeTokenizer = fit.kind.tokenizer(config).to(self.device)
            self.model = Wudao(config).to(self.device)
        if self.teacher:
            self.pictures = self.teacher.model.pictures.to(self.device)
            self.teacher.model.model.to(self.device)
        self.curves: dict[str, list[list[float]]] = {}

    def _identity(self, stage: str) -> str:
        return digest_json(
            {
                "stage": stage,
                "fit": self.fit.shaping(),
                "seed": self.job.seed,
                "corpora": list(self.data.digests),
                "words": self.words.digest,
            }
        )

    def _precision(self) -> Precision:
        """Return that of this fit; one that a machine with other gifts began keeps what it had."""
        if self.fit.precision == "auto":
            for stage in ("pictures", "sequences"):
                path = self.job.scratch / f"{stage}.safetensors"
                if begun := begun_precision(path, self._identity(stage)):
                    return begun
        return chosen_precision(self.fit.precision, self.device)

    def fit_pictures(self, progress: ProgressSink) -> None:
        """Train the tokenizer of pictures on every picture alike, where there is one to train."""
        learner = self.pictures
        if self.teacher or not isinstance(learner, PictureTokenizer):
            return
        fit, pixels = self.fit, torch.from_numpy(self.data.pixels)
        copies = fit.parallel.copies()

        def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
            random = generator(self.job.seed, "pictures", portion.step)
            rows = random.integers(len(pixels), size=fit.picture_batch)
            mine = torch.from_numpy(rows[portion.rows(len(rows))])
            return picture_loss(learner, pixels[mine].to(self.device))

        with start_processes(copies, device=self.device) as processes:
            parallelise(learner, copies, processes)
            found = train(
                learner,
                loss_at,
                TrainerConfig(
                    steps=fit.picture_steps,
                    learning_rate=fit.picture_rate,
                    warmup_steps=50,
                    precision=self.precision,
                    checkpoint_every_steps=fit.checkpoint_every_steps,
                ),
                name="pictures",
                identity=self._identity("pictures"),
                folder=self.job.scratch,
                progress=progress,
                processes=processes,
                mirrors=self.job.mirrors,
                step_tokens=fit.picture_batch * fit.pictures.tokens,
            )
        if self.processes is not ALONE:
            self.pictures = PictureTokenizer(learner.config).to(self.device)
            self.processes.gather(learner, self.pictures)
        self.curves |= {f"pictures/{k}": v for k, v in found.items()}

    def fit_sequences(self, progress: ProgressSink) -> None:
        """Train the decoder on sequences in both orders."""
        fit = self.fit
        joined = fit.kind(self.model, self.pictures, self.words)
        batches = SequenceBatches(self.data, joined, fit, self.job.seed)
        weights = SequenceWeights()
        lesson = self.teacher.lesson if self.teacher else None
        parallelise(self.model, fit.parallel, self.processes)

        def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
            sequences, random = batches.at(portion)
            noise = fit.noise * (1 - 2 / 3 * portion.step / fit.steps)
            return sequence_loss(
                self.model,
                sequences.to(self.device),
                weights,
                noise=noise,
                generator=random,
                lesson=lesson,
            )

        found = train(
            self.model,
            loss_at,
            fit.trainer(self.precision),
            name="sequences",
            identity=self._identity("sequences"),
            folder=self.job.scratch,
            progress=progress,
            processes=self.processes,
            mirrors=self.job.mirrors,
            step_tokens=round(fit.batch * batches.mean_tokens),
        )
        if self.processes is not ALONE:
            spread, self.model = self.model, Wudao(self.model.config)
            self.processes.gather(spread, self.model)
        self.curves |= {f"sequences/{k}": v for k, v in found.items()}

    def seal(self) -> dict[str, Json]:
        """Write the candidate and return plain facts; the first process does."""
        if not self.processes.is_first:
            return {}
        out = self.job.out
        out.mkdir(parents=True, exist_ok=True)
        self.fit.kind(self.model, self.pictures, self.words).save(out)
        candidate = Candidate.seal(
            out,
            family=self.fit.kind.family,
            interface=self.fit.interface,
            config=self.model.config.to_json(),
            lineage={
                **self.job.lineage,
                "corpora": list(self.data.digests),
                **({"teacher": self.teacher.digest} if self.teacher else {}),
            },
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
class _Teacher:
    """Whom a student learns from, and whose tokenizers it takes over."""

    model: TokenModel[Any]
    lesson: Lesson
    digest: str

    @classmethod
    def of(cls, fit: WudaoFit, tags: Sequence[str]) -> _Teacher | None:
        """Return the teacher of a fit, if there is one.

        Args:
            fit: The student's.
            tags: Languages and styles that the student is to learn.

        Raises:
            InvalidConfig: The teacher's codes are others, or it is another kind of model.
            UnknownName: It was never shown a language or style.
        """
        said = fit.teacher
        if said is None:
            return None
        candidate = Candidate.open(Path(said.path))
        model = fit.kind.load(Path(said.path), candidate)
        theirs = model.pictures.config
        if theirs != fit.pictures:
            raise InvalidConfig(
                f"the teacher {said.path} has other codes than the student: {theirs}, expected "
                f"{fit.pictures}; give the student the teacher's 'pictures'"
            )
        for tag in tags:
            model.words.tag(tag)
        lesson = Lesson(teacher=model.model, temperature=said.temperature, share=said.share)
        return cls(model=model, lesson=lesson, digest=candidate.digest)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextPictures:
    """Pictures, or what else codes stand for, with their texts, as corpora hold them."""

    pixels: np.ndarray
    """uint8 ``(R, H, W, 3)``; of stretches of proteins the torsions, float32 ``(R, N, A)``."""
    weight: np.ndarray
    """float64 ``(R,)``: how often each is to be shown."""
    style: np.ndarray
    """Object ``(R,)`` of str."""
    texts: Mapping[str, np.ndarray]
    """Language to object ``(R,)`` of str; empty where there is no text to learn from."""
    digests: tuple[str, ...]

    @classmethod
    def of(cls, corpora: Sequence[Corpus], painted: Sequence[Painted] = ()) -> TextPictures:
        """Join corpora of pictures or of stretches of proteins.

        Their columns are ``pixels`` or ``torsions``, ``weight``, ``style`` and
        ``text.<language>``.

        Args:
            corpora: What people drew.
            painted: What was painted on request; each counts as much as the mean row.

        Raises:
            InvalidConfig: There is nothing, or pictures of different sides.
        """
        joined = [cls._of_corpus(corpus) for corpus in corpora]
        weight = float(np.mean(np.concatenate([part.weight for part in joined]))) if joined else 1.0
        joined += [cls._of_painted(item, weight) for item in painted]
        if not joined:
            raise InvalidConfig("there is no corpus of texts and pictures to learn from")
        if len(sides := {part.pixels.shape[1:] for part in joined}) > 1:
            raise InvalidConfig(f"pictures to learn from have the shapes {sorted(sides)}")
        languages = sorted({language for part in joined for language in part.texts})
        return cls(
            pixels=np.concatenate([part.pixels for part in joined]),
            weight=np.concatenate([part.weight for part in joined]),
            style=np.concatenate([part.style for part in joined]),
            texts={
                language: np.concatenate([part.text_in(language) for part in joined])
                for language in languages
            },
            digests=tuple(digest for part in joined for digest in part.digests),
        )

    @classmethod
    def _of_corpus(cls, corpus: Corpus) -> TextPictures:
        columns = [name for name in corpus.columns if name.startswith(_TEXT)]
        return cls(
            pixels=corpus.column("torsions" if "torsions" in corpus.columns else "pixels"),
            weight=corpus.column("weight"),
            style=corpus.column("style"),
            texts={name.removeprefix(_TEXT): corpus.column(name) for name in columns},
            digests=(corpus.digest,),
        )

    @classmethod
    def _of_painted(cls, painted: Painted, weight: float) -> TextPictures:
        request = painted.request
        return cls(
            pixels=painted.picture[None],
            weight=np.array([weight]),
            style=np.array([request.style], dtype=object),
            texts={request.language: np.array([request.text], dtype=object)},
            digests=(painted.episode,),
        )

    def text_in(self, language: str) -> np.ndarray:
        """Return the texts in a language, object ``(R,)`` of str; empty where there is none."""
        none = np.full(len(self.pixels), "", dtype=object)
        return self.texts.get(language, none)

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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Painted:
    """A picture that was painted on request and found right."""

    request: PaintRequest
    picture: np.ndarray
    """uint8 ``(H, W, 3)``."""
    episode: str


def paintings(episodes: Sequence[Episode]) -> list[Painted]:
    """Return what was painted in episodes, which hold demonstrations and verified successes.

    Raises:
        InvalidConfig: An episode is no painting.
    """
    found = []
    for episode in episodes:
        if episode.applied is None or not is_canvas(episode.header.interface):
            raise InvalidConfig(
                f"episode {episode.id} ({episode.header.scenario}) paints no picture; "
                "a text-picture model learns from corpora and from paintings"
            )
        request = PaintRequest.from_instruction(episode.header.instruction)
        picture = picture_of(episode.applied)
        found.append(Painted(request=request, picture=picture, episode=episode.id))
    return found


class SequenceBatches:
    """Sequences in both orders; the batch of a step depends on seed and step alone."""

    def __init__(
        self, data: TextPictures, model: TokenModel[Any], fit: WudaoFit, seed: int
    ) -> None:
        """Turn every picture and text into tokens, once."""
        self.fit, self.seed, self.words = fit, seed, model.words
        codes_RN = model.encode(data.pixels)
        self.pairs: list[Pair] = []
        chance: list[float] = []
        for language in data.languages:
            mark = model.words.tag(language)
            for row in np.flatnonzero(data.texts[language] != ""):
                text = self._text(data.texts[language][row])
                style = model.words.tag(data.style[row])
                self.pairs.append(Pair(text, codes_RN[row], mark, style))
                chance.append(data.weight[row] ** fit.weight_power)
        if not self.pairs:
            raise InvalidConfig("no picture of the corpora has a text to learn from")
        self.cumulative = np.cumsum(chance) / np.sum(chance)
        self.mean_tokens = fit.pictures.tokens + 4 + np.mean([len(p.text) for p in self.pairs])

    def _text(self, text: str) -> list[int]:
        tokens, codes = self.words.encode(text), self.fit.pictures
        if isinstance(codes, StructureConfig) and len(tokens) != codes.residues:
            raise InvalidConfig(
                f"a stretch of {codes.residues} residues has {len(tokens)} tokens; expected one "
                "each: give 'words' at least 64"
            )
        return tokens[: self.fit.text_tokens]

    def at(self, portion: Portion) -> tuple[Sequences, torch.Generator]:
        """Return a portion of the batch of a step, and what draws its noise."""
        random = generator(self.seed, "sequences", portion.step)
        chosen = np.searchsorted(self.cumulative, random.random(self.fit.batch))
        paints = random.random(self.fit.batch) < self.fit.paint_share
        drops = random.random(self.fit.batch) < self.fit.drop_text
        framed = [self._framed(*row) for row in zip(chosen, paints, drops, strict=True)]
        codes = self.fit.pictures.tokens
        counts = Counts.of(framed, paints.tolist(), codes=codes).over(portion.count)
        mine = portion.rows(self.fit.batch)
        noise = torch.Generator()
        noise.manual_seed(derive_seed(self.seed, "noise", portion.step, portion.index))
        found = batch(framed[mine], paints[mine].tolist(), codes=codes, counts=counts)
        return found, noise

    def _framed(self, chosen: int, paints: bool, drops: bool) -> Framed:
        pair = self.pairs[min(chosen, len(self.pairs) - 1)]
        if paints:
            return paint(pair, self.words.size, drop_text=drops)
        return write(pair, self.words.size)
