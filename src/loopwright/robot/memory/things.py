"""Things of the world that have a name: what is known of them before anybody looks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from loopwright.core.errors import InvalidConfig, UnknownName

ThingKind = Literal["object", "surface", "station", "robot"]
"""``object``: can be carried. ``surface``: objects rest on it. ``station``: a region of the floor
where robots stand and surfaces are. ``robot``: moves by itself, and may carry objects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One thing."""

    name: str
    kind: ThingKind
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Language to what people call it: ``{"en": ("red cube",), "zh": ("红色方块",)}``."""
    properties: Mapping[str, str] = field(default_factory=dict)
    """What it can be told by: ``{"color": "red", "shape": "cube"}``."""
    size_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Extent of an object, or of the region above a surface in which objects rest on it."""
    position_m: tuple[float, float, float] | None = None
    """Of things that do not move: the centre; of a surface, the centre of its top."""
    radius_m: float = 0.0
    """Of a station: how far its region reaches."""
    deck_m: tuple[float, float, float] | None = None
    """Of a robot that carries objects: the centre of its deck in its own frame; ``size_m`` is the
    region above it."""
    capacity: int = 1
    """How many objects a surface has room for."""
    drift_m_per_root_s: float = 0.0
    """How its position becomes uncertain while nobody looks: a random walk."""
    parts: tuple[str, ...] = ()
    """Of a robot: what it has (``"arm"``, ``"gripper"``, ``"base"``)."""

    def __post_init__(self) -> None:
        """Refuse kinds that are none, and a station without a place."""
        if self.kind not in get_args(ThingKind):
            raise UnknownName("kind of thing", self.kind, get_args(ThingKind))
        if self.kind == "station" and (self.position_m is None or not self.radius_m > 0):
            raise InvalidConfig(f"station {self.name!r} needs a position_m and a radius_m")

    @property
    def carries(self) -> bool:
        """Whether objects may rest on it."""
        return self.kind == "surface" or self.deck_m is not None

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Thing:
        """Read what :meth:`to_json` wrote."""
        listed = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        words = {language: tuple(said) for language, said in data["words"].items()}
        return cls(**{**listed, "words": words})


class Things:
    """Everything that has a name."""

    def __init__(self, things: Iterable[Thing]) -> None:
        """Collect things.

        Raises:
            InvalidConfig: Two have one name.
        """
        listed = tuple(things)
        self._things = {t.name: t for t in listed}
        if len(self._things) != len(listed):
            raise InvalidConfig("two things have one name")

    def __iter__(self) -> Iterator[Thing]:
        """Yield all things."""
        return iter(self._things.values())

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a thing of that name."""
        return name in self._things

    def __getitem__(self, name: str) -> Thing:
        """Return a thing.

        Raises:
            UnknownName: There is none of that name.
        """
        if name not in self._things:
            raise UnknownName("thing", name, self._things)
        return self._things[name]

    def of_kind(self, *kinds: ThingKind) -> tuple[Thing, ...]:
        """Return the things of some kinds."""
        return tuple(t for t in self if t.kind in kinds)

    @property
    def carriers(self) -> tuple[Thing, ...]:
        """Return everything that objects may rest on."""
        return tuple(t for t in self if t.carries)
