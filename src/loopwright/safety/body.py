"""What the safety rooms know of a robot: the one interface between them and any machine.

A robot is commanded by the *speeds* of N coordinates (joints, or the axes of a tool), and watched
by the positions of P points fixed to it (tool centre, elbow). Worlds and drivers implement this;
nothing here knows a simulator.

Shapes: N coordinates, P points, K steps of a forecast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from loopwright.core.errors import InvalidConfig

CoordinateKind = Literal["speed", "effort"]
"""``speed``: commanded by its speed, and has a position. ``effort``: commanded directly, such as
the force of a gripper; it is only clamped."""

SafeState = Literal["hold-position", "zero-speed", "power-off"]
"""What a robot does when it must stop. A servo that sags under load needs ``hold-position``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BodySpec:
    """Names, units and the declared safe state of a robot."""

    robot: str
    """Versioned name, ``"arm7-v1"``."""
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    """Of the positions; speeds are per second."""
    kinds: tuple[CoordinateKind, ...]
    points: tuple[str, ...]
    """Watched points; their positions are in metres in the robot's base frame."""
    rate_hz: float
    """Control steps per second: how often the filter decides."""
    safe_state: SafeState
    build: str
    """Digest of the model and the simulator or firmware that move it."""

    def __post_init__(self) -> None:
        """Refuse columns of different lengths and a rate that is no rate."""
        lengths = {len(self.coordinates), len(self.units), len(self.kinds)}
        if len(lengths) != 1 or not self.coordinates:
            raise InvalidConfig(
                f"{self.robot}: coordinates, units and kinds must be equally long and not empty, "
                f"got {len(self.coordinates)}, {len(self.units)}, {len(self.kinds)}"
            )
        if not self.rate_hz > 0:
            raise InvalidConfig(f"{self.robot}: rate_hz is {self.rate_hz}; expected more than 0")

    @property
    def size(self) -> int:
        """N, the number of commanded coordinates."""
        return len(self.coordinates)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Measured:
    """What the sensors say, with the moment they said it."""

    position: np.ndarray
    """float64 ``(N,)``, in the units of the spec; 0 for an effort."""
    speed: np.ndarray
    """float64 ``(N,)``, per second; 0 for an effort."""
    time_s: float
    """When it was measured, by the monotonic clock of the control loop."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Places:
    """Where the watched points are, and how they move with the coordinates."""

    position_m: np.ndarray
    """float64 ``(P, 3)``."""
    jacobian: np.ndarray
    """float64 ``(P, 3, N)``: metres per second of a point per unit speed of a coordinate."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Forecast:
    """Where a command leads by the nominal model."""

    position: np.ndarray
    """float64 ``(K, N)``."""
    speed: np.ndarray
    """float64 ``(K, N)``."""
    points_m: np.ndarray
    """float64 ``(K, P, 3)``."""


class Body(Protocol):
    """Kinematics and nominal dynamics of a robot, as the filter asks for them."""

    @property
    def spec(self) -> BodySpec:
        """What it is."""
        ...

    def place(self, position: np.ndarray) -> Places:
        """Return where the watched points are at a position, float64 ``(N,)``."""
        ...

    def forecast(
        self, measured: Measured, command: np.ndarray, *, hold_steps: int, brake_steps: int
    ) -> Forecast:
        """Return what the nominal model does with a command held, and then the safe state.

        Args:
            measured: Where it starts.
            command: float64 ``(N,)``, held for ``hold_steps`` control steps.
            hold_steps: Steps of the command.
            brake_steps: Steps of the safe state after it.
        """
        ...


class Plant(Protocol):
    """A simulated robot that can be saved and put back exactly: what records are replayed on."""

    @property
    def spec(self) -> BodySpec:
        """What it is."""
        ...

    def reset(self, seed: int) -> Measured:
        """Start over; the seed alone fixes the start."""
        ...

    def step(self, command: np.ndarray) -> Measured:
        """Hold a command, float64 ``(N,)``, for one control step; bit-exact on one build."""
        ...

    def stop(self) -> Measured:
        """Let one control step pass in the declared safe state."""
        ...

    def save(self) -> bytes:
        """Return the whole state of the integration (not positions and speeds alone)."""
        ...

    def load(self, state: bytes) -> Measured:
        """Put a saved state back, bit-exactly."""
        ...

    def close(self) -> None:
        """Release what it holds; idempotent."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RobotEntry:
    """How a process comes by a robot: entries ``package.module:function`` and their arguments.

    Plain data, so that it crosses processes and enters digests.
    """

    body: str
    """Called with ``**config``, returns a :class:`Body`."""
    plant: str | None = None
    """Called with ``**config``, returns a :class:`Plant`; None for a machine of flesh and steel."""
    config: dict[str, object] = field(default_factory=dict)
