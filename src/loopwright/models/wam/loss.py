"""What the world action model is trained to do.

Shapes: B batch, R rows to foresee, H and W pixels, h and w cells, C channels, F flow channels,
K chunk, S motion span, A action.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from loopwright.models.wam.model import Wam
from loopwright.models.wam.ports import shrink

_CHANGE_WEIGHT = 20.0
"""How much more a pixel counts that changes by full scale than one that does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyBatch:
    """Moments to act in, from any pool."""

    image_BHWC: Tensor
    """uint8."""
    proprio_BP: Tensor
    known_B: Tensor
    """Whether the row has proprioception; false for every row that stems from video."""
    task_B: Tensor
    chunk_BKA: Tensor
    """Actions in the units of the interface, true or read from motion."""
    weight_BKA: Tensor
    """How far each number of the chunk is to be believed, 0 to 1."""
    future_RHWC: Tensor
    """uint8, the frame ``future_steps`` after each of the first R rows, at full size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionBatch:
    """Windows of labelled motion, one stack per member of the ensemble."""

    motion_MBFhw: Tensor
    """Image motion, after augmentation."""
    actions_MBSA: Tensor
    """Actions in unit range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyWeights:
    """How much each part of the joint loss counts."""

    forward: float = 1.0
    """Zero switches the forward head off."""
    codec: float = 0.1
    """Reading back a chunk from its own latent action; only with the forward head."""


def policy_loss(
    model: Wam, batch: PolicyBatch, weights: PolicyWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the joint loss of policy and forward head, and its parts."""
    state_BD = model.see(batch.image_BHWC, batch.proprio_BP, batch.known_B, batch.task_B)
    _, predicted_BKA = model.act(state_BD)
    chunk_BKA = model.actions.encode(batch.chunk_BKA)
    action = weighted_error(predicted_BKA, chunk_BKA, batch.weight_BKA)
    if not weights.forward:
        return action, {"action": action.detach()}
    latent_BL = model.latent_action.encode(chunk_BKA)
    codec = weighted_error(model.latent_action.decode(latent_BL), chunk_BKA, batch.weight_BKA)
    count = len(batch.future_RHWC)
    image_RHWC = batch.image_BHWC[:count]
    imagined_RCHW = model.imagine(state_BD[:count], latent_BL[:count], image_RHWC)
    future_RCHW = shrink(batch.future_RHWC, model.config.future_px)
    present_RCHW = shrink(image_RHWC, model.config.future_px)
    forward = change_error(imagined_RCHW, future_RCHW, present_RCHW)
    total = action + weights.codec * codec + weights.forward * forward
    return total, {
        "action": action.detach(),
        "codec": codec.detach(),
        "forward": forward.detach(),
    }


def weighted_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean squared error, every number weighted; divided by the count, not the weight.

    Squared, because the few moments that decide where to go ask for large actions and the many
    that follow for small ones: an absolute error lets a policy settle on the median of all and
    never look at the object. Dividing by the count lets untrusted rows count less instead of
    scaling the rest up.
    """
    return ((predicted - target).square() * weight).mean()


def frame_error(predicted_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Return the error of every frame ``(B,)``: mean absolute, in tenths of full scale."""
    return 10.0 * (predicted_BCHW - target_BCHW).abs().mean(dim=(1, 2, 3))


def change_error(predicted_BCHW: Tensor, target_BCHW: Tensor, present_BCHW: Tensor) -> Tensor:
    """Return the mean absolute error, in tenths of full scale, where the picture changes.

    Few pixels change. Were all to count alike, copying the present frame would be hard to beat.
    """
    change_B1HW = (target_BCHW - present_BCHW).abs().amax(dim=1, keepdim=True)
    weight_B1HW = 1.0 + _CHANGE_WEIGHT * change_B1HW
    error_BCHW = (predicted_BCHW - target_BCHW).abs() * weight_B1HW / weight_B1HW.mean()
    return 10.0 * error_BCHW.mean()


def motion_loss(model: Wam, batch: MotionBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean loss of the motion models, each on its own share of the data."""
    errors = [
        (member(motion) - actions).abs().mean()
        for member, motion, actions in zip(
            model.motion, batch.motion_MBFhw, batch.actions_MBSA, strict=True
        )
    ]
    total = torch.stack(errors).mean()
    return total, {"motion": total.detach()}
