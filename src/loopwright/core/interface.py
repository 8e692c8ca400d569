"""What passes between a world and a policy: observations in, action chunks out.

An interface states names, shapes, units and ranges once. Worlds, policies, recordings and
candidates all carry one, and two that differ do not fit together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from loopwright.core.errors import InvalidConfig, PolicyError, WorldError


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraSpec:
    """A camera that yields one uint8 RGB image ``(height_px, width_px, 3)`` per control step."""

    name: str
    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        """Refuse names that cannot be file names and sizes that video codecs refuse."""
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise InvalidConfig(
                f"camera name {self.name!r}: use letters, digits, '-' and '_' (it names a file)"
            )
        if min(self.height_px, self.width_px) < 16 or self.height_px % 2 or self.width_px % 2:
            raise InvalidConfig(
                f"camera {self.name!r} is {self.height_px}x{self.width_px} px; "
                "both sides must be even and at least 16 px"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorSpec:
    """A vector of named numbers, each with a unit and a closed range."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse columns of different lengths, doubled names and empty ranges."""
        lengths = {len(self.names), len(self.units), len(self.low), len(self.high)}
        if len(lengths) != 1:
            raise InvalidConfig(
                f"vector {self.names!r}: names, units, low and high must be equally long, "
                f"got {len(self.names)}, {len(self.units)}, {len(self.low)}, {len(self.high)}"
            )
        if len(set(self.names)) != len(self.names):
            raise InvalidConfig(f"vector {self.names!r} names a component twice")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not low <= high:
                raise InvalidConfig(f"component {name!r} has the empty range [{low}, {high}]")

    @property
    def size(self) -> int:
        """Number of components."""
        return len(self.names)

    def index(self, name: str) -> int:
        """Return the position of a component."""
        return self.names.index(name)

    def clip(self, values: np.ndarray) -> np.ndarray:
        """Return ``values (..., size)`` clipped to the range, as float32."""
        return np.clip(values, self.low, self.high).astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """What a policy sees (cameras, proprioception) and commands (action), and how often."""

    cameras: tuple[CameraSpec, ...]
    proprio: VectorSpec
    action: VectorSpec
    rate_hz: float
    """Control steps per second."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal.

        Quantities are floats whatever they were given as: equal interfaces have equal digests.
        """
        data = _listed(asdict(self))
        data["rate_hz"] = float(self.rate_hz)
        for vector in (data["proprio"], data["action"]):
            vector["low"] = [float(value) for value in vector["low"]]
            vector["high"] = [float(value) for value in vector["high"]]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Interface:
        """Read what :meth:`to_json` wrote."""
        return cls(
            cameras=tuple(CameraSpec(**c) for c in data["cameras"]),
            proprio=_vector(data["proprio"]),
            action=_vector(data["action"]),
            rate_hz=float(data["rate_hz"]),
        )

    def check_observation(self, observation: Observation) -> None:
        """Raise :class:`WorldError` unless ``observation`` fits this interface."""
        for camera in self.cameras:
            image = observation.images.get(camera.name)
            if image is None:
                raise WorldError(
                    f"observation lacks camera {camera.name!r}; it has {sorted(observation.images)}"
                )
            expected = (camera.height_px, camera.width_px, 3)
            if image.shape != expected or image.dtype != np.uint8:
                raise WorldError(
                    f"camera {camera.name!r} gave {image.dtype} {image.shape}, "
                    f"expected uint8 {expected}"
                )
        proprio = observation.proprio
        if proprio.shape != (self.proprio.size,) or proprio.dtype != np.float32:
            raise WorldError(
                f"proprio is {proprio.dtype} {proprio.shape}, "
                f"expected float32 ({self.proprio.size},)"
            )
        if not np.isfinite(proprio).all():
            bad = [
                n for n, v in zip(self.proprio.names, proprio, strict=True) if not np.isfinite(v)
            ]
            raise WorldError(f"proprio {bad} is not finite at {observation.time_s:.3f} s")

    def check_chunk(self, chunk: np.ndarray) -> np.ndarray:
        """Return ``chunk`` clipped to the action range.

        Raises:
            PolicyError: It is no float array ``(T >= 1, action.size)`` of finite numbers.
        """
        if not isinstance(chunk, np.ndarray) or chunk.ndim != 2 or chunk.shape[0] < 1:
            shape = getattr(chunk, "shape", type(chunk).__name__)
            raise PolicyError(f"a policy must return actions (T, {self.action.size}), got {shape}")
        if chunk.shape[1] != self.action.size:
            raise PolicyError(
                f"a policy must return actions (T, {self.action.size}), got {chunk.shape}"
            )
        if not np.isfinite(chunk).all():
            raise PolicyError(f"a policy returned a non-finite action: {chunk.tolist()}")
        return self.action.clip(chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """What a policy sees at one control step."""

    images: Mapping[str, np.ndarray]
    """Camera name to uint8 RGB ``(H, W, 3)``, row 0 at the top."""
    proprio: np.ndarray
    """float32 ``(P,)`` in the units of the interface."""
    instruction: str = ""
    time_s: float = field(default=0.0)
    """Seconds since the episode began, by the world's clock."""


def _vector(data: Mapping[str, Any]) -> VectorSpec:
    return VectorSpec(**{key: tuple(value) for key, value in data.items()})


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(v) for v in value]
    return value


_NOTHING = VectorSpec(names=(), units=(), low=(), high=())
NO_BODY = Interface(cameras=(), proprio=_NOTHING, action=_NOTHING, rate_hz=0.0)
"""The interface of what neither sees nor moves: a model of texts or pictures."""
