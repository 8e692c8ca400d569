"""Backbones of proteins as tokens: one code for the torsions of each residue.

A torsion is an angle, so it is rounded to the nearest of evenly spaced directions: -180 and 180
degrees are the same one, and the error is at most half a step wherever it lies. Each torsion is a
digit of the code. A torsion that is not there, at the ends of a chain and beside a gap in it, has a
level of its own and comes back as NaN. Nothing is learned.

Shapes: B batch, N residues of a stretch, A torsions of a residue, in radians: phi, psi and, where
the tokenizer has three digits, omega.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from loopwright.core.errors import InvalidConfig
from loopwright.models.wudao.config import StructureConfig, WudaoConfig
from loopwright.models.wudao.ports import CodeTokenizer
from loopwright.models.wudao.sample import Painting, Prompt, TokenModel

FAMILY: Final = "structure"
LANGUAGE: Final = "protein"
"""Language of the texts: the residues of a stretch, one letter each, apart by spaces."""
RESIDUES: Final = "ACDEFGHIKLMNPQRSTVWY"
"""Letters of the residues that there are."""
AS_BELIEVED: Final = Painting(temperature=1.0, guidance=1.0, likeliest=1 << 20)
"""Draws torsions with the chances that the model gives them."""


class StructureTokenizer(CodeTokenizer):
    """Torsions to codes and back."""

    def __init__(self, config: StructureConfig) -> None:
        """Lay out the directions."""
        super().__init__()
        self.config = config
        levels_A = torch.tensor(config.levels)
        self.bins_A: Tensor
        self.base_A: Tensor
        self.register_buffer("bins_A", torch.tensor(config.bins), persistent=False)
        self.register_buffer("base_A", levels_A.cumprod(0) // levels_A, persistent=False)

    def encode(self, torsion_BNA: Tensor, /) -> Tensor:
        """Return the codes of torsions, int64 ``(B, N)``; NaN where there is none.

        Args:
            torsion_BNA: Radians, in any turn; torsions beyond those of the configuration are left.
        """
        turn_BNA = torsion_BNA[..., : len(self.config.bins)].float() / (2 * math.pi) + 0.5
        missing_BNA = turn_BNA.isnan()
        digit_BNA = (turn_BNA.nan_to_num() * self.bins_A).round().long() % self.bins_A
        digit_BNA = torch.where(missing_BNA, self.bins_A, digit_BNA)
        return (digit_BNA * self.base_A).sum(dim=-1)

    def decode(self, code_BN: Tensor, /) -> Tensor:
        """Return the torsions of codes, float32 ``(B, N, A)`` in [-pi, pi), NaN for none."""
        digit_BNA = code_BN[..., None] // self.base_A % (self.bins_A + 1)
        torsion_BNA = (digit_BNA / self.bins_A - 0.5) * (2 * math.pi)
        return torsion_BNA.masked_fill(digit_BNA == self.bins_A, math.nan)


class StructureModel(TokenModel[StructureTokenizer]):
    """Gives sequences their torsions, and torsions their sequence."""

    family = FAMILY

    @staticmethod
    def tokenizer(config: WudaoConfig) -> StructureTokenizer:
        """Return the tokenizer of torsions of a configuration.

        Raises:
            InvalidConfig: Its codes stand for something else.
        """
        if not isinstance(config.pictures, StructureConfig):
            raise InvalidConfig(
                f"the codes stand for {type(config.pictures).__name__}, not for structures"
            )
        return StructureTokenizer(config.pictures)

    def fold(
        self, sequences: Sequence[str], *, style: str, seed: int, how: Painting = AS_BELIEVED
    ) -> np.ndarray:
        """Draw the torsions of sequences, float32 ``(B, N, A)``, in radians.

        Args:
            sequences: B of them, each of N letters: stretches of a chain, not whole ones.
            style: How the structure is known, as the corpus names it.
            seed: Fixes what is drawn at random.
            how: Temperature and guidance.

        Raises:
            InvalidConfig: A sequence has another length or an unknown letter.
            UnknownName: The model was never shown such a style.
        """
        for sequence in sequences:
            self._check(sequence)
        prompts = [Prompt(as_text(sequence), LANGUAGE, style) for sequence in sequences]
        return self.paint(prompts, seed=seed, how=how)

    def read(self, torsion_BNA: np.ndarray) -> list[str]:
        """Return the likeliest sequence of each stretch of torsions in radians."""
        return [as_sequence(text) for text in self.write(torsion_BNA, language=LANGUAGE)]

    def _check(self, sequence: str) -> None:
        count, unknown = self.pictures.config.residues, sorted(set(sequence) - set(RESIDUES))
        if unknown or len(sequence) != count:
            raise InvalidConfig(
                f"a sequence of {len(sequence)} letters, of which {unknown} are unknown; expected "
                f"{count} of {RESIDUES}: cut longer chains into stretches"
            )


def as_text(sequence: str) -> str:
    """Return a sequence as a text of one word for each residue: ``"M K V"``."""
    return " ".join(sequence)


def as_sequence(text: str) -> str:
    """Return the sequence of a text that :func:`as_text` made, in whatever case it came back."""
    return "".join(text.split()).upper()
