"""Which experts take which tokens: of words or of pictures, when painting or when writing.

The marks that frame a sequence are of neither kind and are left out.

Shapes: B pairs of text and picture, N codes of a picture, K ways of being read (painting, writing),
M modalities (words, codes), L layers with experts, E experts, T tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import numpy as np
import torch

from loopwright.models.layers.mixture import mixtures
from loopwright.models.wudao.sample import Prompt, TextPictureModel
from loopwright.models.wudao.sequences import Pair, Sequences, batch, paint, write
from loopwright.models.wudao.words import END

Direction = Literal["painting", "writing"]
Modality = Literal["words", "codes"]

DIRECTIONS: Final[tuple[Direction, ...]] = get_args(Direction)
MODALITIES: Final[tuple[Modality, ...]] = get_args(Modality)

_BATCH = 64


def expert_layers(model: TextPictureModel) -> tuple[int, ...]:
    """Return which layers have experts, from 0; none in a dense model."""
    blocks = model.model.backbone.blocks
    return tuple(number for number, block in enumerate(blocks) if any(mixtures(block)))


def expert_use(
    model: TextPictureModel, prompts: Sequence[Prompt], code_BN: np.ndarray
) -> np.ndarray:
    """Count how often each expert was sent a token, int64 ``(B, K, M, L, E)``.

    Every pair is read twice, as it is painted and as it is written about. A token counts once for
    each expert that it is sent to. Pairs are kept apart, since tokens of one are not independent.

    Args:
        model: Whose experts; of a dense model L and E are 0.
        prompts: B texts.
        code_BN: The codes of their pictures, as :meth:`TextPictureModel.encode` returns them.

    Raises:
        UnknownName: The model was never shown a language or style.
    """
    config = model.model.config.backbone
    experts = config.mixture.experts if config.mixture else 0
    layers = len(expert_layers(model)) if experts else 0
    used = np.zeros(
        (len(prompts), len(DIRECTIONS), len(MODALITIES), layers, experts), dtype=np.int64
    )
    if not layers:
        return used
    for begin in range(0, len(prompts), _BATCH):
        pairs = [
            _pair(model, *pair)
            for pair in zip(
                prompts[begin : begin + _BATCH], code_BN[begin : begin + _BATCH], strict=True
            )
        ]
        for number, frame in enumerate((paint, write)):
            framed = [frame(pair, model.words.size) for pair in pairs]
            sequences = batch(
                framed, [frame is paint] * len(framed), codes=model.model.config.pictures.tokens
            )
            used[begin : begin + len(pairs), number] = _counted(model, sequences, experts)
    return used


def total_variation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return how differently tokens are spread over experts: 0 alike, 1 without a shared expert.

    Args:
        one: Counts ``(..., E)``; not all zero.
        other: Counts of the same shape.
    """
    first, second = (c / c.sum(axis=-1, keepdims=True) for c in (one, other))
    return np.abs(first - second).sum(axis=-1) / 2


def _pair(model: TextPictureModel, prompt: Prompt, code_N: np.ndarray) -> Pair:
    words = model.words
    text = words.encode(prompt.text)[: model.model.config.text_tokens]
    return Pair(text, code_N, words.tag(prompt.language), words.tag(prompt.style))


@torch.no_grad()
def _counted(model: TextPictureModel, sequences: Sequences, experts: int) -> np.ndarray:
    """Return the counts of sequences of one direction, ``(B, M, L, E)``."""
    sequences = sequences.to(model.model.place_ND.device)
    model.model.contextual(sequences.token_BT, sequences.place_BT)
    is_code_BT = (sequences.place_BT > 0).cpu().numpy()
    # Marks have the first numbers: those of the framing, then one for each language and style.
    marks = END + 1 + len(model.words.tags())
    is_word_BT = ~is_code_BT & (sequences.token_BT >= marks).cpu().numpy()
    layers = []
    for mixture in mixtures(model.model):
        assert mixture.routing is not None
        expert_BTC = mixture.routing.expert_NC.cpu().numpy().reshape(*is_code_BT.shape, -1)
        layers.append(
            np.stack([_by_row(expert_BTC, of, experts) for of in (is_word_BT, is_code_BT)], axis=1)
        )
    return np.stack(layers, axis=2)


def _by_row(expert_BTC: np.ndarray, chosen_BT: np.ndarray, experts: int) -> np.ndarray:
    """Return how often each expert stands at the chosen tokens of each row, ``(B, E)``."""
    rows = len(expert_BTC)
    row_B11 = np.arange(rows)[:, None, None]
    place_M = (row_B11 * experts + expert_BTC)[chosen_BT].ravel()
    return np.bincount(place_M, minlength=rows * experts).reshape(rows, experts)
