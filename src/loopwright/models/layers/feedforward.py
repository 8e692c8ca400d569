"""The feed-forward half of a transformer block."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class SwiGLU(nn.Module):
    """A gated feed-forward layer (Shazeer, "GLU Variants Improve Transformer", 2020)."""

    def __init__(self, *, width: int, hidden: int) -> None:
        """Build the gate, the value and the way back."""
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=False)
        self.value = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return ``(B, T, D)``; every token is treated alone."""
        return self.out(F.silu(self.gate(x_BTD)) * self.value(x_BTD))
