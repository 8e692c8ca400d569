"""Source episodes and attempts: what is kept, that it repeats, and who is to blame."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from loopwright.core.episode import Episode
from loopwright.core.errors import (
    ContractError,
    PolicyError,
    UnknownName,
    VerifierError,
    WorldError,
)
from loopwright.core.scenario import Request
from loopwright.scenarios.point.scenario import PointReach
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import PATIENCE, PLAY_STEPS, attempt, judge, record_sources


@pytest.fixture(scope="module")
def scenario():
    return get_scenario("button-press-v1")


# --- On the simulated table ---


def test_demonstrations_are_verified_successes_from_the_box(scenario):
    box = scenario.domain.portion("object_x_m", 0.0, 0.4)
    made = list(record_sources(scenario, Request(kind="demo", count=2, box=box)))
    assert len(made) == 2
    for episode, verdict in made:
        assert verdict is not None
        assert verdict.outcome == "success"
        assert verdict.episode == episode.id
        assert box.contains(episode.header.start)
        assert episode.requested is not None
        assert np.abs(episode.requested).max() <= 1.0


def test_play_is_undirected_and_moves_the_gripper(scenario):
    ((episode, verdict),) = record_sources(scenario, Request(kind="play", count=1))
    assert verdict is None
    assert episode.header.instruction == ""
    assert episode.num_steps <= PLAY_STEPS
    assert episode.proprio is not None
    travelled_m = np.ptp(episode.proprio[:, :3], axis=0)
    assert travelled_m.max() > 0.05
    assert np.ptp(episode.proprio[:, 3]) > 0.1


def test_equal_requests_give_equal_episodes(scenario):
    request = Request(kind="demo", count=1, first=7)
    ((one, _),) = record_sources(scenario, request)
    ((two, _),) = record_sources(scenario, request)
    assert one.id == two.id
    assert np.array_equal(one.images["front"], two.images["front"])
    assert one.evidence is not None
    assert two.evidence is not None
    assert np.array_equal(one.evidence, two.evidence)


@pytest.mark.parametrize("body", ["recoloured", "hand"])
def test_a_video_carries_no_number_that_a_label_could_be_read_from(scenario, body):
    ((video, verdict),) = record_sources(scenario, Request(kind="video", count=1, body=body))
    assert verdict is not None
    assert verdict.episode == video.id
    assert video.header.body == body
    filled = {f.name for f in dataclasses.fields(Episode) if getattr(video, f.name) is not None}
    assert filled == {"header", "images", "time_s"}
    assert set(video.images) == {"front"}
    assert video.images["front"].dtype == np.uint8
    assert video.header.evidence == ()
    assert np.allclose(np.diff(video.time_s), 1 / scenario.interface.rate_hz)


def test_a_body_that_does_not_exist_is_named(scenario):
    with pytest.raises(UnknownName, match=r"did you mean 'recoloured'"):
        next(record_sources(scenario, Request(kind="video", count=1, body="recolored")))


def test_an_attempt_is_no_source(scenario):
    with pytest.raises(UnknownName, match="source kind 'attempt'"):
        next(record_sources(scenario, Request(kind="attempt", count=1)))


# --- Which episodes are kept, on the plane ---


class Clumsy(PointReach):
    """Its expert stands still at the seeds that ``fails`` picks; counts closed worlds."""

    def __init__(self, fails) -> None:
        super().__init__()
        self.fails, self.closed = fails, 0

    def make_world(self, *, body: str = "robot", image_px: int | None = None):
        world: Any = super().make_world(body=body, image_px=image_px)
        world.close = self._count
        return world

    def _count(self) -> None:
        self.closed += 1

    def behaviour(self, kind, world):
        expert: Any = super().behaviour(kind, world)
        reset, act = expert.reset, expert.act

        def reset_and_note(seed: int) -> None:
            expert.seed = seed
            reset(seed)

        expert.reset = reset_and_note
        expert.act = lambda o: act(o) * (0 if self.fails(expert.seed) else 1)
        return expert


@pytest.mark.parametrize("kind", ["demo", "video"])
def test_a_failure_of_the_expert_is_not_kept_and_the_next_seed_is_tried(kind):
    clumsy = Clumsy(lambda seed: seed % 3 == 0)
    request = Request(kind=kind, count=4, first=3)
    made = list(record_sources(clumsy, request))
    assert [episode.header.seed for episode, _ in made] == [4, 5, 7, 8]
    assert clumsy.closed == 1


def test_play_is_kept_whatever_comes_of_it():
    made = list(record_sources(PointReach(), Request(kind="play", count=5)))
    assert [episode.header.seed for episode, _ in made] == [0, 1, 2, 3, 4]


def test_an_expert_that_never_succeeds_is_given_up():
    clumsy = Clumsy(lambda seed: True)
    with pytest.raises(ContractError, match=f"failed {PATIENCE} times in a row"):
        list(record_sources(clumsy, Request(kind="demo", count=1)))
    assert clumsy.closed == 1


def test_a_reader_that_stops_early_leaves_no_world_open():
    clumsy = Clumsy(lambda seed: False)
    episodes = record_sources(clumsy, Request(kind="demo", count=100))
    next(episodes)
    episodes.close()  # type: ignore[attr-defined]
    assert clumsy.closed == 1


# --- Who is to blame when an attempt goes wrong ---


class Push:
    def __init__(self, action=(1.0, 1.0)) -> None:
        self.action = np.array([action], np.float32)

    def reset(self, seed: int) -> None: ...

    def act(self, observation) -> np.ndarray:
        return self.action


def world_that(answer) -> Any:
    world: Any = PointReach().make_world()
    step, taken = world.step, []

    def counted(action):
        taken.append(action)
        return step(action) if len(taken) < 3 else answer(step(action))

    world.step = counted
    return world


def fail_with(error: Exception):
    def answer(step):
        raise error

    return answer


@pytest.mark.parametrize("error", [OSError("device lost"), MemoryError("no memory")])
def test_a_fault_of_the_machine_makes_an_attempt_unknown(error):
    episode, verdict = attempt(PointReach(), world_that(fail_with(error)), Push(), 0, "c" * 64)
    assert verdict.outcome == "unknown"
    assert str(error) in verdict.reason
    assert verdict.flags["infrastructure"] is True
    assert episode.num_steps == 2
    assert str(error) in (episode.header.censored or "")
    assert episode.header.candidate == "c" * 64


def test_a_fault_before_the_first_step_leaves_nothing_to_judge_and_is_raised():
    world: Any = PointReach().make_world()
    world.step = lambda action: (_ for _ in ()).throw(OSError("device lost"))
    with pytest.raises(OSError, match="device lost"):
        attempt(PointReach(), world, Push(), 0, None)


def test_a_world_that_emits_nan_is_a_defect_and_is_raised():
    def answer(step):
        spoiled = dataclasses.replace(step.observation, proprio=step.observation.proprio * np.nan)
        return dataclasses.replace(step, observation=spoiled)

    with pytest.raises(WorldError, match="not finite"):
        attempt(PointReach(), world_that(answer), Push(), 0, None)


def test_a_policy_that_returns_nan_is_a_defect_and_is_raised():
    with pytest.raises(PolicyError, match="non-finite"):
        attempt(PointReach(), PointReach().make_world(), Push((np.nan, 0.0)), 0, None)


def test_a_verifier_that_raises_is_named_with_the_episode():
    class Sick(PointReach):
        def __init__(self) -> None:
            super().__init__()

            class Verifier:
                name = "sick/1"

                def __call__(self, header, evidence):
                    raise KeyError("goal")

            self.verifier: Any = Verifier()

    with pytest.raises(VerifierError, match=r"sick/1 of point-reach-v1 on episode \w{20} raised"):
        attempt(Sick(), PointReach().make_world(), Push(), 0, None)


def test_a_video_cannot_be_judged_again():
    ((video, _),) = record_sources(PointReach(), Request(kind="video", count=1))
    with pytest.raises(VerifierError, match="no evidence"):
        judge(PointReach(), video)


@pytest.mark.parametrize("error", [OSError("no model"), MemoryError("mine"), KeyError("hand")])
def test_what_a_policy_raises_is_its_own_failure(error):
    class Faulty(Push):
        asked = 0

        def act(self, observation):
            self.asked += 1
            if self.asked == 3:
                raise error
            return self.action

    with pytest.raises(PolicyError, match=r"policy Faulty raised from seed 7 at step 2: \w+Error"):
        attempt(PointReach(), PointReach().make_world(), Faulty(), 7, None)
