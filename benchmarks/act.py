"""The rival of ``policy_latency``: ACT at LeRobot's default shape, rebuilt without torchvision.

Action chunking with transformers (Zhao et al. 2023): a ResNet-18 sees the image, a variational
encoder compresses the chunk to be cloned, a transformer turns both into the chunk. Sizes follow
LeRobot's ``ACTConfig`` defaults; weights are random, because only time is measured here.

Shapes: B batch, N cameras, H and W pixels, P proprioception, A action, K chunk, D width,
T tokens, L latent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ActConfig:
    """LeRobot's defaults; proprioception and action as in ALOHA, its reference task."""

    proprio_size: int = 14
    action_size: int = 14
    chunk: int = 100
    width: int = 512
    heads: int = 8
    feedforward: int = 3200
    encoder_layers: int = 4
    decoder_layers: int = 1
    variational_layers: int = 4
    latent: int = 32
    dropout: float = 0.1
    kl_weight: float = 10.0


class FrozenNorm(nn.Module):
    """Batch normalisation with fixed statistics: one multiply and one add, nothing to learn."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(channels, 1, 1))
        self.register_buffer("shift", torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        return x * self.scale + self.shift


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a way around them."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.first_norm = FrozenNorm(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = FrozenNorm(channels)
        self.around: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.around = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), FrozenNorm(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, H, W)`` to ``(B, C, H / stride, W / stride)``."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(inner)) + self.around(x))


class ResNet18(nn.Module):
    """The backbone up to its last feature map, 512 channels at 1/32 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            FrozenNorm(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ResidualBlock(before, after, stride), ResidualBlock(after, after, 1))
                for before, after, stride in widths
            )
        )

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, 512, H / 32, W / 32)``, rounded up."""
        return self.stages(self.stem(image))


def sinusoids(count: int, size: int) -> Tensor:
    """Return fixed positions ``(count, size)``."""
    rates = torch.exp(-math.log(10000.0) * torch.arange(0, size, 2) / size)
    angles = torch.arange(count)[:, None] * rates[None]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def grid_sinusoids(height: int, width: int, size: int) -> Tensor:
    """Return fixed positions of a feature map ``(height * width, size)``, rows before columns."""
    rows = sinusoids(height, size // 2)[:, None].expand(height, width, -1)
    columns = sinusoids(width, size // 2)[None].expand(height, width, -1)
    return torch.cat((rows, columns), dim=-1).reshape(height * width, size)


class Attention(nn.Module):
    """Multi-head attention whose queries and keys carry positions and whose values do not."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(
            config.width, config.heads, dropout=config.dropout, batch_first=True
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """``(B, T, D)`` each, to the shape of the query."""
        return self.inner(query, key, value, need_weights=False)[0]


class Feedforward(nn.Sequential):
    """Two linear layers with a ReLU between."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__(
            nn.Linear(config.width, config.feedforward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, config.width),
        )


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, normalised after each."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        self.attention, self.feedforward = Attention(config), Feedforward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """``(B, T, D)`` to the same shape."""
        placed = x + position
        x = self.norms[0](x + self.dropout(self.attention(placed, placed, x)))
        return self.norms[1](x + self.dropout(self.feedforward(x)))


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's tokens, feed-forward."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        self.attention, self.cross = Attention(config), Attention(config)
        self.feedforward = Feedforward(config)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, position: Tensor, memory: Tensor, memory_at: Tensor) -> Tensor:
        """``(B, K, D)`` to the same shape, having looked at ``memory (B, T, D)``."""
        placed = x + position
        x = self.norms[0](x + self.dropout(self.attention(placed, placed, x)))
        seen = self.cross(x + position, memory + memory_at, memory)
        x = self.norms[1](x + self.dropout(seen))
        return self.norms[2](x + self.dropout(self.feedforward(x)))


class Act(nn.Module):
    """The whole network."""

    def __init__(self, config: ActConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.backbone = ResNet18()
        self.image_in = nn.Conv2d(512, width, 1)
        self.proprio_in = nn.Linear(config.proprio_size, width)
        self.latent_in = nn.Linear(config.latent, width)
        self.vector_at = nn.Parameter(torch.randn(2, width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        self.query_at = nn.Parameter(torch.randn(config.chunk, width))
        self.head = nn.Linear(width, config.action_size)
        self.summary = nn.Parameter(torch.randn(1, width))
        self.variational_proprio = nn.Linear(config.proprio_size, width)
        self.variational_action = nn.Linear(config.action_size, width)
        self.variational = nn.ModuleList(
            EncoderLayer(config) for _ in range(config.variational_layers)
        )
        self.variational_out = nn.Linear(width, 2 * config.latent)

    def forward(self, images: Tensor, proprio: Tensor, latent: Tensor) -> Tensor:
        """Return the chunk ``(B, K, A)``.

        Args:
            images: Float ``(B, N, 3, H, W)``.
            proprio: Float ``(B, P)``.
            latent: Float ``(B, L)``; zeros when acting.
        """
        vectors = torch.stack((self.latent_in(latent), self.proprio_in(proprio)), dim=1)
        tokens, places = [vectors], [self.vector_at]
        for image in images.unbind(1):
            cells = self.image_in(self.backbone(image))
            places.append(grid_sinusoids(cells.shape[2], cells.shape[3], self.config.width))
            tokens.append(cells.flatten(2).transpose(1, 2))
        memory, memory_at = torch.cat(tokens, dim=1), torch.cat(places)
        for layer in self.encoder:
            memory = layer(memory, memory_at)
        x = torch.zeros(len(images), self.config.chunk, self.config.width)
        for layer in self.decoder:
            x = layer(x, self.query_at, memory, memory_at)
        return self.head(self.decoder_norm(x))

    def encode(self, proprio: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance ``(B, L)`` of the latent behind a chunk ``(B, K, A)``."""
        tokens = torch.cat(
            (
                self.summary.expand(len(actions), 1, -1),
                self.variational_proprio(proprio)[:, None],
                self.variational_action(actions),
            ),
            dim=1,
        )
        places = sinusoids(tokens.shape[1], self.config.width)
        for layer in self.variational:
            tokens = layer(tokens, places)
        mean, log_variance = self.variational_out(tokens[:, 0]).chunk(2, dim=-1)
        return mean, log_variance

    def act(self, images: Tensor, proprio: Tensor) -> Tensor:
        """Return the chunk ``(B, K, A)`` with the latent at zero, as LeRobot does."""
        return self(images, proprio, torch.zeros(len(images), self.config.latent))

    def loss(self, images: Tensor, proprio: Tensor, actions: Tensor) -> Tensor:
        """Return L1 of the chunk plus the weighted divergence of the latent."""
        mean, log_variance = self.encode(proprio, actions)
        latent = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = (self(images, proprio, latent) - actions).abs().mean()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(-1).mean()
        return error + self.config.kl_weight * divergence
