"""What the coordinator asks of a world memory and of a brain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from loopwright.core.errors import LoopwrightError
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.logic import Condition, Facts, Symbols
from loopwright.robot.sighting import Sighting
from loopwright.robot.task import TaskGraph


class WorldMemory(Protocol):
    """What is believed of the world, and since when."""

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Remember what was seen."""
        ...

    def facts(self, *, since_s: float | None = None) -> Facts:
        """Return who can say what holds now.

        Args:
            since_s: Wall clock; what no sighting at or after it supports is unknown.
        """
        ...

    def symbols(self) -> Symbols:
        """Return everything that is believed to hold, for planning."""
        ...


class NoPlan(LoopwrightError):
    """There is no graph for an instruction; the message is for the person who gave it."""


class NotSeen(NoPlan):
    """There is none by what is known, and something is not known: it may help to look."""


class NoPicture(LoopwrightError):
    """A camera has nothing to show just now."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What a brain is asked."""

    instruction: str
    goal: tuple[Condition, ...]
    """What an earlier graph understood as the goal; empty the first time."""
    robots: Mapping[str, RobotState]
    """Those that are at work."""
    memory: WorldMemory
    reason: str = ""
    """Why an earlier graph failed."""


class Brain(Protocol):
    """Makes graphs out of instructions."""

    @property
    def name(self) -> str:
        """For the journal."""
        ...

    def plan(self, problem: Problem) -> TaskGraph:
        """Return a graph that was validated against contracts and simulated in symbols.

        Raises:
            NoPlan: It was not understood, is ambiguous, impossible or not allowed.
            NotSeen: There may be one once everything has been seen; it is asked again then.
        """
        ...
