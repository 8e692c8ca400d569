"""The control loop: a world, a policy and subscribers, joined at a rate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.errors import WorldError
from loopwright.core.interface import Interface, Observation
from loopwright.core.policy import Policy
from loopwright.core.scenario import Scenario, World, WorldStep, instruction_for


class Subscriber(Protocol):
    """Hears every step of an episode (a recorder, a monitor, a display)."""

    def on_begin(self, header: EpisodeHeader) -> None:
        """Hear of an episode that is about to start."""
        ...

    def on_step(self, observation: Observation, requested: np.ndarray, step: WorldStep) -> None:
        """Hear of one step: what was seen, what was asked for, what came of it."""
        ...

    def on_end(self, censored: str | None) -> None:
        """Hear that the episode is over; ``censored`` says why, if it was cut short."""
        ...


def run_episode(
    *,
    world: World,
    policy: Policy,
    header: EpisodeHeader,
    max_steps: int,
    subscribers: Sequence[Subscriber] = (),
    realtime: bool = False,
) -> int:
    """Run one episode and return its number of steps.

    Chunks of the policy are run to their end before it is asked again. Everything that crosses
    is checked against the header's interface: an observation or action that does not fit ends
    the episode with an error, after the subscribers have heard that it was censored.

    Args:
        world: Where to act.
        policy: What acts.
        header: Describes the episode to the subscribers; its seed starts world and policy.
        max_steps: Control steps after which the episode is over.
        subscribers: Told of the beginning, each step and the end.
        realtime: Keep the rate of the interface in wall time (for hardware and for watching).

    Raises:
        WorldError: The world emitted something that its interface does not allow.
        PolicyError: The policy returned no valid chunk.
    """
    for subscriber in subscribers:
        subscriber.on_begin(header)
    censored: str | None = "interrupted"
    try:
        steps = _run(world, policy, header, max_steps, subscribers, realtime)
        censored = None
        return steps
    except Exception as error:
        censored = f"{type(error).__name__}: {error}"
        raise
    finally:
        for subscriber in subscribers:
            subscriber.on_end(censored)


def _run(
    world: World,
    policy: Policy,
    header: EpisodeHeader,
    max_steps: int,
    subscribers: Sequence[Subscriber],
    realtime: bool,
) -> int:
    interface = header.interface
    period_s = 1.0 / interface.rate_hz
    observation = world.reset(header.seed)
    interface.check_observation(observation)
    policy.reset(header.seed)
    began_s = time.monotonic()
    pending: list[np.ndarray] = []
    for index in range(max_steps):
        if not pending:
            pending = list(interface.check_chunk(policy.act(observation)))
        requested = pending.pop(0)
        step = world.step(requested)
        _check_step(interface, header, step)
        for subscriber in subscribers:
            subscriber.on_step(observation, requested, step)
        observation = step.observation
        if step.ended:
            return index + 1
        if realtime:
            time.sleep(max(0.0, began_s + (index + 1) * period_s - time.monotonic()))
    return max_steps


def _check_step(interface: Interface, header: EpisodeHeader, step: WorldStep) -> None:
    interface.check_observation(step.observation)
    if step.applied.shape != (interface.action.size,) or not np.isfinite(step.applied).all():
        raise WorldError(
            f"{header.scenario} applied the action {step.applied!r}, "
            f"expected {interface.action.size} finite numbers"
        )
    if header.evidence and step.evidence.shape != (len(header.evidence),):
        raise WorldError(
            f"{header.scenario} gave evidence {step.evidence.shape}, "
            f"expected ({len(header.evidence)},) for {header.evidence}"
        )


class Recorder:
    """A subscriber that keeps the episode in memory."""

    def __init__(self) -> None:
        """Start empty."""
        self.header: EpisodeHeader | None = None
        self.censored: str | None = None
        self._steps: list[WorldStep] = []

    @property
    def num_steps(self) -> int:
        """Steps heard of so far."""
        return len(self._steps)

    def on_begin(self, header: EpisodeHeader) -> None:
        """Forget the last episode."""
        self.header = header
        self._observations: list[Observation] = []
        self._requested: list[np.ndarray] = []
        self._steps: list[WorldStep] = []

    def on_step(self, observation: Observation, requested: np.ndarray, step: WorldStep) -> None:
        """Keep one row."""
        self._observations.append(observation)
        self._requested.append(requested)
        self._steps.append(step)

    def on_end(self, censored: str | None) -> None:
        """Remember why the episode was cut short, if it was."""
        self.censored = censored

    def episode(self) -> Episode:
        """Return the whole episode; a ``video`` keeps images and times only."""
        if self.header is None or not self._steps:
            raise WorldError("nothing was recorded: the episode has no step")
        images = {
            camera.name: np.stack([o.images[camera.name] for o in self._observations])
            for camera in self.header.interface.cameras
        }
        time_s = np.array([o.time_s for o in self._observations])
        if self.header.kind == "video":
            return Episode(header=self.header, images=images, time_s=time_s)
        return Episode(
            header=self.header,
            images=images,
            time_s=time_s,
            proprio=np.stack([o.proprio for o in self._observations]),
            requested=np.stack(self._requested),
            applied=np.stack([s.applied for s in self._steps]),
            evidence=np.stack([s.evidence for s in self._steps]),
        )


def attempt_header(
    scenario: Scenario,
    seed: int,
    *,
    candidate: str | None,
    behaviour: str = "",
    scenario_code: str | None = None,
) -> EpisodeHeader:
    """Return the header of a candidate's own try at one seed."""
    return EpisodeHeader(
        scenario=scenario.id,
        kind="attempt",
        seed=seed,
        start=scenario.start(seed),
        instruction=instruction_for(scenario, seed),
        body="robot",
        interface=scenario.interface,
        evidence=scenario.evidence,
        candidate=candidate,
        behaviour=behaviour,
        scenario_code=scenario_code,
    )
