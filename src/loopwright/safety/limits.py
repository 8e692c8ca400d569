"""Limits: the numbers that the filter keeps a robot within, and where each number comes from.

``limits.toml`` holds them in named groups (robots and profiles); every number there carries its
unit, its sources and a date. Standards are not copied: the numbers are replaceable.

Shapes: N coordinates.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from loopwright.core.digest import digest_json
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.safety.body import BodySpec

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wall:
    """A plane that no watched point may cross."""

    point_m: Vector
    inward: Vector
    """Unit normal, towards the side where the robot may be."""

    def __post_init__(self) -> None:
        """Refuse a normal that is not of length one."""
        if not math.isclose(math.hypot(*self.inward), 1.0, abs_tol=1e-6):
            raise InvalidConfig(f"wall normal {self.inward} has not the length 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepOut:
    """A rounded box that no watched point may enter; a sphere when the box is a point."""

    low_m: Vector
    high_m: Vector
    radius_m: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a box that is turned inside out."""
        if any(not a <= b for a, b in zip(self.low_m, self.high_m, strict=True)):
            raise InvalidConfig(f"keep-out box is empty: {self.low_m} to {self.high_m}")
        if not self.radius_m >= 0:
            raise InvalidConfig(f"keep-out radius_m is {self.radius_m}; expected 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the robot must keep (the first block) and how the filter keeps it (the second).

    Units are those of the body's coordinates, per second where it is a speed.
    """

    position_low: tuple[float, ...]
    """``(N,)``; of an effort it means nothing, write 0."""
    position_high: tuple[float, ...]
    speed: tuple[float, ...]
    """``(N,)``; of an effort the largest size."""
    point_speed_m_s: float
    """Of every watched point."""
    walls: tuple[Wall, ...] = ()
    keep_outs: tuple[KeepOut, ...] = ()

    deceleration: tuple[float, ...]
    """``(N,)``: what the braking envelope counts on; the drives must be able to do more."""
    point_deceleration_m_s2: float
    slew: tuple[float, ...]
    """``(N,)``: how fast a commanded speed may change, per second; at least the deceleration."""
    reaction_s: float
    """From a command to its effect; the envelope counts on full speed for so long."""
    position_margin: float
    """Kept from the ends of the range, in units of the coordinates."""
    distance_margin_m: float
    """Kept from walls and keep-outs."""
    headroom: float
    """Share of the speed limits that is commanded; the rest is for what servos overshoot."""
    overspeed_gain: float
    """A command shrinks by so much per share of measured speed above the headroom."""
    stale_s: float
    """Older requests and measurements count as none."""
    forecast_hold_steps: int
    forecast_brake_steps: int
    servo_lag_s: float
    """Time constant with which measured speed follows commanded speed."""
    residual: tuple[float, ...]
    """``(N,)``: difference of expected and measured speed that may last, in one coordinate alone;
    of several it is the length that counts."""
    residual_s: float
    """A difference of twice the residual latches the brake after so long, a larger one sooner."""
    delay_s: float = 0.0
    """Largest delay of the drives that is declared; later drives latch the brake. Where it is less
    than half a control step, that is not looked for."""
    late_share: float = 0.01
    """Difference that the declared delays leave unexplained before a drive is called late: a share
    of the speed limits."""

    def __post_init__(self) -> None:
        """Refuse limits that contradict each other."""
        for name in ("position_high", "speed", "deceleration", "slew", "residual"):
            if len(getattr(self, name)) != len(self.position_low):
                raise InvalidConfig(
                    f"{name} has {len(getattr(self, name))} numbers, "
                    f"position_low has {len(self.position_low)}"
                )
        for name in _POSITIVE:
            _require_positive(name, getattr(self, name))
        if not 0 <= self.delay_s < math.inf:
            raise InvalidConfig(f"delay_s is {self.delay_s}; expected 0 or a finite time")
        for low, high in zip(self.position_low, self.position_high, strict=True):
            if not -math.inf < low <= high < math.inf:
                raise InvalidConfig(f"position range [{low}, {high}] is empty or not finite")
        if any(s < a for s, a in zip(self.slew, self.deceleration, strict=True)):
            raise InvalidConfig(
                f"slew {self.slew} is below deceleration {self.deceleration}: "
                "the envelope would count on braking that the slew rung forbids"
            )
        if not self.headroom <= 1:
            raise InvalidConfig(f"headroom is {self.headroom}; expected a share, at most 1")

    def check(self, spec: BodySpec) -> None:
        """Raise :class:`InvalidConfig` unless these are limits of that body."""
        if len(self.position_low) != spec.size:
            raise InvalidConfig(
                f"{spec.robot} has {spec.size} coordinates, the limits {len(self.position_low)}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        steps = {name: getattr(self, name) for name in _STEPS}
        return {**_plain(asdict(self)), **steps}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Limits:
        """Read what :meth:`to_json` wrote.

        Raises:
            UnknownName: A field is none of ours.
            InvalidConfig: A field is missing, or a value impossible.
        """
        known = {field.name for field in fields(cls)}
        required = {field.name for field in fields(cls) if field.default is MISSING}
        for name in data:
            if name not in known:
                raise UnknownName("limit", name, known)
        values = {name: _frozen(value) for name, value in data.items()}
        values["walls"] = tuple(Wall(**_frozen(w)) for w in data.get("walls", ()))
        values["keep_outs"] = tuple(KeepOut(**_frozen(k)) for k in data.get("keep_outs", ()))
        missing = sorted(required - set(values))
        if missing:
            raise InvalidConfig(f"no limits without {', '.join(missing)}")
        return cls(**values)

    @property
    def digest(self) -> str:
        """SHA-256 of every number."""
        return digest_json(self.to_json())


_STEPS = ("forecast_hold_steps", "forecast_brake_steps")
_POSITIVE = (
    "speed", "point_speed_m_s", "deceleration", "point_deceleration_m_s2", "slew", "reaction_s",
    "position_margin", "distance_margin_m", "headroom", "overspeed_gain", "stale_s",
    "forecast_hold_steps", "forecast_brake_steps", "servo_lag_s", "residual", "residual_s",
    "late_share",
)  # fmt: skip


def _require_positive(name: str, value: float | tuple[float, ...]) -> None:
    for number in value if isinstance(value, tuple) else (value,):
        if not 0 < number < math.inf:
            raise InvalidConfig(f"{name} is {value}; expected finite numbers above 0")


def limits_for(spec: BodySpec, profile: str, overrides: Mapping[str, Any] | None = None) -> Limits:
    """Return the limits of a robot under a profile of ``limits.toml``.

    What the profile says replaces what the table of the robot says; overrides replace both.

    Args:
        spec: The robot; its table is that of its name, if there is one.
        profile: Name of a profile.
        overrides: Fields of :class:`Limits`, for instance those read from a simulator's model.

    Raises:
        UnknownName: There is no such profile or field.
        InvalidConfig: A field is left open, or the values contradict each other.
    """
    table = _table()
    if profile not in table["profile"]:
        raise UnknownName("limits profile", profile, table["profile"])
    robot = table["robot"].get(spec.robot, {})
    stated = {**robot, **table["profile"][profile]}
    values = {name: entry["value"] for name, entry in stated.items()}
    limits = Limits.from_json({**values, **(overrides or {})})
    limits.check(spec)
    return limits


@cache
def _table() -> dict[str, Any]:
    text = resources.files("loopwright.safety").joinpath("limits.toml").read_text()
    return tomllib.loads(text)


def _frozen(value: Any) -> Any:
    """Turn lists into tuples, all the way down."""
    if isinstance(value, Mapping):
        return {name: _frozen(item) for name, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    """Turn tuples into lists and whole numbers into floats, all the way down."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(value)
