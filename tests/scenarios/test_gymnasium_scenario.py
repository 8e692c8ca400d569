"""Any Gymnasium environment as a scenario: spaces, pictures, starts, judging, and bad input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import InvalidConfig, UnknownName, UsageError, WorldError
from loopwright.core.scenario import Box, Request
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.gymnasium import GymnasiumScenario, Judgement
from loopwright.scenarios.gymnasium.resize import resize
from loopwright.scenarios.gymnasium.spaces import UNBOUNDED, action_codec, proprio_spec
from loopwright.scenarios.sources import attempt, record_sources


class Slide(gymnasium.Env):
    """A cart on a rail that is pushed left or right until it is at the flag."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, render_mode=None, discrete=False, nested=False, broken="", size=(40, 60)):
        self.render_mode, self.broken, self.size = render_mode, broken, size
        self.discrete, self.nested = discrete, nested
        self.action_space = (
            spaces.Discrete(3, start=-1) if discrete else spaces.Box(-0.2, 0.4, (1,), np.float32)
        )
        where = spaces.Box(np.array([-np.inf, 0.0]), np.array([np.inf, 1.0]), dtype=np.float64)
        self.observation_space = spaces.Dict({"where": where}) if nested else where

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.flag, self.taken = 0.0, float(self.np_random.uniform(0.3, 1.0)), []
        return self.look(), {}

    def look(self) -> Any:
        where = np.array([np.nan if self.broken == "nan" else self.place, self.flag])
        return {"where": where} if self.nested else where

    def step(self, action):
        self.taken.append(action)
        self.place += 0.1 * action if self.discrete else float(action[0])
        there = abs(self.place - self.flag) < 0.1
        info = {} if self.broken == "info" else {"there": float(there)}
        return self.look(), -1.0, there, False, info

    def render(self):
        if self.broken == "render":
            return np.zeros((8, 8), np.uint8)
        image = np.zeros((*self.size, 3), np.uint8)
        column = int(np.clip(self.place, 0, 1) * (self.size[1] - 1))
        image[:, max(0, column - 3) : column + 4] = 200
        return image


gymnasium.register("loopwright-test/Slide-v0", Slide)


def judge(evidence) -> Judgement:
    if evidence["there"].any():
        return Judgement(outcome="success", score=1.0, reason="at the flag")
    return Judgement(outcome="failure", score=0.2, reason="not at the flag")


def expert(observation: np.ndarray) -> np.ndarray:
    return np.array([observation[1] - observation[0]])


def put(environment, start) -> np.ndarray:
    environment.unwrapped.flag = start["flag_m"]
    return environment.unwrapped.look()


SLIDE = GymnasiumScenario(
    id="slide-v1",
    env_id="loopwright-test/Slide-v0",
    judge=judge,
    instruction="go to the flag",
    max_steps=40,
    image_px=32,
    proprio_names=("place", "flag"),
    info_keys=("there",),
    expert=expert,
    expert_noise=0.1,
)


@pytest.mark.parametrize(
    "scenario",
    [
        SLIDE,
        replace(SLIDE, env_options={"nested": True}),
        replace(SLIDE, env_options={"discrete": True}, expert=lambda o: int(np.sign(o[1] - o[0]))),
        replace(SLIDE, hold=2),
        replace(SLIDE, start_box=Box(low={"flag_m": 0.2}, high={"flag_m": 0.9}), place=put),
    ],
    ids=["box", "nested", "discrete", "hold", "starts"],
)
def test_an_environment_keeps_the_contract_of_a_scenario(scenario):
    report = check_scenario(scenario)
    assert report.ok, str(report)
    assert report.kinds == ("demo", "play", "video")


def test_the_interface_follows_from_the_spaces():
    interface = SLIDE.interface
    assert interface.rate_hz == 20.0
    assert replace(SLIDE, hold=2).interface.rate_hz == 10.0
    assert interface.proprio.low == (-UNBOUNDED, 0.0)
    assert interface.proprio.high == (UNBOUNDED, 1.0)
    assert interface.action.low == (-1.0,)
    assert SLIDE.evidence == ("place", "flag", "reward", "terminated", "truncated", "there")


def test_episodes_are_judged_from_evidence_and_end_with_the_environment():
    ((episode, verdict),) = record_sources(SLIDE, Request(kind="demo", count=1))
    assert verdict is not None
    assert verdict.outcome == "success"
    assert verdict.verifier == "slide-v1/judge"
    assert episode.evidence is not None
    terminated = episode.evidence[:, SLIDE.evidence.index("terminated")]
    assert terminated[-1] == 1.0
    assert not terminated[:-1].any()


def test_actions_reach_the_environment_in_its_own_units():
    world: Any = SLIDE.make_world()
    world.reset(0)
    for command in (-1.0, 0.0, 1.0, 7.0):
        applied = world.step(np.array([command], np.float32)).applied
        assert abs(applied[0]) <= 1.0
    taken = np.concatenate(world._environment.unwrapped.taken)
    assert taken == pytest.approx([-0.2, 0.1, 0.4, 0.4])
    world.close()


