"""What tokenizer and model are trained to do.

Shapes: B batch, H and W pixels, T tokens of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from loopwright.models.layers.distil import distilled_nats
from loopwright.models.layers.mixture import balance_loss
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import PictureTokenizer
from loopwright.models.wudao.sequences import Counts, Sequences
from loopwright.models.wudao.words import PAD


def picture_loss(
    tokenizer: PictureTokenizer, image_BHWC: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return how far pictures are from what comes back of them.

    Squared error, and the absolute error of pixels and of their differences to neighbours, which
    keeps edges sharp.

    Args:
        tokenizer: What is trained.
        image_BHWC: uint8.
    """
    true_BHWC = image_BHWC.float() / 127.5 - 1
    made_BHWC = tokenizer(image_BHWC).float()
    off_BHWC = made_BHWC - true_BHWC
    squared, absolute = off_BHWC.square().mean(), off_BHWC.abs().mean()
    edges = off_BHWC.diff(dim=1).abs().mean() + off_BHWC.diff(dim=2).abs().mean()
    parts = {"squared": squared, "absolute": absolute, "edges": edges}
    return 4 * squared + absolute + 0.5 * edges, {k: v.detach() for k, v in parts.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceWeights:
    """How much each kind of token counts. Each kind is averaged over its own tokens."""

    painted: float = 1.0
    """Codes that follow from a text."""
    written: float = 1.0
    """Words that follow from a picture."""
    given: float = 0.1
    """Words and codes that come first in their sequence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """What another model of the same words and codes has to say to each sequence."""

    teacher: Wudao
    temperature: float
    share: float
    """Part of the loss that is the teacher's."""


def sequence_loss(
    model: Wudao,
    sequences: Sequences,
    weights: SequenceWeights,
    *,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
    lesson: Lesson | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the next-token loss of mixed sequences, and the nats a token of each kind.

    Args:
        model: What is trained; called as a function.
        sequences: The batch.
        weights: How much each kind of token counts.
        noise: Share of the codes that are seen as another one, at random: a model that trusts
            every earlier code drifts away from the text after its first own mistake.
        generator: Draws the noise.
        lesson: Learned beside the data. The teacher sees every code as it is.
    """
    token_BT, place_BT = sequences.token_BT, sequences.place_BT
    seen_BT = _noisy(model, token_BT[:, :-1], place_BT[:, :-1], noise, generator)
    next_BT = token_BT[:, 1:]
    is_code_BT = place_BT[:, 1:] > 0
    is_word_BT = (next_BT != PAD) & ~is_code_BT
    paints_BT = sequences.paints_B[:, None].expand_as(next_BT)
    asked = place_BT[:, :-1], is_code_BT, is_word_BT
    score_codes, score_words = model(seen_BT, *asked)
    code_M = F.cross_entropy(
        score_codes, next_BT[is_code_BT] - model.config.texts, reduction="none"
    )
    word_M = F.cross_entropy(score_words, next_BT[is_word_BT], reduction="none")
    kinds = paints_BT[is_code_BT], paints_BT[is_word_BT]
    parts = _by_kind(code_M, word_M, *kinds, sequences.counts)
    loss = _weighed(parts, weights)
    if lesson is not None:
        with torch.no_grad():
            believed_codes, believed_words = lesson.teacher(token_BT[:, :-1], *asked)
        heat = lesson.temperature
        code_M = distilled_nats(score_codes, believed_codes, temperature=heat)
        word_M = distilled_nats(score_words, believed_words, temperature=heat)
        taught = _weighed(_by_kind(code_M, word_M, *kinds, sequences.counts), weights)
        loss = (1 - lesson.share) * loss + lesson.share * taught
        parts["taught"] = taught
    return loss + balance_loss(model), {k: v.detach() for k, v in parts.items()}


def _by_kind(
    code_M: Tensor, word_M: Tensor, code_paints: Tensor, word_paints: Tensor, counts: Counts
) -> dict[str, Tensor]:
    """Return the mean of what the tokens of each kind cost."""
    shown, told = _sum(code_M, ~code_paints), _sum(word_M, word_paints)
    return {
        "painted": _sum(code_M, code_paints) / max(1.0, counts.painted),
        "written": _sum(word_M, ~word_paints) / max(1.0, counts.written),
        "given": shown / max(1.0, counts.shown) + told / max(1.0, counts.told),
    }


def _weighed(parts: dict[str, Tensor], weights: SequenceWeights) -> Tensor:
    return torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()


def _noisy(
    model: Wudao,
    token_BT: Tensor,
    place_BT: Tensor,
    noise: float,
    generator: torch.Generator | None,
) -> Tensor:
    if noise <= 0:
        return token_BT
    # Drawn on the CPU: the same batch then meets the same noise on every device.
    hit_BT = torch.rand(token_BT.shape, generator=generator) < noise
    first, codes = model.config.texts, model.config.pictures.codes
    other_BT = torch.randint(first, first + codes, token_BT.shape, generator=generator)
    hit_BT, other_BT = hit_BT.to(token_BT.device), other_BT.to(token_BT.device)
    return torch.where((place_BT > 0) & hit_BT, other_BT, token_BT)


def _sum(value_M: Tensor, chosen_M: Tensor) -> Tensor:
    """Return the sum of the chosen values."""
    return (value_M * chosen_M.to(value_M.dtype)).sum()
