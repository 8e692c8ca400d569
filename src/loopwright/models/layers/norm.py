"""Root-mean-square normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Scale the last axis to unit root mean square, then by a learned gain.

    Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    """

    def __init__(self, width: int, *, epsilon: float = 1e-6) -> None:
        """Start with a gain of one.

        Args:
            width: Size of the last axis.
            epsilon: Added to the mean square, so that a zero vector stays zero.
        """
        super().__init__()
        self.epsilon = epsilon
        self.gain_D = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x (..., D)`` normalised, in its own precision."""
        x_float = x.float()
        scale = torch.rsqrt(x_float.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return (x_float * scale).to(x.dtype) * self.gain_D
