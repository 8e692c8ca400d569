"""The one backbone: a pre-norm transformer that every family shares.

Families differ by the tokens they put in and the heads they put on, never by a copy of this
file. Shapes: B batch, T tokens, D width, K head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.attention import Attention
from loopwright.models.layers.feedforward import SwiGLU
from loopwright.models.layers.norm import RMSNorm
from loopwright.models.layers.rotary import rotary_angles


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Size of a backbone."""

    width: int
    layers: int
    heads: int
    key_heads: int
    hidden: int
    """Hidden width of the feed-forward layer."""
    causal: bool = False
    """Whether a token sees only itself and the tokens before it."""

    def __post_init__(self) -> None:
        """Refuse head counts that do not divide."""
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise InvalidConfig(
                f"width {self.width} over {self.heads} heads gives {self.width / self.heads:g} "
                "a head; expected an even whole number"
            )
        if self.heads % self.key_heads:
            raise InvalidConfig(
                f"{self.heads} heads cannot share {self.key_heads} key heads evenly; "
                "key_heads must divide heads"
            )


FeedForward = Callable[[TransformerConfig], nn.Module]
"""Makes the feed-forward layer of one block: ``(B, T, D) -> (B, T, D)``. Dense by default; a
mixture of experts is another function here, and nothing else of the backbone changes."""


def dense(config: TransformerConfig) -> nn.Module:
    """Return the dense feed-forward layer of a block."""
    return SwiGLU(width=config.width, hidden=config.hidden)


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy and added back."""

    def __init__(self, config: TransformerConfig, feedforward: nn.Module) -> None:
        """Build one block around a feed-forward layer."""
        super().__init__()
        self.causal = config.causal
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(
            width=config.width, heads=config.heads, key_heads=config.key_heads
        )
        self.feedforward_norm = RMSNorm(config.width)
        self.feedforward = feedforward

    def forward(self, x_BTD: Tensor, angles_TK2: Tensor) -> Tensor:
        """Return the tokens after this block."""
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD), angles_TK2, causal=self.causal)
        return x_BTD + self.feedforward(self.feedforward_norm(x_BTD))


class Transformer(nn.Module):
    """A stack of blocks and a last norm. Embeddings and heads belong to the family."""

    def __init__(self, config: TransformerConfig, *, feedforward: FeedForward = dense) -> None:
        """Build the stack.

        Args:
            config: Its size.
            feedforward: Makes the feed-forward layer of each block.
        """
        super().__init__()
        self.head_width = config.width // config.heads
        self.blocks = nn.ModuleList(
            Block(config, feedforward(config)) for _ in range(config.layers)
        )
        self.norm = RMSNorm(config.width)

    def forward(self, x_BTD: Tensor, positions_T: Tensor | None = None) -> Tensor:
        """Return contextual tokens ``(B, T, D)``.

        Args:
            x_BTD: Embedded tokens.
            positions_T: Their positions; ``0 .. T-1`` unless given.
        """
        if positions_T is None:
            positions_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
        angles_TK2 = rotary_angles(positions_T, self.head_width)
        for block in self.blocks:
            x_BTD = block(x_BTD, angles_TK2)
        return self.norm(x_BTD)
