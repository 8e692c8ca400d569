"""Local image motion in closed form: which way, and how fast, each cell of an image moves.

Lucas and Kanade, "An Iterative Image Registration Technique" (1981), one step at three scales.
Structure tensors are summed over colours and every cell is solved for its own velocity, so the
result does not depend on the hue of what moves, nor on whether it is darker or lighter than what
is behind it; only faint contrast shrinks it. Nothing that stands still can be seen in it.

Shapes: B batch, C channels, H and W pixels, h and w cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

FLOW_SCALES = 3
"""Full, half and quarter resolution: slow motion shows in the first, fast in the last."""
FLOW_CHANNELS = 3 * FLOW_SCALES
"""Channels of one flow field: velocity along x and y and share of moving pixels, per scale."""

_NOISE = 0.03
"""Brightness change, of full scale, that counts as motion."""
_RIDGE = 1e-3
_LARGEST_PX = 4.0


def image_pyramid(image_BCHW: Tensor) -> list[Tensor]:
    """Return the slightly blurred image at each scale; work that flows can share.

    Args:
        image_BCHW: Colours in [0, 1].
    """
    half = F.avg_pool2d(image_BCHW, 2)
    smooth_half = _blurred(half)
    return [_blurred(image_BCHW), smooth_half, F.avg_pool2d(smooth_half, 2)]


def local_flow(before: list[Tensor], after: list[Tensor], cells: int) -> Tensor:
    """Return the motion between two pyramids, ``(B, FLOW_CHANNELS, cells, cells)``.

    Args:
        before: Pyramid of the earlier images.
        after: Pyramid of the later ones.
        cells: Cells per side; at most the side of the smallest scale.
    """
    return torch.cat([_flow(a, b, cells) for a, b in zip(before, after, strict=True)], dim=1)


def _flow(before_BCHW: Tensor, after_BCHW: Tensor, cells: int) -> Tensor:
    """Solve every cell for its velocity in pixels; the last channel is how much of it moves."""
    cell_px = before_BCHW.shape[-1] // cells
    slope_x, slope_y = _slopes((before_BCHW + after_BCHW) / 2)
    change = after_BCHW - before_BCHW
    energy = change.square().sum(dim=1, keepdim=True)
    moving = energy / (energy + 3 * _NOISE**2)

    def summed(product: Tensor) -> Tensor:
        return F.avg_pool2d((moving * product).sum(dim=1, keepdim=True), cell_px)

    xx, xy, yy = summed(slope_x**2) + _RIDGE, summed(slope_x * slope_y), summed(slope_y**2) + _RIDGE
    x_change, y_change = -summed(slope_x * change), -summed(slope_y * change)
    determinant = xx * yy - xy * xy
    velocity_x = (yy * x_change - xy * y_change) / determinant
    velocity_y = (xx * y_change - xy * x_change) / determinant
    share = F.avg_pool2d(moving, cell_px)
    velocity = torch.cat([velocity_x, velocity_y], dim=1).clamp(-_LARGEST_PX, _LARGEST_PX)
    return torch.cat([velocity, 3.0 * share], dim=1)


def _slopes(image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    along_x = F.pad(image_BCHW, (1, 1, 0, 0), mode="replicate")
    along_y = F.pad(image_BCHW, (0, 0, 1, 1), mode="replicate")
    return (along_x[..., 2:] - along_x[..., :-2]) / 2, (
        along_y[..., 2:, :] - along_y[..., :-2, :]
    ) / 2


def _blurred(image_BCHW: Tensor) -> Tensor:
    channels = image_BCHW.shape[1]
    weights = torch.tensor([0.25, 0.5, 0.25], device=image_BCHW.device, dtype=image_BCHW.dtype)
    kernel = (weights[:, None] * weights[None, :]).expand(channels, 1, 3, 3)
    padded = F.pad(image_BCHW, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel, groups=channels)
