"""A Meta-World task as a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopwright.core.episode import SourceKind
from loopwright.core.errors import InvalidConfig, UnknownName
from loopwright.core.interface import Interface
from loopwright.core.policy import Policy
from loopwright.core.scenario import Box, World
from loopwright.scenarios.judgement import EvidenceVerifier
from loopwright.scenarios.metaworld.bodies import check_body
from loopwright.scenarios.metaworld.task import MetaWorldTask
from loopwright.scenarios.metaworld.verifier import EVIDENCE, distance_verifier
from loopwright.scenarios.metaworld.world import MetaWorldWorld, interface_for

MAX_STEPS = 150
"""Control steps of an attempt (3.75 s); the slowest scripted expert needs about 120."""


@dataclass(frozen=True, kw_only=True)
class MetaWorldScenario:
    """One task on the table, seen by one camera and verified by the simulator's state."""

    task: MetaWorldTask
    image_px: int = 64
    max_steps: int = MAX_STEPS

    def __post_init__(self) -> None:
        """Refuse an impossible image side now rather than when the world is made."""
        interface_for(self.image_px)

    @property
    def id(self) -> str:
        """Versioned id."""
        return self.task.id

    @property
    def instruction(self) -> str:
        """What to do, in words."""
        return self.task.instruction

    @property
    def interface(self) -> Interface:
        """What a policy sees and commands."""
        return interface_for(self.image_px)

    @property
    def evidence(self) -> tuple[str, ...]:
        """Names of the evidence columns, with units."""
        return EVIDENCE

    @property
    def domain(self) -> Box:
        """The true ranges of the task's random start."""
        return self.task.domain

    @property
    def verifier(self) -> EvidenceVerifier:
        """Success by the published distance."""
        return distance_verifier(self.task.success_within_m)

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts, without simulating."""
        return self.task.start(seed)

    def make_world(self, *, body: str = "robot", image_px: int | None = None) -> World:
        """Build the world, with another body or image side if asked.

        Raises:
            UnknownName: There is no such body.
            MissingSystemLibrary: No OpenGL library is installed.
        """
        check_body(body)
        return MetaWorldWorld(self.task, body=body, image_px=image_px or self.image_px)

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return the expert (``demo``, ``video``) or random motion (``play``).

        Raises:
            UnknownName: No other kind can be made here.
            InvalidConfig: The world is not one of this scenario.
        """
        from loopwright.scenarios.metaworld.behaviours import Expert, Play

        if not isinstance(world, MetaWorldWorld):
            raise InvalidConfig(
                f"{self.id} acts in worlds that it made itself, not in a {type(world).__name__}"
            )
        if kind == "play":
            return Play()
        if kind in ("demo", "video"):
            return Expert(world)
        raise UnknownName("source kind", kind, ("demo", "play", "video"))
