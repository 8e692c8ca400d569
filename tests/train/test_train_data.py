"""No action and no proprioception of a video can reach a batch."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from loopwright.core.errors import ContractError
from loopwright.core.learner import FitJob
from loopwright.train.data import Footage, PoolPart, action_pool, collect, labelled_of
from loopwright.train.wam import WamFit, _Run


def test_footage_has_frames_and_nothing_else():
    assert {f.name for f in fields(Footage)} == {"episode", "frames"}


def test_a_video_is_refused_where_labels_are_read(blob_episode):
    with pytest.raises(ContractError, match="no actions"):
        labelled_of(blob_episode("video", 1), "front")


def test_a_video_of_any_action_gives_the_same_batches(blob_episode, tmp_path):
    """Two videos with equal frames, cut from episodes with opposite labels, train alike."""
    from dataclasses import replace

    demo = blob_episode("demo", 1)
    twisted = replace(demo, applied=-demo.applied, proprio=demo.proprio + 5)
    others = [blob_episode("play", n) for n in range(3)] + [demo]
    batches = []
    for source in (demo, twisted):
        job = FitJob(
            episodes=[*others, source.without_labels(body="other")],
            seed=0,
            out=tmp_path,
            scratch=tmp_path,
        )
        drawn = _Run(WamFit(size="tiny"), job)._policy_batches()
        assert len(drawn.pool) > drawn.demo_rows
        assert not drawn.pool.known[drawn.demo_rows :].any()
        assert not drawn.pool.proprio[drawn.demo_rows :].any()
        batches.append(drawn.at(3))
    for field in fields(batches[0]):
        first, second = (getattr(b, field.name).numpy() for b in batches)
        np.testing.assert_array_equal(first, second)


def test_collections_keep_kinds_apart(blob_episodes):
    found = collect(blob_episodes, "front")
    assert (len(found.tasks), len(found.play), len(found.footage)) == (5, 10, 4)


def test_windows_never_leave_their_episode():
    parts = [
        PoolPart(
            frames=np.full((length, 4, 4, 3), mark, np.uint8),
            actions=np.full((length, 1), mark, np.float32),
            weight=np.ones((length, 1), np.float32),
        )
        for mark, length in ((1, 3), (2, 9))
    ]
    pool = action_pool(parts, chunk=8, future_steps=8, proprio_size=2)
    own = pool.actions[:, 0]
    assert (pool.actions[pool.following][..., 0] == own[:, None]).all()
    assert (pool.frames[pool.future][:, 0, 0, 0] == own).all()
