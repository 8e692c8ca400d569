"""Grouped-query attention.

Ainslie et al., "GQA" (2023): several query heads share one key and value head, which shrinks the
cache of a decoder. Shapes: B batch, T tokens, D width, H query heads, G key heads, K head width.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.models.layers.rotary import rotate


class Attention(nn.Module):
    """Self-attention with rotary positions, causal or full."""

    def __init__(self, *, width: int, heads: int, key_heads: int) -> None:
        """Build the four projections.

        Args:
            width: D, a multiple of ``heads``.
            heads: H, number of query heads.
            key_heads: G, number of key and value heads; divides ``heads``.
        """
        super().__init__()
        self.heads, self.key_heads, self.head_width = heads, key_heads, width // heads
        self.query = nn.Linear(width, heads * self.head_width, bias=False)
        self.key = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.value = nn.Linear(width, key_heads * self.head_width, bias=False)
        self.out = nn.Linear(heads * self.head_width, width, bias=False)

    def forward(self, x_BTD: Tensor, angles_TK2: Tensor, *, causal: bool) -> Tensor:
        """Return what every token gathers from the tokens it may see, ``(B, T, D)``."""
        query_BHTK = rotate(self._split(self.query(x_BTD), self.heads), angles_TK2)
        key_BGTK = rotate(self._split(self.key(x_BTD), self.key_heads), angles_TK2)
        value_BGTK = self._split(self.value(x_BTD), self.key_heads)
        mixed_BHTK = F.scaled_dot_product_attention(
            query_BHTK,
            key_BGTK,
            value_BGTK,
            is_causal=causal,
            enable_gqa=self.key_heads != self.heads,
        )
        return self.out(mixed_BHTK.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor, heads: int) -> Tensor:
        return x_BTD.unflatten(-1, (heads, self.head_width)).transpose(1, 2)
