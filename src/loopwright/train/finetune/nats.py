"""How unlikely the tokens to be learned are, computed for those tokens alone.

Shapes: R rows, T tokens of a row, K places of which one row or another wants the next token, V
vocabulary.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.models.layers.distil import distilled_nats
from loopwright.train.finetune.packing import Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """What another model with the same vocabulary has to say to each token that is learned."""

    teacher: nn.Module
    temperature: float
    share: float
    """Part of the loss that is the teacher's."""


@dataclass(frozen=True, slots=True)
class Nats:
    """What learned tokens cost."""

    nats_RK: Tensor
    """Negative log-likelihood, float32; 0 where a row learns nothing."""
    hit_RK: Tensor
    """Whether the likeliest token is the right one."""
    learned_RK: Tensor
    taught_RK: Tensor | None = None
    """Divergence from the teacher's beliefs, float32; 0 where a row learns nothing."""

    @property
    def count(self) -> Tensor:
        """How many tokens are learned."""
        return self.learned_RK.sum()


def nats_of(network: nn.Module, rows: Rows, lesson: Lesson | None = None) -> Nats:
    """Return the cost of every learned token; gradients flow through it.

    Args:
        network: What learns.
        rows: What from.
        lesson: Whose beliefs to measure against too.
    """
    learned_RT = rows.learned_RT[:, 1:]
    place_K = learned_RT.any(dim=0).nonzero().flatten()
    logits_RKV = _scores(network, rows, place_K)
    target_RK = rows.token_RT[:, 1:][:, place_K]
    learned_RK = learned_RT[:, place_K]
    nats_RK = F.cross_entropy(logits_RKV.transpose(1, 2), target_RK, reduction="none")
    return Nats(
        nats_RK=torch.where(learned_RK, nats_RK, 0.0),
        hit_RK=(logits_RKV.detach().argmax(dim=-1) == target_RK) & learned_RK,
        learned_RK=learned_RK,
        taught_RK=None
        if lesson is None
        else _taught(logits_RKV, learned_RK, rows, lesson, place_K),
    )


def _taught(
    logits_RKV: Tensor, learned_RK: Tensor, rows: Rows, lesson: Lesson, place_K: Tensor
) -> Tensor:
    with torch.no_grad():
        believed_RKV = _scores(lesson.teacher, rows, place_K)
    # Of one vocabulary, but one network may have room for more tokens than there are.
    tokens = min(logits_RKV.shape[-1], believed_RKV.shape[-1])
    apart_RK = distilled_nats(
        logits_RKV[..., :tokens], believed_RKV[..., :tokens], temperature=lesson.temperature
    )
    return torch.where(learned_RK, apart_RK, 0.0)


def _scores(network: nn.Module, rows: Rows, place_K: Tensor) -> Tensor:
    """Return the scores of the token after each place, float32 ``(R, K, V)``.

    Those of all places are the largest tensor of a step by far, so the network is asked for the
    ones that some row needs alone, if it can be asked.
    """
    selects = _can_select(network)
    asked: dict[str, Any] = {"logits_to_keep": place_K} if selects else {}
    if rows.packed:
        asked["position_ids"] = rows.position_RT
    logits = network(input_ids=rows.token_RT, use_cache=False, **asked).logits
    return (logits if selects else logits[:, place_K]).float()


def _can_select(network: nn.Module) -> bool:
    inner = network.get_base_model() if hasattr(network, "get_base_model") else network  # type: ignore[operator]
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
