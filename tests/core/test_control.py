from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from loopwright.core.control import Recorder, attempt_header, run_episode
from loopwright.core.episode import Episode
from loopwright.core.errors import ContractError, InvalidConfig, PolicyError, WorldError
from loopwright.core.interface import Observation
from loopwright.core.scenario import Box, seeds_in, split_of, split_seed
from loopwright.core.seeds import derive_seed
from loopwright.scenarios.point.scenario import PointReach

SCENARIO = PointReach()


class Chunks:
    """Returns chunks of growing length and remembers when it was asked."""

    def __init__(self, *chunks) -> None:
        self.chunks = list(chunks)
        self.asked_at: list[float] = []

    def reset(self, seed: int) -> None:
        self.seed = seed

    def act(self, observation: Observation):
        self.asked_at.append(observation.time_s)
        return self.chunks[min(len(self.asked_at), len(self.chunks)) - 1]


def still(steps: int) -> np.ndarray:
    return np.zeros((steps, 2), np.float32)


def run(policy, *, max_steps: int = 7, seed: int = 3, realtime: bool = False):
    recorder = Recorder()
    world = SCENARIO.make_world()
    header = attempt_header(SCENARIO, seed, candidate=None)
    try:
        steps = run_episode(
            world=world,
            policy=policy,
            header=header,
            max_steps=max_steps,
            subscribers=(recorder,),
            realtime=realtime,
        )
    except ContractError:
        return recorder, None
    return recorder, steps


def test_a_chunk_runs_to_its_end_before_the_policy_is_asked_again() -> None:
    policy = Chunks(still(3), still(2), still(5))
    recorder, steps = run(policy)
    assert steps == 7
    assert policy.asked_at == pytest.approx([0.0, 0.3, 0.5])
    assert policy.seed == 3
    assert recorder.censored is None


def test_rows_pair_what_was_seen_before_with_what_came_of_it() -> None:
    right = np.array([[1.0, 0.0]], np.float32)
    recorder, _ = run(Chunks(right), max_steps=2)
    episode = recorder.episode()
    assert episode.proprio is not None
    assert episode.proprio[:, 0] == pytest.approx([0.0, 0.15])
    goal = SCENARIO.start(3)
    first_m = np.hypot(goal["goal_x_m"] - 0.15, goal["goal_y_m"])
    assert episode.evidence is not None
    assert episode.evidence[0, 0] == pytest.approx(first_m)


def test_actions_out_of_range_are_clipped_before_they_are_requested() -> None:
    recorder, _ = run(Chunks(np.full((1, 2), 9.0, np.float32)), max_steps=1)
    requested = recorder.episode().requested
    assert requested is not None
    assert requested.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (None, "NoneType"),
        (np.zeros(2, np.float32), r"\(2,\)"),
        (np.zeros((0, 2), np.float32), r"\(0, 2\)"),
        (np.zeros((1, 3), np.float32), r"\(1, 3\)"),
        (np.array([[0.0, np.nan]], np.float32), "non-finite"),
    ],
)
def test_what_is_no_chunk_ends_the_episode_and_subscribers_hear_why(chunk, message: str) -> None:
    recorder = Recorder()
    with pytest.raises(PolicyError, match=message):
        run_episode(
            world=SCENARIO.make_world(),
            policy=Chunks(still(2), chunk),
            header=attempt_header(SCENARIO, 0, candidate=None),
            max_steps=9,
            subscribers=(recorder,),
        )
    assert recorder.censored is not None
    assert recorder.censored.startswith("PolicyError: ")
    assert recorder.episode().num_steps == 2, "what had happened before is kept"


def test_the_rate_is_kept_in_real_time() -> None:
    began_s = time.monotonic()
    run(Chunks(still(1)), max_steps=3, realtime=True)
    assert time.monotonic() - began_s >= 0.3 - 0.01


def test_an_episode_without_a_step_cannot_be_had() -> None:
    with pytest.raises(WorldError, match="no step"):
        Recorder().episode()


def _episode() -> Episode:
    recorder, _ = run(Chunks(still(1)), max_steps=4)
    return recorder.episode()


@pytest.mark.parametrize("name", ["proprio", "requested", "applied", "evidence"])
def test_a_video_cannot_carry_anything_but_images_and_times(name: str) -> None:
    episode = _episode()
    video = episode.without_labels()
    assert video.header.kind == "video"
    assert (video.proprio, video.requested, video.applied, video.evidence) == (None,) * 4
    with pytest.raises(ContractError, match=f"is a video but carries {name}"):
        replace(video, **{name: getattr(episode, name)})
    with pytest.raises(ContractError, match=f"lacks {name}"):
        replace(episode, **{name: None})


def test_a_video_header_cannot_name_evidence() -> None:
    with pytest.raises(InvalidConfig, match="images only"):
        replace(_episode().header, kind="video")


def test_series_of_different_length_are_refused() -> None:
    episode = _episode()
    assert episode.proprio is not None
    with pytest.raises(ContractError, match="proprio has 3 rows, time has 4"):
        replace(episode, proprio=episode.proprio[:-1])
    with pytest.raises(ContractError, match="camera 'top' has 3 frames"):
        replace(episode, images={"top": episode.images["top"][:-1]})


def test_the_id_names_the_cause() -> None:
    header = attempt_header(SCENARIO, 5, candidate="a" * 64)
    assert replace(header, censored="power cut").id == header.id
    others = [{"seed": 6}, {"candidate": "b" * 64}, {"body": "hand"}, {"behaviour": "noisy"}]
    assert len({header.id, *(replace(header, **o).id for o in others)}) == 5


def test_seeds_in_a_box_start_in_it_and_in_their_split() -> None:
    box = SCENARIO.domain.portion("goal_x_m", 0.0, 0.4)
    seeds = seeds_in(SCENARIO, "gate", box)
    for seed in (next(seeds) for _ in range(20)):
        assert split_of(seed) == "gate"
        assert box.contains(SCENARIO.start(seed))


def test_an_empty_region_is_an_error_and_not_an_endless_search(monkeypatch) -> None:
    nowhere = Box(low={"goal_x_m": 5.0}, high={"goal_x_m": 6.0})
    monkeypatch.setattr(SCENARIO, "start", lambda seed: {"goal_x_m": 0.0}, raising=False)
    with pytest.raises(InvalidConfig, match="no start of point-reach-v1 in 100,000 seeds"):
        next(seeds_in(SCENARIO, "train", nowhere))


@pytest.mark.parametrize("seed", [-1, 3 * 10**9])
def test_a_seed_outside_all_splits_is_refused(seed: int) -> None:
    with pytest.raises(InvalidConfig, match="is in no split"):
        split_of(seed)


def test_split_seeds_fit_the_simulators_that_want_32_bits() -> None:
    assert split_seed("sealed", 10**9 - 1) < 2**32


def test_streams_are_told_apart_by_name_and_stay_put() -> None:
    assert derive_seed(0, "fit", 1) != derive_seed(0, "fit", 2) != derive_seed(1, "fit", 1)
    assert derive_seed(7, "fit") == 7162288957168675371
