"""How unlikely the tokens to be learned are, computed for those tokens alone.

Shapes: R rows, T tokens of a row, K places of which one row or another wants the next token.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.train.finetune.packing import Rows


@dataclass(frozen=True, slots=True)
class Nats:
    """What learned tokens cost."""

    nats_RK: Tensor
    """Negative log-likelihood, float32; 0 where a row learns nothing."""
    hit_RK: Tensor
    """Whether the likeliest token is the right one."""
    learned_RK: Tensor

    @property
    def count(self) -> Tensor:
        """How many tokens are learned."""
        return self.learned_RK.sum()


def nats_of(network: nn.Module, rows: Rows) -> Nats:
    """Return the cost of every learned token; gradients flow through it.

    The scores of all tokens of a vocabulary are the largest tensor of a step by far, so the network
    is asked for them only where some row needs them, if it can be asked.
    """
    learned_RT = rows.learned_RT[:, 1:]
    place_K = learned_RT.any(dim=0).nonzero().flatten()
    selects = _can_select(network)
    asked: dict[str, Any] = {"logits_to_keep": place_K} if selects else {}
    if rows.packed:
        asked["position_ids"] = rows.position_RT
    logits = network(input_ids=rows.token_RT, use_cache=False, **asked).logits
    logits_RKV = (logits if selects else logits[:, place_K]).float()
    target_RK = rows.token_RT[:, 1:][:, place_K]
    learned_RK = learned_RT[:, place_K]
    nats_RK = F.cross_entropy(logits_RKV.transpose(1, 2), target_RK, reduction="none")
    return Nats(
        nats_RK=torch.where(learned_RK, nats_RK, 0.0),
        hit_RK=(logits_RKV.detach().argmax(dim=-1) == target_RK) & learned_RK,
        learned_RK=learned_RK,
    )


def _can_select(network: nn.Module) -> bool:
    inner = network.get_base_model() if hasattr(network, "get_base_model") else network  # type: ignore[operator]
    return "logits_to_keep" in inspect.signature(inner.forward).parameters
