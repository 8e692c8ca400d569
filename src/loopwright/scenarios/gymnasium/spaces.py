"""Gymnasium's spaces as vectors: observations flattened, actions scaled to [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import VectorSpec

UNBOUNDED = 10.0
"""Stated as the range of a component whose space has none. A statement only: values pass as they
are. Declare the true ranges where they matter."""
_HUGE = 1e6


def proprio_spec(space: gymnasium.Space[Any], names: tuple[str, ...] | None) -> VectorSpec:
    """Return the vector that an observation space flattens to.

    Args:
        space: Any space that Gymnasium can flatten to a box, but no image.
        names: A name per component; None for ``observation_0``, ``observation_1`` ...

    Raises:
        InvalidConfig: The space is an image or cannot be flattened, or the names do not fit.
    """
    if isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        raise InvalidConfig(
            f"the observation is an image {space.shape}; images come from render(), so make the "
            "environment with state observations"
        )
    try:
        flat = spaces.flatten_space(space)
    except NotImplementedError as error:
        raise InvalidConfig(f"observation space {space} cannot be flattened: {error}") from error
    if not isinstance(flat, spaces.Box):
        raise InvalidConfig(f"observation space {space} flattens to {flat}, expected a Box")
    size = int(flat.shape[0])
    names = names or tuple(f"observation_{index}" for index in range(size))
    if len(names) != size:
        raise InvalidConfig(f"{len(names)} proprio_names for an observation of {size}: {names}")
    return VectorSpec(
        names=names,
        units=("",) * size,
        low=tuple(float(v) if v > -_HUGE else -UNBOUNDED for v in flat.low),
        high=tuple(float(v) if v < _HUGE else UNBOUNDED for v in flat.high),
    )


class ActionCodec(Protocol):
    """Turns vectors in [-1, 1] into actions of a space and back."""

    @property
    def spec(self) -> VectorSpec:
        """The vector, its components and their range."""
        ...

    def decode(self, vector: np.ndarray) -> Any:
        """Return the action that a vector, float32 ``(A,)``, stands for."""
        ...

    def encode(self, action: Any) -> np.ndarray:
        """Return the vector, float32 ``(A,)``, that stands for an action."""
        ...


def action_codec(space: gymnasium.Space[Any]) -> ActionCodec:
    """Return the codec of an action space.

    Raises:
        InvalidConfig: The space is neither a Box of numbers nor Discrete.
    """
    if isinstance(space, spaces.Box):
        return BoxActions.of(space)
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(count=int(space.n), first=int(space.start))
    raise InvalidConfig(
        f"action space {space} is not supported; expected Box or Discrete (wrap the environment)"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxActions:
    """A box, scaled so that its bounds are -1 and 1; an unbounded component passes unscaled."""

    centre: np.ndarray
    half_width: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, space: spaces.Box) -> BoxActions:
        """Return the codec of a box."""
        low = space.low.astype(np.float64).reshape(-1)
        high = space.high.astype(np.float64).reshape(-1)
        bounded = (np.abs(low) < _HUGE) & (np.abs(high) < _HUGE)
        low, high = np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)
        return cls(
            centre=(low + high) / 2,
            half_width=(high - low) / 2,
            shape=space.shape,
            dtype=np.dtype(space.dtype),
        )

    @property
    def spec(self) -> VectorSpec:
        """One component per number of the box."""
        return _unit_spec("action", self.centre.size)

    def decode(self, vector: np.ndarray) -> np.ndarray:
        """Scale to the box."""
        action = self.centre + self.half_width * vector
        return action.reshape(self.shape).astype(self.dtype)

    def encode(self, action: Any) -> np.ndarray:
        """Scale from the box; what lies outside is clipped."""
        offset = np.asarray(action, dtype=np.float64).reshape(-1) - self.centre
        width = np.where(self.half_width > 0, self.half_width, 1.0)
        return np.clip(offset / width, -1.0, 1.0).astype(np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteActions:
    """A choice: one component per option, of which the largest is taken."""

    count: int
    first: int

    @property
    def spec(self) -> VectorSpec:
        """One component per option."""
        return _unit_spec("choice", self.count)

    def decode(self, vector: np.ndarray) -> int:
        """Return the option with the largest component."""
        return self.first + int(np.argmax(vector))

    def encode(self, action: Any) -> np.ndarray:
        """Return 1 for the option and -1 for the others."""
        vector = np.full(self.count, -1.0, dtype=np.float32)
        vector[int(action) - self.first] = 1.0
        return vector


def _unit_spec(what: str, size: int) -> VectorSpec:
    return VectorSpec(
        names=tuple(f"{what}_{index}" for index in range(size)),
        units=("1",) * size,
        low=(-1.0,) * size,
        high=(1.0,) * size,
    )
