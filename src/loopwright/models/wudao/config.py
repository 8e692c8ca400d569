"""Sizes of the text-picture model and of the tokenizer of its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loopwright.core.errors import InvalidConfig
from loopwright.models.layers.transformer import TransformerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureConfig:
    """Size of the tokenizer that turns a picture into a grid of codes and back."""

    px: int = 32
    """Side of the square picture."""
    patch_px: int = 4
    """Side of the patch that one code stands for."""
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 3
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Levels of each digit of a code; their product is the number of codes."""

    def __post_init__(self) -> None:
        """Refuse patches that do not tile the picture, and digits of one level."""
        if self.px % self.patch_px:
            raise InvalidConfig(f"patches of {self.patch_px} px do not tile {self.px} px")
        if min(self.levels, default=0) < 2:
            raise InvalidConfig(f"levels are {self.levels}; expected at least 2 for every digit")

    @property
    def tokens(self) -> int:
        """Codes of one picture."""
        return (self.px // self.patch_px) ** 2

    @property
    def codes(self) -> int:
        """Different codes that there are."""
        return math.prod(self.levels)


@dataclass(frozen=True, kw_only=True, slots=True)
class WudaoConfig:
    """Size of the model over mixed sequences of words and codes."""

    pictures: PictureConfig
    backbone: TransformerConfig
    texts: int
    """Size of the text vocabulary."""
    text_tokens: int = 24
    """Most tokens of a text; longer ones are cut."""

    def __post_init__(self) -> None:
        """Refuse a backbone that sees ahead."""
        if not self.backbone.causal:
            raise InvalidConfig("the backbone of a next-token model must be causal")

    @property
    def longest(self) -> int:
        """Most tokens of a sequence: a text, a picture and the marks around them."""
        return self.text_tokens + self.pictures.tokens + 4

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WudaoConfig:
        """Read what :meth:`to_json` wrote."""
        pictures = {**data["pictures"], "levels": tuple(data["pictures"]["levels"])}
        return cls(
            **{
                **data,
                "pictures": PictureConfig(**pictures),
                "backbone": TransformerConfig.from_json(data["backbone"]),
            }
        )
