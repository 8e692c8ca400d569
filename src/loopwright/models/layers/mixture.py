"""A sparse mixture of experts: every token is sent to a few of many small feed-forward layers.

Routing is token choice without capacity, so no token is dropped. Tokens are sorted by expert and
all experts computed by one grouped product, the same code on every device. Loads are evened out
by a bias on the choice alone (Wang et al., "Auxiliary-Loss-Free Load Balancing Strategy for
Mixture-of-Experts", 2024), by the classic loss (Fedus et al., "Switch Transformers", 2021), or
by both.

Shapes: B batch, T tokens of a row, N tokens in all, D width, E experts, C chosen per token, M
tokens sent (``N * C``), F hidden width of an expert.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.experts import Experts, grouped
from loopwright.models.layers.feedforward import SwiGLU
from loopwright.models.layers.sending import Sending

__all__ = [
    "Experts",
    "MixtureConfig",
    "MixtureOfExperts",
    "Router",
    "Routing",
    "balance_loss",
    "grouped",
    "mixtures",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class MixtureConfig:
    """How many experts, how large, and how their loads are kept even."""

    experts: int
    chosen: int
    """Experts that every token is sent to."""
    hidden: int
    """Hidden width of one expert."""
    shared_hidden: int = 0
    """Hidden width of an expert that sees every token; 0 for none."""
    bias_rate: float = 1e-3
    """Step of the balancing bias after each optimiser step; 0 turns it off."""
    balance_weight: float = 0.0
    """Weight of the classic balance loss; 0 turns it off."""

    def __post_init__(self) -> None:
        """Refuse to choose more experts than there are, and rates that even nothing out."""
        if not 1 <= self.chosen <= self.experts:
            raise InvalidConfig(
                f"{self.chosen} experts are to be chosen of {self.experts}; expected 1 to "
                f"{self.experts}"
            )
        if self.hidden < 1 or self.shared_hidden < 0:
            raise InvalidConfig(
                f"hidden is {self.hidden} and shared_hidden {self.shared_hidden}; "
                "expected at least 1 and at least 0"
            )
        for name in ("bias_rate", "balance_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidConfig(
                    f"{name} is {getattr(self, name)}; expected a finite number from 0"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Routing:
    """Where one pass sent its tokens."""

    expert_NC: Tensor
    """Chosen experts, int64."""
    weight_NC: Tensor
    """What the result of each counts, float32: shares that sum to 1, or of a single one how much
    it is wanted."""
    load_E: Tensor
    """Tokens sent to each expert, int64."""
    affinity_NE: Tensor
    """How much every token wants every expert, float32, each from 0 to 1."""

    @property
    def balance(self) -> Tensor:
        """The classic balance loss: 1 when all experts get and are wanted alike, up to E."""
        share_NE = self.affinity_NE / self.affinity_NE.sum(dim=-1, keepdim=True)
        got_E = self.load_E / self.expert_NC.numel()
        return len(got_E) * (share_NE.mean(dim=0) * got_E).sum()


class Router(nn.Module):
    """Chooses the experts of a token, in full precision whatever the rest computes in."""

    def __init__(self, config: MixtureConfig, *, width: int) -> None:
        """Build the scores and start with an even bias."""
        super().__init__()
        self.chosen = config.chosen
        self.score = nn.Linear(width, config.experts, bias=False)
        self.bias_E: Tensor
        self.register_buffer("bias_E", torch.zeros(config.experts))

    def forward(self, x_ND: Tensor) -> Routing:
        """Return where every token goes."""
        kind = x_ND.device.type
        has_autocast = torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if has_autocast else nullcontext():
            affinity_NE = F.linear(x_ND.float(), self.score.weight.float()).sigmoid()
        # The bias decides who is chosen and never how much a chosen one counts.
        expert_NC = (
            (affinity_NE.detach() + self.bias_E).topk(self.chosen, dim=-1, sorted=False).indices
        )
        weight_NC = affinity_NE.gather(-1, expert_NC)
        if self.chosen > 1:
            # The share of a single one would always be 1, and the router learn nothing of it.
            weight_NC = weight_NC / weight_NC.sum(dim=-1, keepdim=True)
        return Routing(
            expert_NC=expert_NC,
            weight_NC=weight_NC,
            load_E=_count(expert_NC, affinity_NE.shape[-1]),
            affinity_NE=affinity_NE,
        )


def _count(expert_NC: Tensor, experts: int) -> Tensor:
    # Unlike bincount, this has a shape that the compiler knows.
    expert_M = expert_NC.flatten()
    return expert_M.new_zeros(experts).scatter_add_(0, expert_M, torch.ones_like(expert_M))


class MixtureOfExperts(nn.Module):
    """The sparse feed-forward half of a transformer block."""

    def __init__(self, config: MixtureConfig, *, width: int) -> None:
        """Build router, experts and the shared expert."""
        super().__init__()
        self.config = config
        self.router = Router(config, width=width)
        self.experts = Experts(experts=config.experts, width=width, hidden=config.hidden)
        self.shared = (
            SwiGLU(width=width, hidden=config.shared_hidden) if config.shared_hidden else None
        )
        self.routing: Routing | None = None
        """Of the last pass; read it before the next."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the last pass out of copies: it hangs on a graph, which cannot be copied."""
        return {**self.__dict__, "routing": None}

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``; every token is treated alone."""
        x_ND = x_BTD.flatten(0, 1)
        self.routing = routing = self.router(x_ND)
        sending = Sending.by_expert(routing.expert_NC)
        done_MD = self.experts(sending.send(x_ND), routing.load_E)
        mixed_ND = sending.collect(done_MD, routing.weight_NC)
        if self.shared is not None:
            mixed_ND = mixed_ND + self.shared(x_ND)
        return mixed_ND.unflatten(0, x_BTD.shape[:2])


def mixtures(module: nn.Module) -> Iterator[MixtureOfExperts]:
    """Yield the mixtures inside a model, first layer first."""
    return (m for m in module.modules() if isinstance(m, MixtureOfExperts))


def balance_loss(module: nn.Module) -> Tensor | float:
    """Return the weighted balance losses of the last pass, to be added to the loss."""
    return sum(
        m.config.balance_weight * m.routing.balance
        for m in mixtures(module)
        if m.config.balance_weight and m.routing is not None
    )
