"""Where the world enters and leaves the network: images, proprioception, actions.

Shapes: B batch, H and W pixels, C colour channels, F frames, P proprioception, A action, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from loopwright.core.interface import VectorSpec
from loopwright.models.layers.flow import image_pyramid, local_flow


def image_tensor(image_BHWC: Tensor) -> Tensor:
    """Return uint8 images as float ``(B, C, H, W)`` in [-0.5, 0.5]."""
    return image_BHWC.movedim(-1, -3).float() / 255.0 - 0.5


def shrink(image_BHWC: Tensor, side_px: int) -> Tensor:
    """Return uint8 images averaged down to a smaller square, float in [0, 1] ``(B, C, h, w)``."""
    factor = image_BHWC.shape[-3] // side_px
    image_BCHW = image_BHWC.movedim(-1, -3).float() / 255.0
    return nn.functional.avg_pool2d(image_BCHW, factor) if factor > 1 else image_BCHW


def motion_field(frames_THWC: Tensor, *, stride: int, fields: int, cells: int) -> Tensor:
    """Return how the picture moves from every step on, ``(T, fields * FLOW_CHANNELS, h, w)``.

    This is all a motion model ever sees. Without the frames themselves it cannot learn *where*
    an expert would go and must read *how* the body moved.

    Args:
        frames_THWC: uint8, all frames of one episode in order.
        stride: Frames between the two pictures that one field compares.
        fields: Fields in a row, each beginning where the last one ended.
        cells: Cells per side.
    """
    steps = len(frames_THWC)
    later = torch.from_numpy(window_indices(steps, (stride,))[:, 0]).to(frames_THWC.device)
    pyramid = image_pyramid(frames_THWC.movedim(-1, -3).float() / 255.0)
    flow_TFhw = local_flow(pyramid, [scale[later] for scale in pyramid], cells)
    begins = torch.from_numpy(window_indices(steps, range(0, fields * stride, stride)))
    return flow_TFhw[begins.to(flow_TFhw.device)].flatten(1, 2)


def window_indices(num_steps: int, offsets: Sequence[int]) -> np.ndarray:
    """Return frame indices ``(T, F)`` of every step's window, the ends repeated."""
    steps = np.arange(num_steps)[:, None] + np.asarray(offsets)[None, :]
    return np.clip(steps, 0, num_steps - 1)


class ProprioPort(nn.Module):
    """Proprioception to a vector; when it is unknown, a learned blank takes its place."""

    def __init__(self, *, size: int, width: int) -> None:
        """Start with the identity as normalisation; :meth:`calibrate` sets the real one."""
        super().__init__()
        self.mean_P: Tensor
        self.deviation_P: Tensor
        self.register_buffer("mean_P", torch.zeros(size))
        self.register_buffer("deviation_P", torch.ones(size))
        self.blank_D = nn.Parameter(torch.zeros(width))
        self.project = nn.Linear(size, width)

    def calibrate(self, proprio_NP: np.ndarray) -> None:
        """Take mean and deviation of every component from recorded data."""
        deviation = proprio_NP.std(axis=0)
        self.mean_P.copy_(torch.from_numpy(proprio_NP.mean(axis=0)))
        self.deviation_P.copy_(torch.from_numpy(np.where(deviation > 1e-6, deviation, 1.0)))

    def forward(self, proprio_BP: Tensor, known_B: Tensor) -> Tensor:
        """Return ``(B, D)``; rows of ``proprio`` whose ``known`` is false are never read."""
        normal_BP = (proprio_BP - self.mean_P) / self.deviation_P
        seen_BD = self.project(normal_BP.clamp(-5.0, 5.0))
        return torch.where(known_B[:, None], seen_BD, self.blank_D)


class ActionPort(nn.Module):
    """Actions in the units of the interface to [-1, 1] and back."""

    def __init__(self, size: int) -> None:
        """Start with the range [-1, 1]; :meth:`calibrate` takes the real one."""
        super().__init__()
        self.centre_A: Tensor
        self.half_range_A: Tensor
        self.register_buffer("centre_A", torch.zeros(size))
        self.register_buffer("half_range_A", torch.ones(size))

    def calibrate(self, spec: VectorSpec) -> None:
        """Take the range of every component from the interface."""
        low, high = torch.tensor(spec.low), torch.tensor(spec.high)
        self.centre_A.copy_((low + high) / 2)
        self.half_range_A.copy_(torch.where(high > low, (high - low) / 2, torch.ones_like(high)))

    def encode(self, action: Tensor) -> Tensor:
        """Return actions ``(..., A)`` in [-1, 1]."""
        return (action - self.centre_A) / self.half_range_A

    def decode(self, unit: Tensor) -> Tensor:
        """Return actions ``(..., A)`` in the units of the interface, inside its range."""
        return unit.clamp(-1.0, 1.0) * self.half_range_A + self.centre_A
