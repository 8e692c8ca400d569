"""The one backbone: a pre-norm transformer that every family shares.

Families differ by the tokens they put in and the heads they put on, never by a copy of this
file. Norms are layer norms without bias: as good as the root-mean-square ones and, on a CPU, six
times cheaper forwards and backwards. Shapes: B batch, T tokens, D width, K head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.attention import ALL, CAUSAL, Attention, Visible, causal_mask
from loopwright.models.layers.cache import Cache, LayerCache
from loopwright.models.layers.feedforward import SwiGLU
from loopwright.models.layers.mixture import MixtureConfig, MixtureOfExperts
from loopwright.models.layers.rotary import rotary_angles


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Size of a backbone."""

    width: int
    layers: int
    heads: int
    key_heads: int
    hidden: int
    """Hidden width of a dense feed-forward layer."""
    causal: bool = False
    """Whether a token sees only itself and the tokens before it."""
    normalise_heads: bool = False
    """Whether queries and keys are normalised; allows larger learning rates."""
    mixture: MixtureConfig | None = None
    """Makes the feed-forward layers sparse; None keeps all of them dense."""
    dense_layers: int = 1
    """How many layers at the start stay dense beside a mixture."""

    def __post_init__(self) -> None:
        """Refuse sizes below one, and head counts that do not divide."""
        for name in ("width", "layers", "heads", "key_heads", "hidden"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.dense_layers < 0:
            raise InvalidConfig(f"dense_layers is {self.dense_layers}; expected at least 0")
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

    @property
    def head_width(self) -> int:
        """K, width of one head."""
        return self.width // self.heads


class Block(nn.Module):
    """Attention, then feed-forward, each on a normalised copy and added back."""

    def __init__(self, config: TransformerConfig, *, sparse: bool) -> None:
        """Build one block, with experts or dense."""
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=False)
        self.attention = Attention(
            width=config.width,
            heads=config.heads,
            key_heads=config.key_heads,
            normalise=config.normalise_heads,
        )
        self.feedforward_norm = nn.LayerNorm(config.width, bias=False)
        self.feedforward = (
            MixtureOfExperts(config.mixture, width=config.width)
            if sparse and config.mixture is not None
            else SwiGLU(width=config.width, hidden=config.hidden)
        )

    def forward(
        self,
        x_BTD: Tensor,
        angles_TK2: Tensor,
        visible: Visible = ALL,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Return the tokens after this block."""
        x_BTD = x_BTD + self.attention(
            self.attention_norm(x_BTD), angles_TK2, visible=visible, cache=cache
        )
        return x_BTD + self.feedforward(self.feedforward_norm(x_BTD))


class Transformer(nn.Module):
    """A stack of blocks and a last norm. Embeddings and heads belong to the family."""

    def __init__(self, config: TransformerConfig) -> None:
        """Build the stack."""
        super().__init__()
        self.config, self.causal = config, config.causal
        self.blocks = nn.ModuleList(
            Block(config, sparse=layer >= config.dense_layers) for layer in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, bias=False)

    def forward(
        self,
        x_BTD: Tensor,
        positions_T: Tensor | None = None,
        *,
        segment_BT: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return contextual tokens ``(B, T, D)``.

        Args:
            x_BTD: Embedded tokens.
            positions_T: Their positions; they count on from the cache unless given.
            segment_BT: Number of the document that each token belongs to, where several are
                packed into a row; tokens of one never see another.
            cache: Of the tokens before these; these are added to it.
        """
        begin = cache.length if cache is not None else 0
        if positions_T is None:
            positions_T = torch.arange(begin, begin + x_BTD.shape[1], device=x_BTD.device)
        angles_TK2 = rotary_angles(positions_T, self.config.head_width)
        visible = self._visible(begin, x_BTD, segment_BT)
        for number, block in enumerate(self.blocks):
            layer = cache.layers[number] if cache is not None else None
            x_BTD = block(x_BTD, angles_TK2, visible, layer)
        return self.norm(x_BTD)

    def _visible(self, begin: int, x_BTD: Tensor, segment_BT: Tensor | None) -> Visible:
        tokens = x_BTD.shape[1]
        if segment_BT is not None:
            same_B1TT = segment_BT[:, None, :, None] == segment_BT[:, None, None, :]
            return same_B1TT & causal_mask(0, tokens, x_BTD.device) if self.causal else same_B1TT
        if not self.causal or tokens == 1:
            return ALL
        return causal_mask(begin, tokens, x_BTD.device) if begin else CAUSAL

    def make_cache(self, *, batch: int, capacity: int, dtype: torch.dtype = torch.float32) -> Cache:
        """Return an empty cache for rows of at most ``capacity`` tokens.

        Args:
            batch: B.
            capacity: Tokens that fit.
            dtype: Precision of the pass: that of autocast, if it is on.
        """
        config = self.config
        return Cache.empty(
            layers=config.layers,
            shape=(batch, config.key_heads, capacity, config.head_width),
            dtype=dtype,
            device=self.norm.weight.device,
        )
