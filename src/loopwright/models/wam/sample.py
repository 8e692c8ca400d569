"""The world action model at work: acting, imagining, being surprised, reading motion.

Shapes: T steps, N moments, H and W pixels, A action, M motion models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from loopwright.core.episode import Episode
from loopwright.core.errors import DamagedData, WorldError
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Candidate, Foresight
from loopwright.models.wam.config import WamConfig
from loopwright.models.wam.loss import frame_error
from loopwright.models.wam.model import Wam
from loopwright.models.wam.ports import shrink, window_indices

WEIGHTS_NAME = "weights.safetensors"
_BATCH = 64


class WamPolicy:
    """A trained world action model as a policy: one look, a chunk, of which the first part runs."""

    def __init__(
        self,
        model: Wam,
        interface: Interface,
        *,
        use_proprio: bool = False,
        foresees: bool = True,
    ) -> None:
        """Take a trained model.

        Args:
            model: The network; put into evaluation mode.
            interface: What it sees and commands.
            use_proprio: Whether to act on proprioception too, or on the image alone.
            foresees: Whether its forward head was trained.
        """
        self.model = model.eval()
        self.interface = interface
        self.use_proprio = use_proprio
        self.foresees = foresees
        self.device = next(model.parameters()).device

    def reset(self, seed: int) -> None:
        """Do nothing: the policy has no memory and no randomness."""

    def act(self, observation: Observation) -> np.ndarray:
        """Return the next actions, float32 ``(execute, A)``.

        Raises:
            WorldError: The observation lacks the camera that the model looks through.
        """
        camera = self.model.config.camera
        if camera not in observation.images:
            raise WorldError(
                f"the policy looks through camera {camera!r}; "
                f"the observation has {sorted(observation.images)}"
            )
        with torch.inference_mode():
            state = self._see(
                observation.images[camera][None],
                observation.proprio[None],
                (observation.instruction,),
            )
            _, chunk_BKA = self.model.act(state)
            actions = self.model.actions.decode(chunk_BKA[0, : self.model.config.execute])
        return actions.cpu().numpy().astype(np.float32)

    def imagine(self, episode: Episode, *, every: int = 1) -> Foresight | None:
        """Predict the future at every ``every``-th step of an episode; None without foresight.

        It is told the actions that were taken, if the episode has any, else those it would take.
        """
        if not self.foresees:
            return None
        steps = np.arange(0, episode.num_steps, every)
        imagined, real, present = [], [], []
        for some in _batches(steps):
            drawn, target, shown = self._futures(episode, some)
            imagined.append(_pixels(drawn))
            real.append(_pixels(target))
            present.append(_pixels(shown))
        return Foresight(
            step=steps,
            present=np.concatenate(present),
            imagined=np.concatenate(imagined),
            real=np.concatenate(real),
            horizon_steps=self.model.config.future_steps,
        )

    def surprise(self, episode: Episode) -> np.ndarray | None:
        """Return how wrong the imagined future of every step was, float32 ``(T,)``, if it can.

        The unit is tenths of full pixel scale, averaged over the frame: 0 is perfect foresight.
        """
        if not self.foresees:
            return None
        errors = []
        for some in _batches(np.arange(episode.num_steps)):
            drawn, target, _ = self._futures(episode, some)
            errors.append(frame_error(drawn, target).cpu().numpy())
        return np.concatenate(errors).astype(np.float32)

    def agreement(self, episode: Episode) -> np.ndarray | None:
        """Return how well the motion models agree on every step of a film, float32 ``(T,)``.

        1 is full agreement; 0 means that they lie as far apart as actions usually differ. Only the
        action components that motion shows count. None if they learned to read none.
        """
        trust = self.model.motion_trust_A.cpu().numpy()
        if not trust.any():
            return None
        return agreement_of(read_motion(self.model, _frames(self, episode)), trust)

    def _futures(self, episode: Episode, steps: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Return the futures of some steps as imagined and as they came, and the present."""
        model, config = self.model, self.model.config
        frames = _frames(self, episode)
        future = np.minimum(steps + config.future_steps, episode.num_steps - 1)
        with torch.inference_mode():
            present_BHWC = torch.from_numpy(frames[steps]).to(self.device)
            proprio = None if episode.proprio is None else episode.proprio[steps]
            state = self._see(frames[steps], proprio, (episode.header.instruction,) * len(steps))
            if episode.applied is None:
                _, chunk_BKA = model.act(state)
            else:
                window = window_indices(episode.num_steps, range(config.chunk))[steps]
                taken = torch.from_numpy(episode.applied[window]).to(self.device)
                chunk_BKA = model.actions.encode(taken)
            drawn = model.imagine(state, model.latent_action.encode(chunk_BKA), present_BHWC)
            target = shrink(torch.from_numpy(frames[future]).to(self.device), config.future_px)
            return drawn, target, shrink(present_BHWC, config.future_px)

    def _see(
        self, image_BHWC: np.ndarray, proprio_BP: np.ndarray | None, instructions: tuple[str, ...]
    ) -> Tensor:
        count = len(image_BHWC)
        known = self.use_proprio and proprio_BP is not None
        size = self.model.config.proprio_size
        proprio = proprio_BP if known else np.zeros((count, size), np.float32)
        tasks = self.model.config.tasks
        task = [tasks.index(i) if i in tasks else 0 for i in instructions]
        return self.model.see(
            torch.from_numpy(np.ascontiguousarray(image_BHWC)).to(self.device),
            torch.as_tensor(proprio, device=self.device),
            torch.full((count,), known, device=self.device),
            torch.tensor(task, device=self.device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionReading:
    """What the motion models read from the frames of one episode."""

    actions: np.ndarray
    """float32 ``(T, A)`` in unit range: their mean, over members and overlapping windows."""
    spread: np.ndarray
    """float32 ``(T, A)``: how far the members lie apart (mean absolute deviation)."""


def read_motion(
    model: Wam, frames: np.ndarray, *, members: tuple[int, ...] | None = None
) -> MotionReading:
    """Read actions off frames, uint8 ``(T, H, W, 3)``, and nothing else.

    Args:
        model: Whose motion models read.
        frames: All frames of one episode, in order.
        members: Which motion models to ask; all unless given.
    """
    device = next(model.parameters()).device
    asked = range(len(model.motion)) if members is None else members
    with torch.inference_mode():
        motion = model.motion_of(torch.from_numpy(np.ascontiguousarray(frames)).to(device))
        read_MTSA = torch.stack([model.motion[m](motion) for m in asked]).cpu().numpy()
    count_members, steps, span, size = read_MTSA.shape
    total, count = np.zeros((count_members, steps, size)), np.zeros((steps, 1))
    for ahead in range(span):
        total[:, ahead:] += read_MTSA[:, : steps - ahead, ahead]
        count[ahead:] += 1.0
    each_MTA = total / count
    mean = each_MTA.mean(axis=0)
    return MotionReading(
        actions=mean.astype(np.float32),
        spread=np.abs(each_MTA - mean).mean(axis=0).astype(np.float32),
    )


def agreement_of(reading: MotionReading, trust: np.ndarray) -> np.ndarray:
    """Return the agreement ``(T,)`` of a reading; ``trust`` ``(A,)`` weighs the components."""
    weight = trust if trust.sum() > 0 else np.ones_like(trust)
    spread = (reading.spread * weight).sum(axis=-1) / weight.sum()
    return np.clip(1.0 - spread / 0.5, 0.0, 1.0).astype(np.float32)


def _frames(policy: WamPolicy, episode: Episode) -> np.ndarray:
    camera = policy.model.config.camera
    if camera not in episode.images:
        raise WorldError(
            f"the policy looks through camera {camera!r}; "
            f"episode {episode.id} has {sorted(episode.images)}"
        )
    return episode.images[camera]


def _batches(steps: np.ndarray) -> list[np.ndarray]:
    return np.array_split(steps, max(1, -(-len(steps) // _BATCH)))


def _pixels(image_BCHW: Tensor) -> np.ndarray:
    scaled = (image_BCHW.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return scaled.movedim(1, -1).cpu().numpy()


def save(model: Wam, folder: Path) -> None:
    """Write the weights into a candidate folder."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    save_file(tensors, folder / WEIGHTS_NAME)


def load(folder: Path, candidate: Candidate) -> WamPolicy:
    """Build the policy of a checked candidate folder (entry point of the family ``wam``).

    Raises:
        InvalidConfig: The manifest does not describe a world action model.
        DamagedData: The weights cannot be read, or belong to another shape.
    """
    config = dict(candidate.config)
    use_proprio = bool(config.pop("use_proprio", False))
    foresees = bool(config.pop("foresees", True))
    model = Wam(WamConfig.from_json(config))
    try:
        model.load_state_dict(load_file(folder / WEIGHTS_NAME))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise DamagedData(
            f"{folder / WEIGHTS_NAME} does not fit the model its manifest describes: {error}"
        ) from error
    return WamPolicy(model, candidate.interface, use_proprio=use_proprio, foresees=foresees)
