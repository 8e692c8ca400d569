"""Rotary positions: a query and a key meet as if rotated by the distance between them.

Su et al., "RoFormer" (2021). Shapes: B batch, H heads, T tokens, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_angles(positions_T: Tensor, head_width: int, *, base: float = 10_000.0) -> Tensor:
    """Return the angles ``(T, K / 2)`` of every position and frequency.

    Args:
        positions_T: Positions, integer or fractional, ``(T,)``.
        head_width: K, even.
        base: The longest wavelength is ``2 * pi * base`` tokens.
    """
    exponents = torch.arange(0, head_width, 2, device=positions_T.device) / head_width
    return positions_T.float()[:, None] * base ** -exponents[None, :]


def rotate(x_BHTK: Tensor, angles_TK2: Tensor) -> Tensor:
    """Rotate each pair (first half, second half) of the head width by its angle."""
    cosine, sine = angles_TK2.cos().to(x_BHTK.dtype), angles_TK2.sin().to(x_BHTK.dtype)
    first, second = x_BHTK.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
