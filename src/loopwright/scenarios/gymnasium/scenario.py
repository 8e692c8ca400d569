"""Any registered Gymnasium environment, with a judge, as a scenario."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from loopwright.core.episode import SourceKind
from loopwright.core.errors import InvalidConfig, MissingExtra, UnknownName
from loopwright.core.interface import CameraSpec, Interface
from loopwright.core.policy import Policy
from loopwright.core.scenario import SPLIT_SIZE, SPLITS, Box, World
from loopwright.core.seeds import generator
from loopwright.scenarios.judgement import EvidenceVerifier, Judge
from loopwright.simulation.graphics import choose_backend

BODY = "robot"
OUTCOME_COLUMNS = ("reward", "terminated", "truncated")
"""Evidence that every environment gives, between the observation and the entries of ``info``."""


@dataclass(frozen=True, kw_only=True)
class GymnasiumScenario:
    """A registered environment and a judge of what was recorded.

    Images come from ``render()``, proprioception is the flattened observation, actions are scaled
    to [-1, 1] (for a discrete choice, the largest component counts). Recorded as evidence are the
    observation, ``reward``, ``terminated``, ``truncated`` and the named entries of ``info``.
    """

    id: str
    """Versioned, ``"reach-the-dot-v1"``."""
    env_id: str
    """Gymnasium's id of the environment."""
    judge: Judge
    """Concludes from the evidence columns how an episode ended; pure."""
    instruction: str = ""
    max_steps: int = 200
    """Control steps of an attempt."""
    image_px: int = 64
    hold: int = 1
    """Environment steps per control step."""
    env_options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to ``gymnasium.make``."""
    proprio_names: tuple[str, ...] | None = None
    """A name per component of the flattened observation; the evidence columns carry them too."""
    info_keys: tuple[str, ...] = ()
    """Numeric entries of ``info`` to record; each must be there at every step."""
    start_box: Box | None = None
    """The operating domain; together with ``place``. None: the seed is all that is known."""
    place: Callable[[Any, Mapping[str, float]], Any] | None = None
    """Puts a reset environment into a start of ``start_box`` and returns the observation there."""
    expert: Callable[[np.ndarray], Any] | None = None
    """From the flat observation to an action of the environment; makes demonstrations."""
    expert_noise: float = 0.0
    """Standard deviation of the noise on the expert's scaled action."""

    def __post_init__(self) -> None:
        """Refuse impossible settings, and an environment that is not registered.

        Raises:
            InvalidConfig: A value is impossible, or a domain comes without a way to start in it.
            MissingExtra: Gymnasium is not installed.
            UnknownName: No such environment is registered.
        """
        CameraSpec(name="view", height_px=self.image_px, width_px=self.image_px)
        if min(self.hold, self.max_steps) < 1:
            raise InvalidConfig(
                f"{self.id}: hold is {self.hold} and max_steps {self.max_steps}; "
                "both must be at least 1"
            )
        if (self.start_box is None) != (self.place is None):
            raise InvalidConfig(
                f"{self.id}: give start_box and place together; one names the starts, "
                "the other puts the environment there"
            )
        require_environment(self.env_id)

    @cached_property
    def _anatomy(self) -> tuple[Interface, Any]:
        """The interface and the action codec; needs one environment, without a renderer."""
        from loopwright.scenarios.gymnasium.spaces import action_codec, proprio_spec

        environment = self._make_environment(render_mode=None)
        try:
            codec = action_codec(environment.action_space)
            interface = Interface(
                cameras=(CameraSpec(name="view", height_px=self.image_px, width_px=self.image_px),),
                proprio=proprio_spec(environment.observation_space, self.proprio_names),
                action=codec.spec,
                rate_hz=_rate_hz(environment, self.env_id) / self.hold,
            )
        finally:
            environment.close()
        return interface, codec

    @property
    def interface(self) -> Interface:
        """What a policy sees and commands."""
        return self._anatomy[0]

    @property
    def evidence(self) -> tuple[str, ...]:
        """Names of the evidence columns."""
        return (*self.interface.proprio.names, *OUTCOME_COLUMNS, *self.info_keys)

    @property
    def domain(self) -> Box:
        """The declared operating domain, or the range of seeds."""
        if self.start_box is not None:
            return self.start_box
        return Box(low={"seed": 0.0}, high={"seed": float(SPLIT_SIZE * len(SPLITS) - 1)})

    @property
    def verifier(self) -> EvidenceVerifier:
        """The judge, guarded against damaged evidence."""
        return EvidenceVerifier(name=f"{self.id}/judge", columns=self.evidence, judge=self.judge)

    def start(self, seed: int) -> Mapping[str, float]:
        """Return where in the domain a seed starts, without simulating."""
        if self.start_box is None:
            return {"seed": float(seed)}
        random = generator(seed, "gymnasium-start", self.env_id)
        box = self.start_box
        return {name: float(random.uniform(box.low[name], box.high[name])) for name in box.low}

    def make_world(self, *, body: str = BODY, image_px: int | None = None) -> World:
        """Build the world, with another image side if asked.

        Raises:
            UnknownName: There is no body but ``"robot"``.
        """
        from loopwright.scenarios.gymnasium.drawing import draw_small
        from loopwright.scenarios.gymnasium.world import GymnasiumWorld

        if body != BODY:
            raise UnknownName("body", body, (BODY,))
        if image_px is not None and image_px != self.image_px:
            return replace(self, image_px=image_px).make_world(body=body)
        choose_backend()
        environment = self._make_environment(render_mode="rgb_array")
        draw_small(environment, self.image_px)
        return GymnasiumWorld(
            environment,
            interface=self.interface,
            codec=self._anatomy[1],
            instruction=self.instruction,
            info_keys=self.info_keys,
            hold=self.hold,
            start_at=None if self.place is None else self._start_at,
        )

    def behaviour(self, kind: SourceKind, world: World) -> Policy:
        """Return the expert (``demo``, ``video``) or smooth random actions (``play``).

        Raises:
            NoExpert: The kind needs an expert, and none was given.
            UnknownName: The kind is another one.
        """
        from loopwright.scenarios.gymnasium.behaviours import Expert, Play

        codec = self._anatomy[1]
        if kind == "play":
            return Play(codec.spec.size)
        if kind in ("demo", "video") and self.expert is not None:
            return Expert(self.expert, codec, noise=self.expert_noise)
        if kind in ("demo", "video"):
            raise NoExpert(self.id, kind)
        raise UnknownName("source kind", kind, ("demo", "play", "video"))

    def _start_at(self, environment: Any, seed: int) -> Any:
        assert self.place is not None
        return self.place(environment, self.start(seed))

    def _make_environment(self, *, render_mode: str | None) -> Any:
        import gymnasium

        # Gymnasium's own checker only warns; what matters here is checked as an error.
        return gymnasium.make(
            self.env_id, render_mode=render_mode, disable_env_checker=True, **self.env_options
        )


