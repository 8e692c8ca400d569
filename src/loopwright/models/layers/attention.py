"""Grouped-query attention, over the tokens at hand or those of a cache as well.

Ainslie et al., "GQA" (2023): several query heads share one key and value head, which shrinks the
cache of a decoder. Shapes: B batch, T tokens, S tokens that may be looked at (those of the cache
first), D width, H query heads, G key heads, K head width.
"""

from __future__ import annotations

from typing import Final, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.models.layers.cache import LayerCache
from loopwright.models.layers.rotary import rotate

ALL: Final = "all"
CAUSAL: Final = "causal"
Visible = Tensor | Literal["all", "causal"]
"""Which tokens each one sees: all of them, those up to itself, or, as a tensor, True where token
T sees token S, ``(T, S)`` or ``(B, 1, T, S)``."""


class Attention(nn.Module):
    """Self-attention with rotary positions."""

    def __init__(self, *, width: int, heads: int, key_heads: int, normalise: bool = False) -> None:
        """Build the four projections.

        Args:
            width: D, a multiple of ``heads``.
            heads: H, number of query heads.
            key_heads: G, number of key and value heads; divides ``heads``.
            normalise: Whether queries and keys are normalised before they meet, which keeps
                large learning rates stable (Henry et al., "Query-Key Normalization", 2020).
        """
        super().__init__()
        self.heads, self.key_heads, self.head_width = heads, key_heads, width // heads
        self.query = nn.Linear(width, heads * self.head_width, bias=False)
        self.key = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.out = nn.Linear(heads * self.head_width, width, bias=False)
        self.query_norm = nn.LayerNorm(self.head_width, bias=False) if normalise else nn.Identity()
        self.key_norm = nn.LayerNorm(self.head_width, bias=False) if normalise else nn.Identity()

    def forward(
        self,
        x_BTD: Tensor,
        angles_TK2: Tensor,
        *,
        visible: Visible = ALL,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Return what every token gathers from the tokens it may see, ``(B, T, D)``.

        Args:
            x_BTD: The tokens.
            angles_TK2: Rotary angles of their positions.
            visible: Which tokens each one sees.
            cache: Keys and values of earlier tokens; those of ``x_BTD`` are added to it.
        """
        query_BHTK = rotate(self.query_norm(self._split(self.query(x_BTD))), angles_TK2)
        key_BGSK = rotate(self.key_norm(self._split(self.key(x_BTD))), angles_TK2)
        value_BGSK = self._split(self.value(x_BTD))
        if cache is not None:
            key_BGSK, value_BGSK = cache.extend(key_BGSK, value_BGSK)
        mixed_BHTK = attend(query_BHTK, key_BGSK, value_BGSK, visible)
        return self.out(mixed_BHTK.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor) -> Tensor:
        # The number of heads follows from the width: under tensor parallelism it is a share.
        return x_BTD.unflatten(-1, (-1, self.head_width)).transpose(1, 2)


def attend(query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, visible: Visible) -> Tensor:
    """Return the mixtures of values that queries ask for, ``(B, H, T, K)``."""
    # On a CPU the fused kernel's backward pass in bfloat16 costs 3 to 4 times the plain products.
    if query_BHTK.device.type == "cpu" and query_BHTK.dtype == torch.bfloat16:
        return _attend_plainly(query_BHTK, key_BGSK, value_BGSK, visible)
    return F.scaled_dot_product_attention(
        query_BHTK,
        key_BGSK,
        value_BGSK,
        attn_mask=visible if isinstance(visible, Tensor) else None,
        is_causal=isinstance(visible, str) and visible == CAUSAL,
        enable_gqa=key_BGSK.shape[1] != query_BHTK.shape[1],
    )


def causal_mask(earlier: int, tokens: int, device: torch.device) -> Tensor:
    """Return ``(T, S)``, True where a token may look: at earlier ones, before it, at itself."""
    mask = torch.ones(tokens, earlier + tokens, dtype=torch.bool, device=device)
    return mask.tril(earlier)


def _attend_plainly(
    query_BHTK: Tensor, key_BGSK: Tensor, value_BGSK: Tensor, visible: Visible
) -> Tensor:
    query = query_BHTK.unflatten(1, (key_BGSK.shape[1], -1)) * query_BHTK.shape[-1] ** -0.5
    score = query @ key_BGSK[:, :, None].transpose(-1, -2)
    if isinstance(visible, str) and visible == CAUSAL:
        visible = causal_mask(0, query_BHTK.shape[2], query_BHTK.device)
    if isinstance(visible, Tensor):
        hidden = ~visible if visible.ndim == 2 else ~visible[:, :, None]
        score = score.masked_fill(hidden, torch.finfo(score.dtype).min)
    return (score.softmax(dim=-1) @ value_BGSK[:, :, None]).flatten(1, 2)
