"""Pictures and texts as tokens.

A picture is cut into patches, every patch seen in its surroundings or by itself, and each one
rounded to a code of a few digits: finite scalar quantisation (Mentzer et al., "Finite Scalar
Quantization: VQ-VAE Made Simple", 2024), which has no codebook that could collapse.

Shapes: B batch, H and W pixels, N codes of a picture, D width, Q digits of a code, P numbers of a
patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loopwright.models.layers.feedforward import SwiGLU
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.models.wudao.config import PictureConfig


class CodeTokenizer(nn.Module):
    """What turns something into codes and back: the port of the model beside its words."""

    def encode(self, seen: Tensor, /) -> Tensor:
        """Return the codes of B of them, int64 ``(B, N)``."""
        raise NotImplementedError

    def decode(self, code_BN: Tensor, /) -> Tensor:
        """Return what codes stand for."""
        raise NotImplementedError


class PictureTokenizer(CodeTokenizer):
    """Picture to codes and back."""

    def __init__(self, config: PictureConfig) -> None:
        """Build encoder, digits and decoder."""
        super().__init__()
        self.config = config
        patch = 3 * config.patch_px**2
        self.look = nn.Linear(patch, config.width)
        self.place_ND = nn.Parameter(0.02 * torch.randn(config.tokens, config.width))
        self.encoder = (
            PatchEncoder(width=config.width, layers=config.encoder_layers)
            if config.encoder_sees == "patch"
            else Transformer(_backbone(config, config.encoder_layers))
        )
        self.digits = nn.Linear(config.width, len(config.levels))
        self.recall = nn.Linear(len(config.levels), config.width)
        self.decoder = Transformer(_backbone(config, config.decoder_layers))
        self.paint = nn.Linear(config.width, patch)
        levels_Q = torch.tensor(config.levels)
        self.levels_Q: Tensor
        self.base_Q: Tensor
        self.register_buffer("levels_Q", levels_Q, persistent=False)
        self.register_buffer("base_Q", levels_Q.cumprod(0) // levels_Q, persistent=False)

    def encode(self, image_BHWC: Tensor, /) -> Tensor:
        """Return the codes of pictures, int64 ``(B, N)``.

        Args:
            image_BHWC: uint8, or floats in [-1, 1].
        """
        digit_BNQ = self._digits(_unit(image_BHWC))
        index_BNQ = ((digit_BNQ + 1) / 2 * (self.levels_Q - 1)).round().long()
        return (index_BNQ * self.base_Q).sum(dim=-1)

    def decode(self, code_BN: Tensor, /) -> Tensor:
        """Return the pictures that codes stand for, uint8 ``(B, H, W, 3)``."""
        image_BHWC = self._image(self.digits_of(code_BN))
        return ((image_BHWC.float() + 1) * 127.5).round().clamp(0, 255).byte()

    def forward(self, image_BHWC: Tensor) -> Tensor:
        """Return pictures as they come back from their codes, floats about [-1, 1]."""
        return self._image(self._digits(_unit(image_BHWC)))

    def digits_of(self, code_BN: Tensor) -> Tensor:
        """Return the digits of codes, floats in [-1, 1] ``(B, N, Q)``."""
        index_BNQ = code_BN[..., None] // self.base_Q % self.levels_Q
        return index_BNQ / (self.levels_Q - 1) * 2 - 1

    def _digits(self, image_BHWC: Tensor) -> Tensor:
        """Round to the nearest level; gradients pass as if nothing were rounded."""
        seen_BND = self.look(patches(image_BHWC, self.config.patch_px))
        if self.config.encoder_sees == "picture":
            seen_BND = seen_BND + self.place_ND
        loose_BNQ = self.digits(self.encoder(seen_BND)).float().tanh()
        steps_Q = (self.levels_Q - 1) / 2
        # Halved: tanh would need infinite input to reach the outermost level.
        firm_BNQ = (loose_BNQ * (steps_Q + 0.49) + self._even_shift()).round()
        firm_BNQ = ((firm_BNQ - self._even_shift()) / steps_Q).clamp(-1, 1)
        return loose_BNQ + (firm_BNQ - loose_BNQ).detach()

    def _even_shift(self) -> Tensor:
        """Digits with an even number of levels lie half a step off the whole numbers."""
        return (self.levels_Q % 2 == 0) * 0.5

    def _image(self, digit_BNQ: Tensor) -> Tensor:
        recalled_BND = self.recall(digit_BNQ) + self.place_ND
        return unpatched(self.paint(self.decoder(recalled_BND)), self.config.patch_px)


class PatchEncoder(nn.Module):
    """Looks at every patch by itself, not even knowing its place."""

    def __init__(self, *, width: int, layers: int) -> None:
        """Build the layers, each on a normalised copy and added back."""
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width, bias=False), SwiGLU(width=width, hidden=3 * width))
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width, bias=False)

    def forward(self, x_BND: Tensor) -> Tensor:
        """Return what is made of each patch, ``(B, N, D)``."""
        for layer in self.layers:
            x_BND = x_BND + layer(x_BND)
        return self.norm(x_BND)


def patches(image_BHWC: Tensor, side_px: int) -> Tensor:
    """Cut pictures into square patches, row by row: ``(B, N, P)``."""
    batch, height, width, _ = image_BHWC.shape
    rows, columns = height // side_px, width // side_px
    cut = image_BHWC.view(batch, rows, side_px, columns, side_px, 3).transpose(2, 3)
    return cut.reshape(batch, rows * columns, -1)


def unpatched(patch_BNP: Tensor, side_px: int) -> Tensor:
    """Put square pictures together again: ``(B, H, W, 3)``."""
    batch, count, _ = patch_BNP.shape
    rows = round(count**0.5)
    cut = patch_BNP.view(batch, rows, rows, side_px, side_px, 3).transpose(2, 3)
    return cut.reshape(batch, rows * side_px, rows * side_px, 3)


def _unit(image_BHWC: Tensor) -> Tensor:
    if image_BHWC.dtype == torch.uint8:
        return image_BHWC.float() / 127.5 - 1
    return image_BHWC


def _backbone(config: PictureConfig, layers: int) -> TransformerConfig:
    return TransformerConfig(
        width=config.width,
        layers=layers,
        heads=config.heads,
        key_heads=config.heads,
        hidden=config.width * 8 // 3,
    )
