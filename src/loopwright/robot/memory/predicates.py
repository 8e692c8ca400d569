"""What holds, judged from beliefs: one observer for each predicate.

An observer answers true or false only if the belief is sure enough; else the truth is unknown. The
chance that a point with a normal error lies in an interval is computed exactly, axis by axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.robot.logic import Fact, Truth
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.things import Thing, Things

SURE = 0.95
"""Chance above which something is called true, and below one minus which it is called false."""


class Beliefs(Protocol):
    """What an observer may ask."""

    @property
    def things(self) -> Things:
        """What there is."""
        ...

    def estimate(self, name: str) -> Estimate | None:
        """Return where something is believed to be now; None if that is not known."""
        ...

    def felt(self, fact: Fact) -> Truth:
        """Return what a sensor said of a relation last; None if none did."""
        ...


Observer = Callable[[Beliefs, tuple[str, ...]], Truth]
Role = Literal["object", "carrier", "robot", "station", "robot or surface"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """Something that is observed by rules of ours."""

    observer: Observer
    roles: tuple[Role, ...]
    """What its arguments are."""


def observe(beliefs: Beliefs, fact: Fact) -> Truth:
    """Return whether a ground fact holds by what is believed.

    Of a predicate without a rule here it is what a sensor said of it. What makes no sense is
    unknown, for skills and plans come from outside; :func:`check_fact` tells what is wrong.
    """
    predicate = PREDICATES.get(fact.name)
    if predicate is None:
        return beliefs.felt(fact)
    if not _fits(predicate, fact, beliefs.things):
        return None
    return predicate.observer(beliefs, fact.args)


def check_fact(fact: Fact, things: Things, *, felt: Collection[str] = ()) -> None:
    """Refuse a fact that nobody could ever observe.

    Args:
        fact: Without parameters.
        things: What there is.
        felt: Predicates without a rule here that sensors may speak of.

    Raises:
        UnknownName: There is no such predicate, or no such thing.
        InvalidConfig: It has too many arguments, too few, or of another kind.
    """
    predicate = PREDICATES.get(fact.name)
    if predicate is None:
        if fact.name not in felt:
            raise UnknownName("predicate", fact.name, {*PREDICATES, *felt})
        return
    for name in fact.args:
        things[name]
    if not _fits(predicate, fact, things):
        roles = ", ".join(predicate.roles)
        raise InvalidConfig(f"{fact} makes no sense; {fact.name} is of {roles}")


def _fits(predicate: Predicate, fact: Fact, things: Things) -> bool:
    return len(fact.args) == len(predicate.roles) and all(
        name in things and _ROLES[role](things[name])
        for name, role in zip(fact.args, predicate.roles, strict=True)
    )


def on(beliefs: Beliefs, args: tuple[str, ...]) -> Truth:
    """Tell whether an object rests on a surface: above it, at its height, in nobody's hand."""
    object_, surface = (beliefs.things[a] for a in args)
    if any(beliefs.felt(Fact("holding", (r.name, object_.name))) for r in _robots(beliefs)):
        return False
    where = beliefs.estimate(object_.name)
    region = _region(beliefs, surface)
    if where is None or region is None:
        return None
    low_m, high_m, sigma_m = region
    # An object rests on its lower face; seen is its middle.
    bottom_m = where.position_m - np.array([0.0, 0.0, object_.size_m[2] / 2])
    return _sure(_chance_within(bottom_m, math.hypot(where.sigma_m, sigma_m), low_m, high_m))


def at(beliefs: Beliefs, args: tuple[str, ...]) -> Truth:
    """Tell whether a robot or a surface is within the region of a station."""
    thing, station = (beliefs.things[a] for a in args)
    if thing.position_m is not None:
        where_m, sigma_m = np.array(thing.position_m), 0.0
    elif (where := beliefs.estimate(thing.name)) is not None:
        where_m, sigma_m = where.position_m, where.sigma_m
    else:
        return None
    assert station.position_m is not None
    away_m = float(np.linalg.norm(where_m[:2] - np.array(station.position_m[:2])))
    return _sure(_normal_below((station.radius_m - away_m), sigma_m))


