"""Source episodes: what is kept, that it repeats, and that a video holds images only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from loopwright.core.episode import Episode
from loopwright.core.errors import UnknownName
from loopwright.core.scenario import Request
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.sources import PLAY_STEPS, record_sources


@pytest.fixture(scope="module")
def scenario():
    return get_scenario("button-press-v1")


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
