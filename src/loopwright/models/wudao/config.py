"""Sizes of the model over texts and codes, and of the tokenizers that codes come from.

Codes stand for pictures, or for the backbones of proteins. What the model asks of either is the
same: how many codes there are in one (``tokens``), how many different ones (``codes``), and the
levels of their digits (``levels``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from loopwright.core.configuration import read_config
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
    encoder_sees: Literal["picture", "patch"] = "picture"
    """``"patch"`` gives the same patch the same code wherever it stands: then what is learned of a
    part of one picture holds for that part of every other. ``"picture"`` needs fewer codes."""
    encoder_layers: int = 2
    decoder_layers: int = 3
    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Levels of each digit of a code; their product is the number of codes."""

    def __post_init__(self) -> None:
        """Refuse sizes below one, patches that do not tile, and digits of one level."""
        for name in ("px", "patch_px", "width", "heads", "encoder_layers", "decoder_layers"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.px % self.patch_px:
            raise InvalidConfig(f"patches of {self.patch_px} px do not tile {self.px} px")
        if min(self.levels, default=0) < 2:
            raise InvalidConfig(f"levels are {self.levels}; expected at least 2 for every digit")
        if self.encoder_sees not in ("picture", "patch"):
            raise InvalidConfig(
                f"encoder_sees is {self.encoder_sees!r}; expected 'picture' or 'patch'"
            )

    @property
    def tokens(self) -> int:
        """Codes of one picture."""
        return (self.px // self.patch_px) ** 2

    @property
    def codes(self) -> int:
        """Different codes that there are."""
        return math.prod(self.levels)


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureConfig:
    """Size of the tokenizer that turns the torsions of a backbone into codes and back."""

    residues: int = 32
    """Residues of a stretch; each has one code."""
    bins: tuple[int, ...] = (24, 24)
    """Directions told apart of each torsion of a residue: of phi and psi, and of omega if there is
    a third number. One more level of each digit says that there is no such torsion."""

    def __post_init__(self) -> None:
        """Refuse stretches without residues, and torsions of one direction."""
        if self.residues < 1:
            raise InvalidConfig(f"residues is {self.residues}; expected at least 1")
        if len(self.bins) not in (2, 3) or min(self.bins) < 2:
            raise InvalidConfig(
                f"bins are {self.bins}; expected at least 2 for each of phi, psi and, if wanted, "
                "omega"
            )

    @property
    def tokens(self) -> int:
        """Codes of one stretch."""
        return self.residues

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of each digit of a code."""
        return tuple(count + 1 for count in self.bins)

    @property
    def codes(self) -> int:
        """Different codes that there are."""
        return math.prod(self.levels)


CodesConfig = PictureConfig | StructureConfig
"""What stands beside the texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WudaoConfig:
    """Size of the model over mixed sequences of words and codes."""

    pictures: CodesConfig
    """What codes stand for: pictures, or backbones of proteins."""
    backbone: TransformerConfig
    texts: int
    """Size of the text vocabulary."""
    text_tokens: int = 24
    """Most tokens of a text; longer ones are cut."""

    def __post_init__(self) -> None:
        """Refuse a backbone that sees ahead."""
        if not self.backbone.causal:
            raise InvalidConfig("the backbone of a next-token model must be causal")
        if isinstance(self.pictures, StructureConfig) and self.text_tokens < self.pictures.residues:
            raise InvalidConfig(
                f"text_tokens is {self.text_tokens}; the sequence of a stretch has "
                f"{self.pictures.residues} residues, each a token"
            )

    @property
    def longest(self) -> int:
        """Most tokens of a sequence: a text, its codes and the marks around them."""
        return self.text_tokens + self.pictures.tokens + 4

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WudaoConfig:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidConfig: A key is unknown or missing, or a value of another type or impossible.
        """
        return read_config(cls, data)