def test_a_start_in_the_domain_is_where_the_environment_starts():
    scenario = replace(SLIDE, start_box=Box(low={"flag_m": 0.2}, high={"flag_m": 0.9}), place=put)
    world = scenario.make_world()
    for seed in range(3):
        assert world.reset(seed).proprio[1] == pytest.approx(scenario.start(seed)["flag_m"])
    world.close()
    half = scenario.domain.portion("flag_m", 0.0, 0.5)
    request = Request(kind="play", count=3, box=half)
    assert all(half.contains(e.header.start) for e, _ in record_sources(scenario, request))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("nan", "place.*not finite"),
        ("info", "info lacks 'there'"),
        ("render", r"render\(\) gave \(8, 8\)"),
    ],
)
def test_a_broken_environment_is_a_world_error(broken, message):
    scenario = replace(SLIDE, env_options={"broken": broken})
    world = scenario.make_world()
    with pytest.raises(WorldError, match=message):
        attempt(scenario, world, scenario.behaviour("play", world), 0, None)
    world.close()
    assert not check_scenario(scenario).ok


def test_damaged_evidence_never_reaches_the_judge():
    ((episode, _),) = record_sources(SLIDE, Request(kind="demo", count=1))
    assert episode.evidence is not None
    damaged = episode.evidence.copy()
    damaged[1, 0] = np.nan
    assert SLIDE.verifier(episode.header, damaged).outcome == "unknown"


def test_impossible_settings_are_refused_at_once():
    with pytest.raises(UnknownName, match="did you mean 'loopwright-test/Slide-v0'"):
        replace(SLIDE, env_id="loopwright-test/Slid-v0")
    with pytest.raises(InvalidConfig, match="start_box and place together"):
        replace(SLIDE, place=put)
    with pytest.raises(InvalidConfig, match="hold is 0"):
        replace(SLIDE, hold=0)
    with pytest.raises(InvalidConfig, match="even"):
        replace(SLIDE, image_px=33)
    with pytest.raises(InvalidConfig, match="1 proprio_names for an observation of 2"):
        _ = replace(SLIDE, proprio_names=("place",)).interface


def test_without_an_expert_only_play_is_made():
    alone = replace(SLIDE, expert=None)
    world = alone.make_world()
    assert len(list(record_sources(alone, Request(kind="play", count=1)))) == 1
    with pytest.raises(UnknownName, match="makes no demo, for it has no expert"):
        alone.behaviour("demo", world)
    with pytest.raises(UnknownName, match="body"):
        alone.make_world(body="hand")
    world.close()


def test_an_environment_that_cannot_draw_here_says_what_to_install():
    pytest.importorskip("gymnasium.envs.classic_control")
    if importlib_has("pygame"):
        pytest.skip("pygame is installed, so classic control draws")
    scenario = GymnasiumScenario(id="pole-v1", env_id="CartPole-v1", judge=judge)
    with pytest.raises(UsageError, match="pygame"):
        scenario.make_world().reset(0)


def importlib_has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


# --- Parts ---


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(0.01, 50)), min_size=1, max_size=5),
    st.data(),
)
def test_scaling_a_box_there_and_back_changes_nothing(bounds, data):
    low = np.array([a for a, _ in bounds])
    high = np.array([a + width for a, width in bounds])
    codec = action_codec(spaces.Box(low, high, dtype=np.float64))
    share = data.draw(st.lists(st.floats(-1, 1), min_size=len(low), max_size=len(low)))
    vector = np.array(share, np.float32)
    action = codec.decode(vector)
    assert (action >= low - 1e-6).all()
    assert (action <= high + 1e-6).all()
    assert codec.encode(action) == pytest.approx(vector, abs=1e-5)


@given(st.integers(1, 8), st.integers(-3, 3), st.data())
def test_choosing_there_and_back_changes_nothing(count, first, data):
    codec = action_codec(spaces.Discrete(count, start=first))
    choice = data.draw(st.integers(first, first + count - 1))
    assert codec.decode(codec.encode(choice)) == choice


def test_an_unbounded_action_passes_unscaled():
    codec = action_codec(spaces.Box(-np.inf, np.inf, (2,)))
    assert codec.decode(np.array([0.3, -1.0], np.float32)) == pytest.approx([0.3, -1.0])


def test_spaces_that_do_not_fit_are_refused_with_a_reason():
    with pytest.raises(InvalidConfig, match="Box or Discrete"):
        action_codec(spaces.MultiBinary(3))
    with pytest.raises(InvalidConfig, match="image"):
        proprio_spec(spaces.Box(0, 255, (64, 64, 3), np.uint8), None)
    with pytest.raises(InvalidConfig, match="flatten"):
        proprio_spec(spaces.Sequence(spaces.Discrete(3)), None)


@given(st.integers(4, 70), st.integers(4, 70), st.sampled_from([16, 32, 64]), st.integers(0, 255))
def test_an_even_image_stays_even(height, width, side, grey):
    image = np.full((height, width, 3), grey, np.uint8)
    assert np.array_equal(resize(image, side), np.full((side, side, 3), grey))


def test_halving_an_image_averages_its_pixels():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    blocks = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 32).astype(float) - blocks).max() <= 0.5
    assert np.array_equal(resize(image, 64), image)