def astray(beliefs: Beliefs, args: tuple[str, ...]) -> Truth:
    """Tell whether a robot is at no station: on its way, or stopped on it."""
    found = [at(beliefs, (args[0], s.name)) for s in beliefs.things.of_kind("station")]
    if True in found:
        return False
    return None if None in found else True


def clear(beliefs: Beliefs, args: tuple[str, ...]) -> Truth:
    """Tell whether a surface has room for one more object."""
    surface = beliefs.things[args[0]]
    found = [on(beliefs, (o.name, surface.name)) for o in beliefs.things.of_kind("object")]
    if found.count(True) >= surface.capacity:
        return False
    return True if found.count(True) + found.count(None) < surface.capacity else None


def _felt(name: str) -> Observer:
    """Return who tells of a predicate what a hand felt."""
    return lambda beliefs, args: beliefs.felt(Fact(name, args))


PREDICATES: Final[Mapping[str, Predicate]] = {
    "on": Predicate(on, ("object", "carrier")),
    "at": Predicate(at, ("robot or surface", "station")),
    "astray": Predicate(astray, ("robot",)),
    "holding": Predicate(_felt("holding"), ("robot", "object")),
    "free-hand": Predicate(_felt("free-hand"), ("robot",)),
    "clear": Predicate(clear, ("carrier",)),
}
_ROLES: Final[Mapping[Role, Callable[[Thing], bool]]] = {
    "object": lambda thing: thing.kind == "object",
    "carrier": lambda thing: thing.carries,
    "robot": lambda thing: thing.kind == "robot",
    "station": lambda thing: thing.kind == "station",
    "robot or surface": lambda thing: thing.kind in ("robot", "surface"),
}


def _robots(beliefs: Beliefs) -> tuple[Thing, ...]:
    return beliefs.things.of_kind("robot")


def _region(beliefs: Beliefs, surface: Thing) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return the box in which the lower faces of resting objects are, and how unsure it is."""
    sigma_m = 0.0
    if surface.position_m is not None:
        top_m = np.array(surface.position_m)
    elif surface.deck_m is not None and (robot := beliefs.estimate(surface.name)) is not None:
        top_m, sigma_m = robot.position_m + _rotated(robot, surface.deck_m), robot.sigma_m
    else:
        return None
    half_m = np.array([surface.size_m[0] / 2, surface.size_m[1] / 2, surface.size_m[2]])
    return top_m - half_m * [1, 1, 0] - [0, 0, 0.02], top_m + half_m, sigma_m


def _rotated(robot: Estimate, offset_m: tuple[float, float, float]) -> np.ndarray:
    """Return an offset of a robot's frame in the world's, for a robot that stands upright."""
    w, _, _, z = robot.pose[3:]
    yaw_rad = 2 * math.atan2(z, w)
    x, y, up = offset_m
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([cos * x - sin * y, sin * x + cos * y, up])


def _chance_within(
    point_m: np.ndarray, sigma_m: float, low_m: np.ndarray, high_m: np.ndarray
) -> float:
    chance = 1.0
    for x, low, high in zip(point_m, low_m, high_m, strict=True):
        chance *= _normal_below(high - x, sigma_m) - _normal_below(low - x, sigma_m)
    return chance


def _normal_below(distance_m: float, sigma_m: float) -> float:
    """Return the chance that a normal error is below a distance; without error, yes or no."""
    if sigma_m <= 0:
        return 1.0 if distance_m >= 0 else 0.0
    return 0.5 * (1 + math.erf(distance_m / (sigma_m * math.sqrt(2))))


def _sure(chance: float) -> Truth:
    if chance >= SURE:
        return True
    return False if chance <= 1 - SURE else None
