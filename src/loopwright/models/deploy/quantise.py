"""Fewer bits a weight, and how far the result is from the model that it was made from.

A smaller model is only kept if it agrees: both are asked the same on sequences that the original
itself writes or paints, and compared at every place where they say something.

Shapes: N places, V what may come next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig, LoopwrightError, StorageError
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.core.stage import ProgressSink
from loopwright.models.deploy.opening import AnyModel, digest_of, open_model
from loopwright.models.language import LanguageModel, Sampling
from loopwright.models.language.packed import save_packed
from loopwright.models.layers.packed import Bits, pack_layers
from loopwright.models.wudao.sample import FAMILY as TEXT_PICTURE
from loopwright.models.wudao.sample import (
    PACKED_BITS,
    UNPACKED,
    Painting,
    Prompt,
    TextPictureModel,
)
from loopwright.models.wudao.sequences import Pair, batch, paint, write

_WEIGHTS: Final = "*.safetensors"


class Disagrees(LoopwrightError):
    """A smaller model says other things than the one it was made from; it is not kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """How far a smaller model may be from the original."""

    divergence_nats: float
    """Most of the mean divergence of what may come next (Kullback-Leibler)."""
    agreement: float
    """Least share of places at which both find the same likeliest."""


BOUNDS: Final[Mapping[int, Bound]] = {
    8: Bound(divergence_nats=0.01, agreement=0.95),
    4: Bound(divergence_nats=0.2, agreement=0.80),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far two models are from each other."""

    places: int
    """Places at which they were compared."""
    largest_logit_error: float
    """Of any logit; logits are compared after their log-softmax, where a shift counts nothing."""
    logit_deviation: float
    """Standard deviation of the original's logits: the scale of the error."""
    divergence_nats: float
    agreement: float

    @classmethod
    def between(cls, original_NV: Tensor, other_NV: Tensor) -> Agreement:
        """Compare what two models say at the same places."""
        mine, other = original_NV.log_softmax(dim=-1), other_NV.log_softmax(dim=-1)
        return cls(
            places=len(mine),
            largest_logit_error=float((mine - other).abs().max()),
            logit_deviation=float(mine.std(dim=-1).mean()),
            divergence_nats=float((mine.exp() * (mine - other)).sum(dim=-1).mean()),
            agreement=float((mine.argmax(dim=-1) == other.argmax(dim=-1)).float().mean()),
        )

    def require(self, bound: Bound) -> None:
        """Raise :class:`Disagrees` unless this is within a bound."""
        # So written that what is no number is refused.
        if self.divergence_nats <= bound.divergence_nats and self.agreement >= bound.agreement:
            return
        raise Disagrees(
            f"the smaller model diverges by {self.divergence_nats:.4g} nats (at most "
            f"{bound.divergence_nats:g}) and agrees at {self.agreement:.1%} of {self.places} "
            f"places (at least {bound.agreement:.0%}); it is not kept: use 8 bits, or allow more"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantised:
    """What came of it."""

    folder: Path
    digest: str
    bits: int
    bytes_before: int
    """Of the weight files."""
    bytes_after: int
    agreements: Mapping[str, Agreement] = field(default_factory=dict)
    """By what was said: ``text``, or ``words`` and ``codes``."""

    def to_json(self) -> dict[str, Json]:
        """Return plain data."""
        return {
            "folder": str(self.folder),
            "candidate": self.digest,
            "bits": self.bits,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "agreements": {name: asdict(each) for name, each in self.agreements.items()},
        }


def quantise(
    folder: Path,
    out: Path,
    bits: Bits,
    *,
    bound: Bound | None = None,
    rows: int = 32,
    seed: int = 0,
    progress: ProgressSink = lambda _share, _what: None,
) -> Quantised:
    """Make a candidate whose weights take 8 or 4 bits, if it agrees with the original.

    Args:
        folder: A candidate or Hugging Face folder.
        out: Where to; must not exist.
        bits: Of each weight.
        bound: How far it may be; that of :data:`BOUNDS` by default.
        rows: Sequences to compare on.
        seed: Draws them.
        progress: Told the finished fraction.

    Raises:
        Disagrees: It is farther than the bound; nothing is left in ``out``.
        InvalidConfig: The model cannot be packed, ``out`` exists, or ``rows`` is below 1.
        UnsafeCandidate: The folder holds a pickle.
        DamagedData: A file is corrupt or truncated.
        StorageError: ``out`` cannot be written.
    """
    if out.exists():
        raise InvalidConfig(f"{out} exists already; choose another --out")
    if rows < 1:
        raise InvalidConfig(f"rows is {rows}; expected at least 1, to compare both on")
    progress(0.0, "reading the model")
    original = open_model(folder)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        progress(0.1, "packing its weights")
        candidate = _write(open_model(folder), part, bits, folder)
        progress(0.4, "comparing what both say")
        found = _compare(original, open_model(part), rows=rows, seed=seed)
        for agreement in found.values():
            agreement.require(bound or BOUNDS[bits])
        # The whole folder at once: a crash leaves nothing that looks finished.
        os.replace(part, out)
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    progress(1.0, "done")
    return Quantised(
        folder=out,
        digest=candidate.digest,
        bits=bits,
        bytes_before=_bytes_of(folder),
        bytes_after=_bytes_of(out),
        agreements=found,
    )


def _write(model: AnyModel, out: Path, bits: Bits, folder: Path) -> Candidate:
    """Write the packed model, with the interface and the lineage of the one in ``folder``."""
    sealed = Candidate.open(folder) if (folder / MANIFEST_NAME).exists() else None
    # What it has learned from is asked after when it is scored.
    learned = sealed.lineage if sealed else {}
    lineage: dict[str, Json] = {**learned, "parent": digest_of(folder), "quantised_bits": bits}
    if isinstance(model, LanguageModel):
        return save_packed(model, out, bits, lineage=lineage)
    pack_layers(model.model, bits, keep=UNPACKED)
    model.save(out)
    return Candidate.seal(
        out,
        family=TEXT_PICTURE,
        interface=sealed.interface if sealed else NO_BODY,
        config={**model.model.config.to_json(), PACKED_BITS: bits},
        lineage=lineage,
    )


def _compare(original: AnyModel, other: AnyModel, *, rows: int, seed: int) -> dict[str, Agreement]:
    if isinstance(original, LanguageModel) and isinstance(other, LanguageModel):
        return {"text": compare_language(original, other, rows=rows, seed=seed)}
    assert isinstance(original, TextPictureModel)
    assert isinstance(other, TextPictureModel)
    return compare_text_picture(original, other, rows=rows, seed=seed)


def compare_language(
    original: LanguageModel, other: LanguageModel, *, rows: int, seed: int, tokens: int = 48
) -> Agreement:
    """Compare two language models on texts that the first one writes.

    Args:
        original: Writes.
        other: Has the same vocabulary.
        rows: Texts.
        seed: Draws them, and the token that each begins with.
        tokens: Of each text.
    """
    places = original.module.get_input_embeddings().weight.shape[0]  # type: ignore[index]
    begins = np.random.default_rng(seed).integers(0, int(places), rows)
    mine, others = [], []
    for number, begin in enumerate(begins):
        sampling = Sampling(max_tokens=tokens, seed=seed + number)
        row = [int(begin), *original.generate([int(begin)], sampling).tokens]
        mine.append(original.logits(torch.tensor([row]))[0].cpu())
        others.append(other.logits(torch.tensor([row]))[0].cpu())
    return Agreement.between(torch.cat(mine), torch.cat(others))


def compare_text_picture(
    original: TextPictureModel, other: TextPictureModel, *, rows: int, seed: int
) -> dict[str, Agreement]:
    """Compare two models on pictures that the first one paints, and its texts about them.

    Args:
        original: Paints, in every style that it knows, and writes.
        other: Has the same vocabularies.
        rows: Pictures.
        seed: Draws them.
    """
    language, styles = _marks(original)
    prompts = [Prompt("", language, styles[row % len(styles)]) for row in range(rows)]
    image_BHWC = original.paint(prompts, seed=seed, how=Painting(temperature=1.0, guidance=1.0))
    code_BN = original.encode(image_BHWC)
    words = original.words
    pairs = [
        Pair(words.encode(text), codes, words.tag(language), words.tag(prompt.style))
        for text, codes, prompt in zip(
            original.write(image_BHWC, language=language), code_BN, prompts, strict=True
        )
    ]
    mine, others = _scores(original, pairs), _scores(other, pairs)
    return {name: Agreement.between(mine[name], others[name]) for name in mine}


def _marks(model: TextPictureModel) -> tuple[str, Sequence[str]]:
    """Return a language and the styles that a model knows; languages have two letters."""
    tags = model.words.tags()
    styles = [tag for tag in tags if len(tag) > 3] or tags
    return ("en" if "en" in tags else tags[0]), styles


@torch.no_grad()
def _scores(model: TextPictureModel, pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Return what a model expects at every code of a painting and every word of a text."""
    count, words = model.model.config.pictures.tokens, model.words.size
    framed = [make(pair, words) for pair in pairs for make in (paint, write)]
    both = batch(framed, [True, False] * len(pairs), codes=count).to(model.model.place_ND.device)
    is_code_BT = both.place_BT[:, 1:] > 0
    is_word_BT = ~both.paints_B[:, None] & (both.place_BT[:, :-1] == 0)
    for row, (tokens, first) in enumerate(framed):
        # Words of a text begin behind the language's mark and end with the end.
        is_word_BT[row, : first + count] = False
        is_word_BT[row, len(tokens) - 1 :] = False
    codes, texts = model.model(
        both.token_BT[:, :-1],
        both.place_BT[:, :-1],
        is_code_BT & both.paints_B[:, None],
        is_word_BT,
    )
    return {"codes": codes.cpu(), "words": texts.cpu()}


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(_WEIGHTS))
