"""One member of a family of text-picture models: a size, trained on so many tokens, and its loss.

All members share the tokenizers of the candidate they start from, so their losses can be compared.
The pictures whose bytes hash low are held out: no member learns from them, whatever its seed.

What a member is trained for is what it is judged by: the mean nats of a next token that is asked
for, which is a code after a text or a word after a picture.

Shapes: R pictures, H and W pixels, N codes of a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from loopwright.core.canvas import canvas_interface
from loopwright.core.digest import Json, digest_bytes, digest_json
from loopwright.core.errors import InvalidConfig
from loopwright.core.learner import FitJob
from loopwright.core.policy import Candidate
from loopwright.core.seeds import derive_seed
from loopwright.models.layers.mixture import mixtures
from loopwright.models.layers.transformer import Transformer
from loopwright.models.wudao.loss import SequenceWeights, sequence_loss
from loopwright.models.wudao.model import Wudao, parameter_count
from loopwright.models.wudao.sample import FAMILY, Prompt, TextPictureModel
from loopwright.models.wudao.words import FILE
from loopwright.store.corpus import open_corpus
from loopwright.train.device import chosen_precision, cpu_threads, named_device
from loopwright.train.parallel import ParallelConfig
from loopwright.train.throughput import FlopCount
from loopwright.train.trainer import Diverged, Portion, TrainerConfig, train
from loopwright.train.wudao import SequenceBatches, TextPictures, WudaoFit

_DECIDED = ("pictures", "picture_steps", "picture_batch", "picture_rate", "steps")
"""Settings of a fit that decide nothing here."""
HELD_SHARE = 0.1
"""Share of the drawings that no member learns from."""
_WARMUP_SHARE = 0.1
_JUDGED_AT_ONCE = 64


def learn(config: Mapping[str, Any], job: FitJob) -> dict[str, Json]:
    """Train one member, write it as a candidate, and return its held-out loss.

    Args:
        config: That of :class:`~loopwright.train.wudao.WudaoFit`, with ``tokens`` to train on in
            place of ``steps``, and without what the tokenizers were trained with.
        job: Starts from a candidate, whose tokenizers are taken over.

    Returns:
        ``loss`` in nats a token (None if training ran away), counted ``flops``, active ``params``,
        ``tokens``, and ``epochs``: how often a picture was shown in each order, on average.

    Raises:
        InvalidConfig: A key is unknown or a value impossible, or there is nothing to start from.
        DamagedData: A corpus or the start is not what it was.
    """
    fit, tokens = _read(config)
    with cpu_threads(fit.threads if fit.device == "cpu" else None):
        member = _Member(fit, tokens, job)
        try:
            member.train()
        except Diverged:
            return {"loss": None}
        return member.seal()


def _read(config: Mapping[str, Any]) -> tuple[WudaoFit, float]:
    """Return how to train a member, and on how many tokens."""
    given = dict(config)
    tokens = given.pop("tokens", None)
    if isinstance(tokens, bool) or not isinstance(tokens, int | float) or not tokens > 0:
        raise InvalidConfig(
            f"tokens is {tokens!r}; expected how many to train the member on, above 0"
        )
    if idle := sorted(set(given) & set(_DECIDED)):
        raise InvalidConfig(
            f"a member of a family takes over the tokenizers it starts from, and 'tokens' say how "
            f"long it is trained; leave {idle} away"
        )
    fit = WudaoFit.from_json(given)
    if fit.parallel != ParallelConfig():
        raise InvalidConfig(
            "a member of a family is trained by one process; leave 'parallel' away, and train "
            "several members at once instead"
        )
    if fit.batch % fit.accumulate:
        raise InvalidConfig(
            f"batch is {fit.batch}, which does not divide into {fit.accumulate} equal shares "
            "(accumulate); choose a multiple"
        )
    return fit, tokens


def active_parameters(backbone: Transformer) -> int:
    """Return how many weights of the layers one token meets; embeddings and heads not counted."""
    unmet = sum(
        parameter_count([mixture.experts]) * (1 - mixture.config.chosen / mixture.config.experts)
        for mixture in mixtures(backbone)
    )
    return parameter_count([backbone]) - round(unmet)


def params_of(config: Mapping[str, Any]) -> int:
    """Return the active parameters of a size without making it; embeddings and heads not counted.

    Args:
        config: That of :class:`~loopwright.train.wudao.WudaoFit`.
    """
    fit = WudaoFit.from_json(config)
    with torch.device("meta"):
        return active_parameters(Transformer(fit.model(fit.words).backbone))


def measure(folder: Path, start: Path, corpora: Sequence[Path]) -> dict[str, Json]:
    """Return ``loss``, ``params`` and, if it is known, ``tokens`` of a model with the tokenizers.

    Args:
        folder: A candidate.
        start: The candidate whose tokenizers the family shares.
        corpora: What the family learns from.

    Raises:
        InvalidConfig: The model has other tokenizers: its nats are of other tokens.
    """
    candidate, start_candidate = Candidate.open(folder), Candidate.open(start)
    model = TextPictureModel.load(folder, candidate)
    if _tokenizers(model, candidate) != _tokenizers(TextPictureModel.load(start), start_candidate):
        raise InvalidConfig(
            f"{folder} has other tokenizers than the family of {start}, so its nats a token cannot "
            "be compared; train it from the family's (a learner that starts from that candidate)"
        )
    _, held = _divided(TextPictures.of([open_corpus(path) for path in corpora]))
    known = candidate.lineage.get("tokens")
    return {
        "loss": held_out_loss(model, held),
        "params": active_parameters(model.model.backbone),
        **({"tokens": known} if known else {}),
    }


def held_out_loss(model: TextPictureModel, held: TextPictures) -> float:
    """Return the mean nats of every code after its text and every word after its picture."""
    nats, count = 0.0, 0
    for language in held.languages:
        rows = np.flatnonzero(held.texts[language] != "")
        for part in np.array_split(rows, max(1, len(rows) // _JUDGED_AT_ONCE)):
            named = zip(held.texts[language][part].tolist(), held.style[part].tolist(), strict=True)
            prompts = [Prompt(text, language=language, style=style) for text, style in named]
            codes = model.encode(held.pixels[part])
            words = np.array([_words(model, prompt.text) for prompt in prompts])
            nats += float(model.code_nats(prompts, codes).sum()) * codes.shape[1]
            nats += float(model.text_nats(prompts, codes) @ words)
            count += codes.size + int(words.sum())
    return nats / count


class _Member:
    """One training: shared tokenizers, a network of its own, and the part of the data to learn."""

    def __init__(self, fit: WudaoFit, tokens: float, job: FitJob) -> None:
        if job.start is None:
            raise InvalidConfig(
                "a member of a family starts from a candidate with the family's tokenizers; "
                "none was given (FitJob.start)"
            )
        if fit.teacher is not None:
            raise InvalidConfig(
                "a member of a family learns from the data alone, so that losses can be compared; "
                "leave 'teacher' out"
            )
        candidate = Candidate.open(job.start)
        shared = TextPictureModel.load(job.start, candidate)
        self.job, self.tokenizer = job, _tokenizers(shared, candidate)
        self.device = named_device(fit.device)
        data = TextPictures.of([open_corpus(path) for path in job.corpora])
        self.digests = data.digests
        shown, self.held = _divided(data)
        fit = replace(fit, pictures=shared.pictures.config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(job.seed, "weights"))
            model = Wudao(fit.model(shared.words.size))
        model, pictures = model.to(self.device), shared.pictures.to(self.device)
        self.joined = TextPictureModel(model, pictures, shared.words)
        self.batches = SequenceBatches(shown, self.joined, fit, job.seed)
        self.step_tokens = fit.batch * float(self.batches.mean_tokens)
        self.fit = replace(fit, steps=max(1, round(tokens / self.step_tokens)))
        self.flops = 0.0

    def train(self) -> None:
        fit, model = self.fit, self.joined.model
        words = float(self.batches.mean_tokens) - 4 - fit.pictures.tokens + 1
        codes = fit.pictures.tokens
        weights = SequenceWeights(
            painted=codes / (codes + words), written=words / (codes + words), given=0.0
        )

        def loss_at(portion: Portion) -> tuple[Tensor, dict[str, Tensor]]:
            sequences, random = self.batches.at(portion)
            return sequence_loss(
                model, sequences.to(self.device), weights, noise=fit.noise, generator=random
            )

        model.train()
        with FlopCount() as counter:
            loss_at(Portion(0, count=fit.accumulate))[0].backward()
        model.zero_grad(set_to_none=True)
        self.flops = float(counter.flops) * fit.accumulate * fit.steps
        train(
            model,
            loss_at,
            self._trainer(),
            name="sequences",
            identity=digest_json(
                {
                    "fit": fit.shaping(),
                    "seed": self.job.seed,
                    "corpora": list(self.digests),
                    "tokenizer": self.tokenizer,
                }
            ),
            folder=self.job.scratch,
            progress=self.job.progress,
            mirrors=self.job.mirrors,
            step_tokens=round(self.step_tokens),
        )

    def _trainer(self) -> TrainerConfig:
        precision = chosen_precision(self.fit.precision, self.device)
        warmup = max(1, round(_WARMUP_SHARE * self.fit.steps))
        return replace(self.fit.trainer(precision), warmup_steps=warmup)

    def seal(self) -> dict[str, Json]:
        out, model, tokens = self.job.out, self.joined.model, self.fit.steps * self.step_tokens
        # Losses are compared with those of candidates that are loaded, which are judged there too.
        for network in (model, self.joined.pictures):
            network.cpu()
        out.mkdir(parents=True, exist_ok=True)
        self.joined.save(out)
        candidate = Candidate.seal(
            out,
            family=FAMILY,
            interface=canvas_interface(self.joined.pictures.config.px),
            config=model.config.to_json(),
            lineage={
                **self.job.lineage,
                "corpora": list(self.digests),
                "tokenizer": self.tokenizer,
                "tokens": tokens,
            },
        )
        return {
            "candidate": candidate.digest,
            "loss": held_out_loss(self.joined, self.held),
            "params": active_parameters(model.backbone),
            "tokens": tokens,
            "flops": self.flops,
            "epochs": self.fit.steps * self.fit.batch / (2 * len(self.batches.pairs)),
        }


def _divided(data: TextPictures) -> tuple[TextPictures, TextPictures]:
    """Return what is learned from and what is held out; equal drawings are on the same side."""
    most = int(HELD_SHARE * 2**64)
    held = np.array([_hash(image) < most for image in data.pixels])
    return _rows(data, ~held), _rows(data, held)


def _hash(image: np.ndarray) -> int:
    return int.from_bytes(hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()[:8], "big")


def _rows(data: TextPictures, chosen: np.ndarray) -> TextPictures:
    return replace(
        data,
        pixels=data.pixels[chosen],
        weight=data.weight[chosen],
        style=data.style[chosen],
        texts={language: texts[chosen] for language, texts in data.texts.items()},
    )


def _words(model: TextPictureModel, text: str) -> int:
    """Return how many tokens follow the language's mark: the text's, and the end."""
    return len(model.words.encode(text)[: model.model.config.text_tokens]) + 1


def _tokenizers(model: TextPictureModel, candidate: Candidate) -> str:
    """Return a digest of what turns texts and pictures into tokens."""
    weights = {
        name: digest_bytes(value.detach().cpu().contiguous().numpy().tobytes())
        for name, value in model.pictures.state_dict().items()
    }
    return digest_json({"pictures": weights, "words": candidate.files[FILE]})
