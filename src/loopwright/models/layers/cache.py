"""Keys and values of tokens already seen, so that a decoder computes every token once.

Shapes: B batch, G key heads, S room for tokens, K head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from loopwright.core.errors import InvalidConfig


class LayerCache:
    """What one attention layer remembers."""

    def __init__(self, key_BGSK: Tensor, value_BGSK: Tensor) -> None:
        """Start empty in the given room."""
        self._key_BGSK, self._value_BGSK = key_BGSK, value_BGSK
        self.length = 0

    def extend(self, key_BGTK: Tensor, value_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Add the newest tokens and return keys and values of all so far.

        Raises:
            InvalidConfig: There is no room for so many.
        """
        begin, end = self.length, self.length + key_BGTK.shape[2]
        if end > self._key_BGSK.shape[2]:
            raise InvalidConfig(
                f"the cache has room for {self._key_BGSK.shape[2]} tokens and got {end}; "
                "make it with a larger capacity"
            )
        self._key_BGSK[:, :, begin:end] = key_BGTK
        self._value_BGSK[:, :, begin:end] = value_BGTK
        self.length = end
        return self._key_BGSK[:, :, :end], self._value_BGSK[:, :, :end]


class Cache:
    """What every layer of one backbone remembers of a batch."""

    def __init__(self, layers: list[LayerCache]) -> None:
        """Join the layers, first to last."""
        self.layers = layers

    @classmethod
    def empty(
        cls,
        *,
        layers: int,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Cache:
        """Return a cache with room.

        Args:
            layers: Layers of the backbone.
            shape: ``(B, G, S, K)``.
            dtype: Precision in which keys and values arrive.
            device: Where they arrive.
        """
        return cls(
            [
                LayerCache(
                    torch.empty(shape, dtype=dtype, device=device),
                    torch.empty(shape, dtype=dtype, device=device),
                )
                for _ in range(layers)
            ]
        )

    @property
    def length(self) -> int:
        """Tokens seen so far."""
        return self.layers[0].length
