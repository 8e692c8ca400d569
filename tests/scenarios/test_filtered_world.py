from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from loopwright.core.errors import WorldError
from loopwright.core.scenario import split_seed
from loopwright.safety.body import Measured
from loopwright.safety.decision import Reason
from loopwright.safety.ladder import Rungs
from loopwright.scenarios.metaworld.safety import filtered, make_body, make_limits
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt

SEED = split_seed("train", 3)


def test_an_expert_behind_the_filter_succeeds_and_is_hardly_altered():
    scenario = get_scenario("button-press-v1")
    with closing(filtered(scenario.make_world())) as world:
        expert = scenario.behaviour("demo", world.world)
        bare, _ = attempt(scenario, world.world, expert, SEED, None)
        episode, verdict = attempt(scenario, world, expert, SEED, None)
        assert verdict.outcome == "success"
        assert world.altered_share <= 0.02
        assert world.decisions.total() == episode.num_steps
        assert episode.applied is not None
        assert bare.applied is not None
        assert episode.applied.tobytes() == bare.applied.tobytes()


def test_a_wild_policy_stays_in_a_tight_workspace_that_it_leaves_without_the_filter():
    scenario = get_scenario("reach-v1")
    low, high = (-0.1, 0.45, 0.1, 0.0), (0.1, 0.7, 0.35, 0.0)
    limits = make_limits(overrides={"position_low": low, "position_high": high})
    random = np.random.default_rng(0)
    wishes = np.repeat(random.choice([-1.0, 1.0], (12, 4)).astype(np.float32), 8, axis=0)
    with closing(filtered(scenario.make_world(), limits)) as world:
        for arena, stays in ((world, True), (world.world, False)):
            arena.reset(SEED)
            inside = True
            for wish in wishes:
                tool = arena.step(wish).observation.proprio[:3]
                inside &= bool((tool >= low[:3]).all() and (tool <= high[:3]).all())
            assert inside is stays
        assert world.decisions[Reason.POSITION] > 0
        assert world.last is not None
        assert world.altered_share > 0.1


@pytest.mark.parametrize("bad", [None, np.full(4, np.nan, np.float32), np.zeros(3)])
def test_what_is_no_action_holds_the_tool_instead_of_ending_the_episode(bad):
    scenario = get_scenario("reach-v1")
    with closing(filtered(scenario.make_world())) as world:
        world.reset(SEED)
        step = world.step(bad)
        assert step.applied.tolist() == [0, 0, 0, 0]
        assert world.last is not None
        assert world.last.reason in (Reason.MALFORMED, Reason.NOT_FINITE)
        with pytest.raises(WorldError):
            world.world.step(bad)


def test_a_latched_brake_holds_until_the_world_starts_over():
    scenario = get_scenario("reach-v1")
    with closing(filtered(scenario.make_world())) as world:
        world.reset(SEED)
        world.filter.latch(Reason.OPERATOR)
        assert world.step(np.ones(4, np.float32)).applied.tolist() == [0, 0, 0, 0]
        world.reset(SEED)
        assert world.step(np.full(4, 0.1, np.float32)).applied.any()
        world.reset(SEED)
        assert world.last is None


def test_the_nominal_tool_follows_with_a_lag_and_then_stops():
    body = make_body()
    start = body.place(np.array([0.1, 0.6, 0.2, 0.0]))
    assert start.position_m.tolist() == [[0.1, 0.6, 0.2]]
    at = Measured(position=np.array([0.1, 0.6, 0.2, 0.0]), speed=np.zeros(4), time_s=0.0)
    forecast = body.forecast(at, np.array([0.8, 0, 0, 1]), hold_steps=2, brake_steps=20)
    assert forecast.points_m.shape == (22, 1, 3)
    assert 0.3 < forecast.speed[0, 0] < forecast.speed[1, 0] < 0.6
    assert abs(forecast.speed[-1]).max() < 1e-3
    assert forecast.position[-1, 0] - 0.1 == pytest.approx(0.04, abs=1e-3)


def test_a_ladder_of_fewer_rungs_may_be_chosen_for_study():
    scenario = get_scenario("reach-v1")
    bare = Rungs(clamp=False, envelope=False, slew=False, look_ahead=False, residual=False)
    with closing(filtered(scenario.make_world(), rungs=bare)) as world:
        world.reset(SEED)
        world.step(np.ones(4, np.float32))
        assert world.altered_share == 0.0
