"""The model over mixed sequences: one stack of experts reads and writes both words and pictures.

Words and picture codes share one numbering, words first. A code is embedded as the sum of its
digits and a vector of its own, and read out in the same way, so what is learned of one code
helps those that look alike.

Shapes: B batch, T tokens of a sequence, M tokens in all, D width, V words, C codes, Q digits of a
code, L levels of all digits.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from loopwright.models.layers.cache import Cache
from loopwright.models.layers.transformer import Transformer
from loopwright.models.wudao.config import CodesConfig, WudaoConfig


class Codes(nn.Module):
    """One vector for each code: that of its digits, and one of its own."""

    def __init__(self, config: CodesConfig, *, width: int) -> None:
        """Build the vectors of digits and of codes."""
        super().__init__()
        levels_Q = torch.tensor(config.levels)
        base_Q = levels_Q.cumprod(0) // levels_Q
        index_CQ = torch.arange(config.codes)[:, None] // base_Q % levels_Q
        first_Q = levels_Q.cumsum(0) - levels_Q
        self.row_CQ: Tensor
        self.register_buffer("row_CQ", index_CQ + first_Q, persistent=False)
        self.digit_LD = nn.Parameter(0.02 * torch.randn(sum(config.levels), width))
        self.own_CD = nn.Parameter(torch.zeros(config.codes, width))

    def forward(self) -> Tensor:
        """Return the vectors of all codes, ``(C, D)``."""
        return self.own_CD + F.embedding(self.row_CQ, self.digit_LD).sum(dim=1)


class Wudao(nn.Module):
    """Next-token model over words and picture codes."""

    def __init__(self, config: WudaoConfig) -> None:
        """Build embeddings, backbone and heads."""
        super().__init__()
        self.config = config
        width = config.backbone.width
        self.word_VD = nn.Parameter(0.02 * torch.randn(config.texts, width))
        self.code = Codes(config.pictures, width=width)
        self.place_ND = nn.Parameter(0.02 * torch.randn(config.pictures.tokens + 1, width))
        self.backbone = Transformer(config.backbone)
        self.word_head = nn.Linear(width, config.texts, bias=False)
        self.code_head = Codes(config.pictures, width=width)
        self._initialise()

    def _initialise(self) -> None:
        """Start every layer near the identity: what is added back is small, the heads are even."""
        nn.init.zeros_(self.word_head.weight)
        nn.init.zeros_(self.code_head.digit_LD)
        scale = (2 * self.config.backbone.layers) ** -0.5
        with torch.no_grad():
            for name, parameter in self.backbone.named_parameters():
                if name.endswith(("attention.out.weight", "feedforward.out.weight", "out_EDF")):
                    parameter.mul_(scale)

    def forward(
        self, token_BT: Tensor, place_BT: Tensor, codes_BT: Tensor, words_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the scores of what comes next, each where it is asked for.

        Args:
            token_BT: Words below ``texts``, codes from there on.
            place_BT: Where in its picture a code stands, from 1; 0 for words.
            codes_BT: bool, M positions after which a code comes.
            words_BT: bool, M positions after which a word comes.

        Returns:
            Scores of codes ``(M, C)`` and of words ``(M, V)``, float32.
        """
        x_BTD = self.contextual(token_BT, place_BT)
        return self.codes(x_BTD[codes_BT]).float(), self.words(x_BTD[words_BT]).float()

    def contextual(
        self, token_BT: Tensor, place_BT: Tensor, *, cache: Cache | None = None
    ) -> Tensor:
        """Return what the model makes of each token, ``(B, T, D)``.

        Args:
            token_BT: Words and codes.
            place_BT: Places of the codes.
            cache: Of the tokens before these.
        """
        table_MD = torch.cat([self.word_VD, self.code()])
        seen_BTD = F.embedding(token_BT, table_MD) + F.embedding(place_BT, self.place_ND)
        return self.backbone(seen_BTD, cache=cache)

    def words(self, x_MD: Tensor) -> Tensor:
        """Return the scores of every word to come next, ``(M, V)``."""
        return self.word_head(x_MD)

    def codes(self, x_MD: Tensor) -> Tensor:
        """Return the scores of every code to come next, ``(M, C)``."""
        return F.linear(x_MD, self.code_head())


def parameter_count(modules: Iterable[nn.Module]) -> int:
    """Return how many numbers are trained."""
    return sum(p.numel() for m in modules for p in m.parameters() if p.requires_grad)
