"""What is believed of the world once everything that runs has done what it ensures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loopwright.robot.knowledge import WorldMemory
from loopwright.robot.logic import Condition, Fact, Facts, Symbols, Truth
from loopwright.robot.sighting import Sighting


class ExpectedMemory:
    """A memory to plan with while robots are at something else: a robot that drives will arrive.

    Only plans are made with it; a step begins when what it requires was seen.
    """

    def __init__(self, memory: WorldMemory, effects: Iterable[Condition]) -> None:
        """Look at a memory as it will be; of two effects on one fact the later counts."""
        self._memory = memory
        self._effects: Mapping[Fact, bool] = {c.fact: c.holds for c in effects}

    def take(self, sightings: Iterable[Sighting]) -> None:
        """Remember what was seen."""
        self._memory.take(sightings)

    def facts(self, *, since_s: float | None = None) -> Facts:
        """Return who says what will hold."""
        now = self._memory.facts(since_s=since_s)

        def truth(fact: Fact) -> Truth:
            return self._effects[fact] if fact in self._effects else now(fact)

        return truth

    def symbols(self) -> Symbols:
        """Return everything that is believed to hold then."""
        true = {fact for fact in self._memory.symbols().true if self._effects.get(fact, True)}
        return Symbols(frozenset(true | {fact for fact, holds in self._effects.items() if holds}))
