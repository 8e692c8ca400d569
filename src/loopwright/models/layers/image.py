"""Small convolutional image encoders.

Shapes: B batch, C channels, H and W pixels, h and w cells of the feature map, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM_STRIDE_PX = 4
"""Pixels per side of one cell of the feature map."""
_NORM_GROUPS = 4


class ConvStem(nn.Module):
    """Strided convolutions down to a quarter of the resolution, then 3x3 convolutions there.

    Group normalisation after each (Wu & He, "Group Normalization", 2018): with few steps of
    training it is what lets a policy fit videos of a foreign body and still act in its own.
    """

    def __init__(self, *, in_channels: int, channels: int, depth: int) -> None:
        """Build the stem.

        Args:
            in_channels: Channels of the image, 3 for RGB.
            channels: C, channels of the feature map, a multiple of 8.
            depth: Number of 3x3 convolutions that yield the final resolution, the strided one
                among them.
        """
        super().__init__()
        half = max(_NORM_GROUPS, channels // 2)
        layers = [*_block(in_channels, half, kernel=5, stride=2)]
        layers += _block(half, channels, kernel=3, stride=2)
        for _ in range(depth - 1):
            layers += _block(channels, channels, kernel=3, stride=1)
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the feature map ``(B, C, h, w)`` with ``h = H / 4``."""
        return self.layers(x_BCHW)


def _block(inputs: int, outputs: int, *, kernel: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel_size=kernel, stride=stride, padding=kernel // 2),
        nn.GroupNorm(_NORM_GROUPS, outputs),
        nn.ReLU(),
    ]


class SpatialSoftmax(nn.Module):
    """Where each channel looks: the expected cell under a soft-max over the map.

    Levine et al., "End-to-End Training of Deep Visuomotor Policies" (2016).
    """

    def __init__(self, channels: int) -> None:
        """Start with a temperature of one in every channel."""
        super().__init__()
        self.log_sharpness_C = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BChw: Tensor) -> Tensor:
        """Return key points ``(B, 2 C)`` in [-1, 1], all x before all y."""
        height, width = x_BChw.shape[-2:]
        logits_BCN = x_BChw.flatten(2) * self.log_sharpness_C.exp()[None, :, None]
        weight_BChw = logits_BCN.softmax(dim=-1).unflatten(-1, (height, width))
        x_w = torch.linspace(-1.0, 1.0, width, device=x_BChw.device)
        y_h = torch.linspace(-1.0, 1.0, height, device=x_BChw.device)
        expected_x_BC = (weight_BChw.sum(dim=-2) * x_w).sum(dim=-1)
        expected_y_BC = (weight_BChw.sum(dim=-1) * y_h).sum(dim=-1)
        return torch.cat([expected_x_BC, expected_y_BC], dim=-1)


class KeypointEncoder(nn.Module):
    """Image to vector: key points for *where*, a coarse map for *what*."""

    def __init__(
        self, *, in_channels: int, image_px: int, channels: int, depth: int, width: int
    ) -> None:
        """Build stem, key points, global path and the layer that joins them.

        Args:
            in_channels: Channels of the image.
            image_px: Side of the square image, a multiple of 16.
            channels: Channels of the feature map.
            depth: Number of 3x3 convolutions.
            width: D, size of the vector.
        """
        super().__init__()
        self.stem = ConvStem(in_channels=in_channels, channels=channels, depth=depth)
        self.keypoints = SpatialSoftmax(channels)
        coarse_cells = image_px // STEM_STRIDE_PX // 2
        self.coarse = nn.Sequential(*_block(channels, channels, kernel=3, stride=2))
        joined = 2 * channels + channels * coarse_cells**2
        self.join = nn.Sequential(
            nn.Linear(joined, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return one vector per image, ``(B, D)``."""
        map_BChw = self.stem(x_BCHW)
        coarse_BN = self.coarse(map_BChw).flatten(1)
        return self.join(torch.cat([self.keypoints(map_BChw), coarse_BN], dim=-1))
