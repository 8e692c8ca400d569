"""Tokens on their way to experts and back.

Sending copies rows by a gather; collecting sums the copies of each token by a gather too. Either is
the derivative of the other, so nothing is ever scattered: results are the same each time, on
accelerators as well, and no copy of the copies is made.

Shapes: N tokens, D width, C experts per token, M copies (``N * C``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Sending:
    """The order in which copies of tokens reach the experts, those of the first expert first."""

    order_M: Tensor
    """Copy ``n * C + c`` is that of token n for its expert c."""
    back_NC: Tensor
    """Where in that order each copy is."""

    @classmethod
    def by_expert(cls, expert_NC: Tensor) -> Sending:
        """Sort copies by their experts; those of one expert stay in the order of tokens."""
        order_M = expert_NC.flatten().argsort(stable=True)
        place_M = torch.arange(len(order_M), device=order_M.device)
        back_M = torch.empty_like(order_M).scatter_(0, order_M, place_M)
        return cls(order_M=order_M, back_NC=back_M.view_as(expert_NC))

    def send(self, x_ND: Tensor) -> Tensor:
        """Return the copies, ``(M, D)``."""
        copies_MD = _Send.apply(x_ND, self._tokens(), self.back_NC)
        assert isinstance(copies_MD, Tensor)
        return copies_MD

    def collect(self, copies_MD: Tensor, weight_NC: Tensor) -> Tensor:
        """Return the weighted sums of the copies of every token, ``(N, D)``."""
        mixed_ND = _Collect.apply(
            copies_MD, weight_NC.to(copies_MD.dtype), self.order_M, self._tokens(), self.back_NC
        )
        assert isinstance(mixed_ND, Tensor)
        return mixed_ND

    def _tokens(self) -> Tensor:
        return self.order_M // self.back_NC.shape[1]


class _Send(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, token_M: Tensor, back_NC: Tensor) -> Tensor:
        ctx.save_for_backward(back_NC)
        return x_ND.index_select(0, token_M)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (back_NC,) = ctx.saved_tensors
        return F.embedding_bag(back_NC, gradients[0].contiguous(), mode="sum"), None, None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, copies_MD: Tensor, weight_NC: Tensor, *places: Tensor) -> Tensor:
        order_M, token_M, back_NC = places
        ctx.save_for_backward(copies_MD, weight_NC, order_M, token_M, back_NC)
        return F.embedding_bag(back_NC, copies_MD, mode="sum", per_sample_weights=weight_NC)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        copies_MD, weight_NC, order_M, token_M, back_NC = ctx.saved_tensors
        given_MD = gradients[0].index_select(0, token_M)
        weight_gradient_M = (given_MD * copies_MD).sum(dim=-1)
        weight_gradient_NC = weight_gradient_M.index_select(0, back_NC.flatten()).view_as(back_NC)
        given_MD.mul_(weight_NC.flatten().index_select(0, order_M)[:, None])
        return given_MD, weight_gradient_NC, None, None, None