class NoExpert(UnknownName):
    """A scenario cannot make demonstrations or videos, because nobody told it how."""

    def __init__(self, scenario: str, kind: str) -> None:
        """Say what to write, and where."""
        super().__init__("source kind", kind, ("play",))
        self.args = (
            f"{scenario} makes no {kind}, for it has no expert. Write a function from the flat "
            "observation to an action of the environment, and give it to GymnasiumScenario as "
            f"expert=... in the file that defines {scenario}; until then it makes only play",
        )


def require_environment(env_id: str) -> None:
    """Check that an environment is registered, without building it.

    Raises:
        MissingExtra: Gymnasium is not installed.
        UnknownName: No environment of that id is registered.
    """
    if importlib.util.find_spec("gymnasium") is None:
        raise MissingExtra("gymnasium", "gymnasium", f"environment {env_id}")
    import gymnasium

    # "module:id" imports a module that registers the environment, so it cannot be known yet.
    if ":" in env_id or env_id in gymnasium.registry:
        return
    near = difflib.get_close_matches(env_id, gymnasium.registry, n=5, cutoff=0.3)
    raise UnknownName("environment", env_id, near or gymnasium.registry)


def _rate_hz(environment: Any, env_id: str) -> float:
    rate_hz = environment.metadata.get("render_fps")
    if not rate_hz:
        raise InvalidConfig(f"{env_id} states no metadata['render_fps'], so its rate is unknown")
    return float(rate_hz)
