"""Sizes of the world action model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from loopwright.core.configuration import read_config
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import Interface

SizeName = Literal["tiny", "small", "medium"]
SIZES: tuple[SizeName, ...] = ("tiny", "small", "medium")


@dataclass(frozen=True, kw_only=True, slots=True)
class WamConfig:
    """Everything that fixes the shape of the network."""

    camera: str
    """The camera it looks through."""
    image_px: int
    """Side of the square image, a multiple of 16."""
    proprio_size: int
    action_size: int
    tasks: tuple[str, ...]
    """Instructions it knows, in order."""
    channels: int
    """Channels of the image encoder."""
    depth: int
    """3x3 convolutions of the image encoder."""
    width: int
    """Size of the state vector that all heads read."""
    latent: int = 32
    """Size of the continuous latent action."""
    chunk: int = 8
    """Actions predicted at once."""
    execute: int = 4
    """Actions run before the policy looks again."""
    transformer_layers: int = 0
    """Layers of the shared backbone over image tokens; 0 for the key-point encoder."""
    heads: int = 8
    key_heads: int = 4
    motion_members: int = 3
    """Motion models that must agree on what a video shows."""
    motion_channels: int = 32
    motion_cells: int = 16
    """Cells per side of the field of image motion."""
    motion_stride: int = 2
    """Frames between the two pictures that a field of image motion compares."""
    motion_fields: int = 3
    """Fields in a row that a motion model sees."""
    motion_span: int = 4
    """Actions, from the step on, that a motion model names."""
    future_steps: int = 8
    """How far ahead the forward head looks."""
    future_px: int = 32
    """Side of the frame that the forward head draws."""

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built."""
        if self.image_px % 16 or self.image_px < 16:
            raise InvalidConfig(f"image_px is {self.image_px}; expected a multiple of 16")
        if self.image_px % self.future_px or self.future_px % 4:
            raise InvalidConfig(
                f"future_px is {self.future_px}; it must divide image_px {self.image_px} "
                "and be a multiple of 4"
            )
        if not 1 <= self.execute <= self.chunk:
            raise InvalidConfig(f"execute is {self.execute}; expected 1 to chunk ({self.chunk})")
        if self.motion_cells % 2 or self.image_px % (4 * self.motion_cells):
            raise InvalidConfig(
                f"motion_cells is {self.motion_cells}; it must be even and four times it must "
                f"divide image_px {self.image_px}"
            )
        if not self.tasks:
            raise InvalidConfig("tasks is empty; name at least one instruction")

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WamConfig:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidConfig: A key is unknown, missing, or of the wrong type.
        """
        return read_config(cls, data)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Size:
    channels: int
    depth: int
    width: int
    more: Mapping[str, Any] = field(default_factory=dict)


_SIZES: dict[SizeName, _Size] = {
    "tiny": _Size(
        channels=8, depth=1, width=32, more={"motion_channels": 8, "motion_members": 2, "latent": 8}
    ),
    "small": _Size(channels=32, depth=2, width=256),
    "medium": _Size(
        channels=128, depth=2, width=512, more={"transformer_layers": 8, "motion_channels": 64}
    ),
}


def sized(
    size: SizeName, interface: Interface, tasks: tuple[str, ...], **changes: Any
) -> WamConfig:
    """Return the configuration of a size for one interface.

    Args:
        size: ``"tiny"`` (tests), ``"small"`` (one CPU thread) or ``"medium"`` (an accelerator).
        interface: What the policy will see and command. The first camera is used.
        tasks: Instructions to know.
        **changes: Fields that differ from the size.

    Raises:
        UnknownName: There is no such size.
        InvalidConfig: The interface has no camera, or one that is not square.
    """
    if size not in _SIZES:
        raise UnknownName("model size", size, SIZES)
    if not interface.cameras:
        raise InvalidConfig("the interface has no camera; the world action model needs one")
    camera = interface.cameras[0]
    if camera.height_px != camera.width_px:
        raise InvalidConfig(
            f"camera {camera.name!r} is {camera.height_px}x{camera.width_px} px; "
            "the world action model needs a square image"
        )
    chosen = _SIZES[size]
    shape: dict[str, Any] = {
        "camera": camera.name,
        "image_px": camera.height_px,
        "proprio_size": interface.proprio.size,
        "action_size": interface.action.size,
        "tasks": tasks,
        "motion_cells": max(c for c in range(2, 17, 2) if camera.height_px % (4 * c) == 0),
        "future_px": min(32, camera.height_px),
        "channels": chosen.channels,
        "depth": chosen.depth,
        "width": chosen.width,
        **chosen.more,
    }
    return WamConfig(**{**shape, **changes})
