"""What a restriction makes of a filter's limits: each the tighter one, whatever the directive says.

So a directive, or an approved alternative, can never loosen a limit, not even by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.safety.limits import KeepOut, Limits, Wall

SMALLER = frozenset(
    {
        "position_high",
        "speed",
        "point_speed_m_s",
        "headroom",
        "stale_s",
        "residual",
        "residual_s",
    }
)
"""Limits that are tighter when smaller."""
LARGER = frozenset({"position_low", "reaction_s", "position_margin", "distance_margin_m"})
"""Limits that are tighter when larger."""
ADDED: dict[str, type] = {"walls": Wall, "keep_outs": KeepOut}
"""Limits that are tighter when there are more of them, and what they are made of."""
_KNOWN = SMALLER | LARGER | set(ADDED)


def check_restriction(overrides: Mapping[str, Any]) -> None:
    """Refuse overrides that no filter could keep.

    Raises:
        UnknownName: A limit is none that can be tightened.
        InvalidConfig: A value is no number, and no list of numbers or of shapes.
    """
    for name, value in overrides.items():
        if name not in _KNOWN:
            raise UnknownName("limit to tighten", name, _KNOWN)
        members = value if isinstance(value, (list, tuple)) else (value,)
        fits = _is_shape if name in ADDED else _is_number
        if not members or not all(fits(name, member) for member in members):
            raise InvalidConfig(
                f"limit {name!r} is {value!r}; expected numbers, or a list of shapes"
            )


def _is_number(name: str, value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_shape(name: str, value: Any) -> bool:
    try:
        ADDED[name](**{key: _tuple(item) for key, item in value.items()})
    except (TypeError, AttributeError, InvalidConfig):
        return False
    return True


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value


def tightened(limits: Limits, restrictions: Iterable[Mapping[str, Any]]) -> Limits:
    """Return the limits that keep all restrictions too.

    Args:
        limits: Those of the certificate.
        restrictions: ``Standing.restrictions``; a number stands for every coordinate.

    Raises:
        UnknownName: One is of no limit that can be tightened.
        InvalidConfig: One does not fit the robot, or leaves nothing to move in.
    """
    data = limits.to_json()
    for overrides in restrictions:
        check_restriction(overrides)
        for name, value in overrides.items():
            data[name] = _tighter(name, data[name], value)
    return Limits.from_json(data)


def _tighter(name: str, own: Any, other: Any) -> Any:
    if name in ADDED:
        return [*own, *other]
    choose = min if name in SMALLER else max
    if not isinstance(own, (list, tuple)):
        if isinstance(other, (list, tuple)):
            raise InvalidConfig(f"limit {name!r} is one number, the restriction has {other!r}")
        return choose(own, other)
    values = other if isinstance(other, (list, tuple)) else [other] * len(own)
    if len(values) != len(own):
        raise InvalidConfig(f"limit {name!r} has {len(own)} numbers, the restriction {len(values)}")
    return [choose(a, b) for a, b in zip(own, values, strict=True)]
