"""A skill of a robot of the warehouse as a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from loopwright.core.episode import SourceKind
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import Interface
from loopwright.core.policy import Policy
from loopwright.core.scenario import Box, World
from loopwright.scenarios.judgement import EvidenceVerifier
from loopwright.scenarios.warehouse.evidence import EVIDENCE, verifier_of
from loopwright.scenarios.warehouse.interface import interface_of
from loopwright.scenarios.warehouse.task import WarehouseTask
from loopwright.scenarios.warehouse.world import WarehouseWorld

BODY = "robot"
_GENERAL = {
    "pick": "pick up a cube",
    "place": "put a cube down",
    "drive": "drive to a station",
}


@dataclass(frozen=True, kw_only=True)
class WarehouseScenario:
    """One skill of one robot, seen by its shoulder camera, verified by the simulator's state."""

    task: WarehouseTask
    image_px: int = 64

    def __post_init__(self) -> None:
        """Refuse an impossible image side now rather than when the world is made."""
        interface_of(self.task.robot, self.image_px)

    @property
    def id(self) -> str:
        """Versioned id."""
        return self.task.id

    @property
    def instruction(self) -> str:
        """What to do, in general words; each seed says which cube or station."""
        return _GENERAL[self.task.skill]

    @property
    def interface(self) -> Interface:
        """What a policy sees and commands."""
        return interface_of(self.task.robot, self.image_px)

    @property
    def evidence(self) -> tuple[str, ...]:
        """Names of the evidence columns, with units."""
        return EVIDENCE[self.task.skill]

    @property
    def domain(self) -> Box:
        """The ranges of the starts."""
        return self.task.domain

    @property
    def max_steps(self) -> int:
        """Control steps of an attempt."""
        return self.task.max_steps

    @property
    def verifier(self) -> EvidenceVerifier:
        """Success by the simulator's state at the end."""
        return verifier_of(self.task.skill)

    def instruction_at(self, seed: int) -> str:
        """Return what a seed asks for, in words."""
        return self.task.goal(seed).instruction

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts, without simulating."""
        return self.task.start(seed)

    def make_world(self, *, body: str = BODY, image_px: int | None = None) -> World:
        """Build the world, with another image side if asked.

        Raises:
            UnknownName: There is no such body.
            MissingSystemLibrary: No OpenGL library is installed.
        """
        from loopwright.scenarios.warehouse.starts import begin

        check_body(body)
        return WarehouseWorld(
            self.id, self.task.robot, partial(begin, self.task), image_px=image_px or self.image_px
        )

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return the expert (``demo``, ``video``) or random motion (``play``).

        Raises:
            UnknownName: No other kind can be made here.
            InvalidConfig: The world is not one of this scenario.
        """
        return behave(self.id, kind, world)


def check_body(body: str) -> None:
    """Raise :class:`UnknownName` unless there is such a body."""
    if body != BODY:
        raise UnknownName("body", body, (BODY,))


def behave(scenario: str, kind: SourceKind, world: World) -> Policy:
    """Return what acts in a world of the warehouse to make a source episode of a kind.

    Raises:
        UnknownName: No other kind can be made here.
        InvalidConfig: The world is not one of the warehouse.
    """
    from loopwright.scenarios.warehouse.behaviours import Expert, Play

    if not isinstance(world, WarehouseWorld):
        raise InvalidConfig(
            f"{scenario} acts in worlds that it made itself, not in a {type(world).__name__}"
        )
    if kind == "play":
        return Play(world)
    if kind in ("demo", "video"):
        return Expert(world)
    raise UnknownName("source kind", kind, ("demo", "play", "video"))
