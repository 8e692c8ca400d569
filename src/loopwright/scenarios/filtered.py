"""A world behind a safety filter: what a policy asks for is filtered before the actuators get it.

So any scenario can be run, recorded and judged with the filter on or off.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

import numpy as np

from loopwright.core.interface import Observation
from loopwright.core.scenario import World, WorldStep
from loopwright.safety.body import Measured
from loopwright.safety.decision import Decision, Reason
from loopwright.safety.ladder import SafetyFilter


class Coupling(Protocol):
    """Translates between a world's actions and observations and a body's coordinates."""

    def measure(self, observation: Observation, *, starts: bool) -> Measured:
        """Return what an observation says of the body; ``starts`` at the first of an episode."""
        ...

    def request(self, action: object) -> object:
        """Return what an action asks of the body; what is no action passes as it is."""
        ...

    def action(self, command: np.ndarray) -> np.ndarray:
        """Return the action, float32 ``(A,)``, that commands the body so."""
        ...


class FilteredWorld:
    """A :class:`~loopwright.core.scenario.World` in which nothing unfiltered is applied.

    An action that the filter does not alter is applied bit by bit as it came. Starting over
    releases a latched brake: in a simulated world, the reset is the operator.
    """

    def __init__(self, world: World, safety_filter: SafetyFilter, coupling: Coupling) -> None:
        """Put a filter before a world, which it owns from then on."""
        self.world, self.filter, self.coupling = world, safety_filter, coupling
        self.decisions: Counter[Reason] = Counter()
        """How often each reason was given, over all episodes."""
        self.last: Decision | None = None

    def reset(self, seed: int) -> Observation:
        """Start over; the seed alone fixes the start."""
        observation = self.world.reset(seed)
        self._measured = self.coupling.measure(observation, starts=True)
        self.filter.release()
        self.filter.reset(self._measured)
        self.last = None
        return observation

    def step(self, action: np.ndarray) -> WorldStep:
        """Apply what the filter makes of an action."""
        request = self.coupling.request(action)
        decision = self.filter.step(request, self._measured.time_s, self._measured)
        self.decisions[decision.reason] += 1
        self.last = decision
        applied = self.coupling.action(decision.applied) if decision.altered else action
        step = self.world.step(applied)
        self._measured = self.coupling.measure(step.observation, starts=False)
        return step

    def close(self) -> None:
        """Release what the world holds; idempotent."""
        self.world.close()

    @property
    def altered_share(self) -> float:
        """Share of all steps in which the actuators got something else than was asked for."""
        steps = self.decisions.total()
        return 1.0 - self.decisions[Reason.UNALTERED] / steps if steps else 0.0
