"""The simulated table: unchanged physics, exact starts, upright pictures, clean failures."""

from __future__ import annotations

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from loopwright.core.errors import InvalidConfig, UnknownName, WorldError
from loopwright.core.scenario import split_seed
from loopwright.scenarios.metaworld.catalogue import TASKS
from loopwright.scenarios.metaworld.renderer import FastRenderer
from loopwright.scenarios.metaworld.simulation import make_simulation, start_simulation
from loopwright.scenarios.metaworld.world import MetaWorldWorld
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import attempt
from loopwright.simulation.faults import SimulationDiverged

TASK = {task.id: task for task in TASKS}
UP = np.array([0, 0, 1, 0], np.float32)


@pytest.fixture(scope="module")
def world():
    world = MetaWorldWorld(TASK["button-press-v1"])
    yield world
    world.close()


def bytes_of(model) -> bytes:
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


@pytest.mark.parametrize("task", [TASK["button-press-v1"], TASK["push-v1"]], ids=lambda t: t.id)
def test_drawing_leaves_physics_the_same_to_the_bit(task):
    drawn, undrawn = make_simulation(task), make_simulation(task)
    before = bytes_of(drawn.model)
    renderer = FastRenderer(drawn.model, image_px=64, body="hand")
    assert bytes_of(drawn.model) == before
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 4)).astype(np.float32)
    for simulation in (drawn, undrawn):
        start_simulation(simulation, task.start_vector(11))
    for action in actions:
        for simulation in (drawn, undrawn):
            simulation.step(action)
        renderer.draw(drawn.data)
        assert np.array_equal(drawn.data.qpos, undrawn.data.qpos)
        assert np.array_equal(drawn.data.qvel, undrawn.data.qvel)
    renderer.close()


def test_decimation_thins_the_drawing_and_nothing_else():
    simulation = make_simulation(TASK["button-press-v1"])
    coarse = FastRenderer(simulation.model, image_px=64)
    fine = FastRenderer(simulation.model, image_px=480)
    models = (coarse.offscreen.model, fine.offscreen.model, simulation.model)
    faces = [int(m.mesh_facenum.sum()) for m in models]
    assert faces[0] < faces[2] / 3
    assert faces[0] < faces[1] <= faces[2]
    coarse.close()
    fine.close()


@pytest.mark.parametrize("seed", [0, 5, split_seed("gate", 3)])
def test_the_simulator_starts_where_the_scenario_says(world, seed):
    world.reset(seed)
    start = world.task.start(seed)
    box = world._simulation.data.body("box").xpos
    assert box[:2] == pytest.approx([start["object_x_m"], start["object_y_m"]], abs=1e-12)


def test_starts_are_drawn_anew_and_not_from_stored_ones():
    task = TASK["button-press-v1"]
    places = {task.start(split_seed("train", index))["object_x_m"] for index in range(500)}
    assert len(places) == 500


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_the_domain_is_the_range_that_meta_world_draws_from(task):
    space = make_simulation(task)._random_reset_space
    assert space is not None
    assert [p.low for p in task.placements] == pytest.approx(space.low.tolist())
    assert [p.high for p in task.placements] == pytest.approx(space.high.tolist())


def test_goals_are_not_hidden_from_the_expert():
    world = MetaWorldWorld(TASK["reach-v1"])
    world.reset(0)
    world.step(np.zeros(4, np.float32))
    goal = [world.task.start(0)[f"goal_{axis}_m"] for axis in "xyz"]
    assert world.privileged_state[36:] == pytest.approx(goal)
    world.close()


def fingers(image: np.ndarray) -> np.ndarray:
    """Rows and columns of the cyan finger, which nothing else in the scene resembles."""
    red, green, blue = np.moveaxis(image.astype(int), -1, 0)
    return np.argwhere((green - red > 60) & (blue - red > 60))


def test_pictures_are_upright(world):
    low = fingers(world.reset(0).images["front"])
    for _ in range(20):
        step = world.step(UP)
    high = fingers(step.observation.images["front"])
    assert len(low) > 0
    assert len(high) > 0
    assert high[:, 0].mean() < low[:, 0].mean() - 3


def test_pictures_are_not_mirrored(world):
    # The camera looks from the front right: what moves to positive x comes nearer to the bottom
    # right, past the button's left side.
    left = fingers(world.reset(0).images["front"])
    for _ in range(20):
        step = world.step(np.array([1, 0, 0, 0], np.float32))
    right = fingers(step.observation.images["front"])
    assert right[:, 1].mean() > left[:, 1].mean() + 3


