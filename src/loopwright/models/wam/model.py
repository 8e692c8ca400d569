"""The world action model.

::

    image, proprio, task --> encoder --> state --+--> policy head --> latent action --> chunk
                                                 |                        |
                                                 +---- forward head <-----+--> future frame
    image motion ---------> motion models (inverse dynamics) ------------> actions of a video

Shapes: B batch, H and W pixels, h and w cells, C channels, F flow channels, T tokens, D width,
L latent action, K chunk, S motion span, A action, P proprioception.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from loopwright.models.layers.flow import FLOW_CHANNELS
from loopwright.models.layers.image import ConvStem, KeypointEncoder
from loopwright.models.layers.transformer import Transformer, TransformerConfig
from loopwright.models.wam.config import WamConfig
from loopwright.models.wam.ports import (
    ActionPort,
    ProprioPort,
    image_tensor,
    motion_field,
    shrink,
)


class KeypointState(nn.Module):
    """State encoder of the small sizes: convolutions, key points, one hidden layer."""

    def __init__(self, config: WamConfig) -> None:
        """Build the encoder."""
        super().__init__()
        self.image = KeypointEncoder(
            in_channels=3,
            image_px=config.image_px,
            channels=config.channels,
            depth=config.depth,
            width=config.width,
        )
        self.proprio = ProprioPort(size=config.proprio_size, width=config.width)
        self.task = nn.Embedding(len(config.tasks), config.width)
        self.mix = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, config.width), nn.ReLU()
        )

    def forward(
        self, image_BCHW: Tensor, proprio_BP: Tensor, known_B: Tensor, task_B: Tensor
    ) -> Tensor:
        """Return the state ``(B, D)``."""
        joined_BD = self.image(image_BCHW) + self.proprio(proprio_BP, known_B) + self.task(task_B)
        return self.mix(joined_BD)


class TokenState(nn.Module):
    """State encoder of the large sizes: the shared backbone over all tokens.

    The tokens are image cells, proprioception, task, and one latent-action token whose output
    is the state.
    """

    def __init__(self, config: WamConfig) -> None:
        """Build the encoder."""
        super().__init__()
        self.stem = ConvStem(in_channels=3, channels=config.channels, depth=config.depth)
        self.patch = nn.Conv2d(config.channels, config.width, kernel_size=2, stride=2)
        cells = (config.image_px // 8) ** 2
        self.place_TD = nn.Parameter(0.02 * torch.randn(cells, config.width))
        self.proprio = ProprioPort(size=config.proprio_size, width=config.width)
        self.task = nn.Embedding(len(config.tasks), config.width)
        self.latent_D = nn.Parameter(0.02 * torch.randn(config.width))
        self.backbone = Transformer(
            TransformerConfig(
                width=config.width,
                layers=config.transformer_layers,
                heads=config.heads,
                key_heads=config.key_heads,
                hidden=config.width * 8 // 3,
            )
        )

    def forward(
        self, image_BCHW: Tensor, proprio_BP: Tensor, known_B: Tensor, task_B: Tensor
    ) -> Tensor:
        """Return the state ``(B, D)``."""
        cells_BTD = self.patch(self.stem(image_BCHW)).flatten(2).transpose(1, 2) + self.place_TD
        others_BTD = torch.stack(
            [
                self.proprio(proprio_BP, known_B),
                self.task(task_B),
                self.latent_D.expand(len(task_B), -1),
            ],
            dim=1,
        )
        return self.backbone(torch.cat([cells_BTD, others_BTD], dim=1))[:, -1]


class LatentAction(nn.Module):
    """The continuous latent action: a code of a whole chunk, read and written."""

    def __init__(self, config: WamConfig) -> None:
        """Build the way in and the way out."""
        super().__init__()
        self.shape = (config.chunk, config.action_size)
        flat = config.chunk * config.action_size
        self.write = nn.Sequential(
            nn.Linear(flat, config.width), nn.ReLU(), nn.Linear(config.width, config.latent)
        )
        self.read = nn.Sequential(
            nn.Linear(config.latent, config.width), nn.ReLU(), nn.Linear(config.width, flat)
        )

    def encode(self, chunk_BKA: Tensor) -> Tensor:
        """Return the latent action ``(B, L)`` of a chunk in unit range."""
        return self.write(chunk_BKA.flatten(1))

    def decode(self, latent_BL: Tensor) -> Tensor:
        """Return the chunk ``(B, K, A)`` of a latent action, in unit range but not clipped."""
        return self.read(latent_BL).unflatten(1, self.shape)


_CELL_PX = 4
"""Side of the patch that one cell of the forward head draws."""


class ForwardHead(nn.Module):
    """Draws a future frame as a change of the present one."""

    def __init__(self, config: WamConfig) -> None:
        """Build the head."""
        super().__init__()
        self.cells = config.future_px // _CELL_PX
        channels, patch = config.channels, _CELL_PX**2
        self.join = nn.Sequential(
            nn.Linear(config.width + config.latent, config.width),
            nn.ReLU(),
            nn.Linear(config.width, channels * self.cells**2),
            nn.ReLU(),
        )
        self.draw = nn.Sequential(
            nn.Conv2d(channels + 3 * patch, 2 * channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 3 * patch, kernel_size=3, padding=1),
            nn.PixelShuffle(_CELL_PX),
        )

    def forward(self, state_BD: Tensor, latent_BL: Tensor, present_BCHW: Tensor) -> Tensor:
        """Return the frame that is expected, RGB about [0, 1], ``(B, C, h, w)``.

        Args:
            state_BD: What is seen.
            latent_BL: What is done.
            present_BCHW: The present frame at the size to draw, in [0, 1].
        """
        code_BN = self.join(torch.cat([state_BD, latent_BL], dim=-1))
        code_BChw = code_BN.unflatten(1, (-1, self.cells, self.cells))
        scene_BChw = nn.functional.pixel_unshuffle(present_BCHW, _CELL_PX)
        return present_BCHW + self.draw(torch.cat([code_BChw, scene_BChw], dim=1))


class MotionModel(nn.Module):
    """Inverse dynamics from image motion alone."""

    def __init__(self, config: WamConfig) -> None:
        """Build one member of the ensemble."""
        super().__init__()
        self.shape = (config.motion_span, config.action_size)
        channels = config.motion_channels
        fields = FLOW_CHANNELS * config.motion_fields
        self.layers = nn.Sequential(
            nn.Conv2d(fields, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(channels * (config.motion_cells // 2) ** 2, 128),
            nn.ReLU(),
            nn.Linear(128, config.motion_span * config.action_size),
        )

    def forward(self, motion_BFhw: Tensor) -> Tensor:
        """Return the actions ``(B, S, A)``, in unit range but not clipped."""
        return self.layers(motion_BFhw).unflatten(1, self.shape)


class Wam(nn.Module):
    """All parts, in one checkpoint. Which of them are trained is the fit's business."""

    def __init__(self, config: WamConfig) -> None:
        """Build the network with fresh weights from torch's global stream."""
        super().__init__()
        self.config = config
        self.actions = ActionPort(config.action_size)
        self.state = TokenState(config) if config.transformer_layers else KeypointState(config)
        self.policy = nn.Sequential(
            nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, config.latent)
        )
        self.latent_action = LatentAction(config)
        self.forward_head = ForwardHead(config)
        self.motion = nn.ModuleList(MotionModel(config) for _ in range(config.motion_members))
        self.motion_gain_A: Tensor
        self.motion_trust_A: Tensor
        self.register_buffer("motion_gain_A", torch.ones(config.action_size))
        self.register_buffer("motion_trust_A", torch.zeros(config.action_size))

    def see(
        self, image_BHWC: Tensor, proprio_BP: Tensor, known_B: Tensor, task_B: Tensor
    ) -> Tensor:
        """Return the state ``(B, D)``.

        Args:
            image_BHWC: uint8 images.
            proprio_BP: Proprioception in the units of the interface.
            known_B: Whether the row has proprioception at all.
            task_B: Index into ``config.tasks``.
        """
        return self.state(image_tensor(image_BHWC), proprio_BP, known_B, task_B)

    def act(self, state_BD: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latent action ``(B, L)`` and its chunk ``(B, K, A)`` in unit range."""
        latent_BL = self.policy(state_BD)
        return latent_BL, self.latent_action.decode(latent_BL)

    def imagine(self, state_BD: Tensor, latent_BL: Tensor, image_BHWC: Tensor) -> Tensor:
        """Return the frame ``future_steps`` ahead, RGB in [0, 1] ``(B, C, h, w)``."""
        present_BCHW = shrink(image_BHWC, self.config.future_px)
        return self.forward_head(state_BD, latent_BL, present_BCHW)

    def motion_of(self, frames_THWC: Tensor) -> Tensor:
        """Return what the motion models see of one episode, ``(T, F, h, w)``."""
        return motion_field(
            frames_THWC,
            stride=self.config.motion_stride,
            fields=self.config.motion_fields,
            cells=self.config.motion_cells,
        )


def parameter_count(module: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