def test_bodies_look_different_and_move_the_same():
    worlds = {
        body: MetaWorldWorld(TASK["door-open-v1"], body=body)
        for body in ("robot", "recoloured", "hand")
    }
    images = {body: world.reset(2).images["front"].astype(int) for body, world in worlds.items()}
    states = [world.privileged_state for world in worlds.values()]
    red = {body: int(((i[..., 0] > 90) & (i[..., 1] < 60)).sum()) for body, i in images.items()}
    skin = {
        body: int(((i[..., 0] > 120) & (i[..., 0] - i[..., 2] > 40) & (i[..., 1] > 80)).sum())
        for body, i in images.items()
    }
    assert red["robot"] > 100 > 10 > red["recoloured"]
    assert red["hand"] < 10
    assert skin["recoloured"] > 100
    assert 10 < skin["hand"] < skin["recoloured"] / 3
    assert all(np.array_equal(states[0], state) for state in states)
    for world in worlds.values():
        world.close()


@pytest.mark.parametrize("image_px", [96, 480])
def test_images_have_the_side_that_is_asked_for(image_px):
    world = get_scenario("button-press-v1").make_world(image_px=image_px)
    assert world.reset(0).images["front"].shape == (image_px, image_px, 3)
    world.close()


@pytest.mark.parametrize("image_px", [63, 8, 1024])
def test_an_impossible_image_side_is_refused_before_anything_is_built(image_px):
    with pytest.raises(InvalidConfig):
        get_scenario("button-press-v1").make_world(image_px=image_px)


def test_steps_out_of_order_are_refused(world):
    fresh = MetaWorldWorld(TASK["button-press-v1"])
    with pytest.raises(WorldError, match="reset"):
        fresh.step(UP)
    fresh.reset(0)
    with pytest.raises(WorldError, match="4 finite numbers"):
        fresh.step(np.full(4, np.nan, np.float32))
    with pytest.raises(WorldError, match="4 finite numbers"):
        fresh.step(np.zeros(3, np.float32))
    fresh.close()
    fresh.close()
    with pytest.raises(WorldError, match="after close"):
        fresh.reset(0)
    assert world.reset(0).images["front"].any(), "closing one world must not blind another"


class Blow:
    """Makes physics diverge after a few steps."""

    def __init__(self, world: MetaWorldWorld) -> None:
        self.world, self.steps = world, 0

    def reset(self, seed: int) -> None:
        self.steps = 0

    def act(self, observation) -> np.ndarray:
        self.steps += 1
        if self.steps == 3:
            self.world._simulation.data.qvel[3] = 1e12
        return np.zeros((1, 4), np.float32)


def test_diverged_physics_is_unknown_and_harms_no_other_episode(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warning to a file where it runs
    scenario = get_scenario("button-press-v1")
    episode, verdict = attempt(scenario, world, Blow(world), 1, None)
    assert verdict.outcome == "unknown"
    assert "SimulationDiverged" in verdict.reason
    assert episode.num_steps == 2
    assert "SimulationDiverged" in (episode.header.censored or "")
    expert = scenario.behaviour("demo", world)
    assert attempt(scenario, world, expert, 1, None)[1].outcome == "success"


def test_divergence_is_raised_by_the_world_itself(world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    world.reset(0)
    world._simulation.data.qvel[3] = 1e12
    with pytest.raises(SimulationDiverged, match="diverged"):
        world.step(UP)


def test_an_unknown_body_is_named(world):
    with pytest.raises(UnknownName, match="did you mean 'hand'"):
        MetaWorldWorld(TASK["button-press-v1"], body="hands")


def test_worlds_that_come_and_go_leave_no_handles_behind():
    scenario = get_scenario("button-press-v1")
    handles = []
    for _ in range(6):
        world = scenario.make_world()
        world.reset(0)
        world.close()
        handles.append(len(os.listdir("/proc/self/fd")))
    assert handles[-1] == handles[1]


def test_a_world_left_open_ends_quietly():
    code = (
        "from loopwright.scenarios.registry import get_scenario\n"
        "world = get_scenario('button-press-v1').make_world()\n"
        "world.reset(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_experts_succeed_in_nine_of_ten_starts(task):
    scenario = get_scenario(task.id)
    world = scenario.make_world()
    expert = scenario.behaviour("demo", world)
    outcomes = [
        attempt(scenario, world, expert, split_seed("train", index), None)[1].outcome
        for index in range(20)
    ]
    world.close()
    assert "unknown" not in outcomes
    assert outcomes.count("success") >= 17
