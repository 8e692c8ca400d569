from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.interface import CameraSpec, Interface, VectorSpec

STEPS = 16
SIDE_PX = 32


@pytest.fixture(scope="session")
def blob_interface() -> Interface:
    return Interface(
        cameras=(CameraSpec(name="front", height_px=SIDE_PX, width_px=SIDE_PX),),
        proprio=VectorSpec(names=("x", "y"), units=("1", "1"), low=(-1, -1), high=(1, 1)),
        action=VectorSpec(names=("right", "down"), units=("1", "1"), low=(-1, -1), high=(1, 1)),
        rate_hz=40.0,
    )


@pytest.fixture(scope="session")
def blob_episode(blob_interface):
    """Make an episode of a blob that moves by one pixel a step for an action of one."""

    def make(kind: str, seed: int) -> Episode:
        random = np.random.default_rng(seed)
        if kind == "play":
            action = np.repeat(random.uniform(-1, 1, (4, 2)), STEPS // 4, axis=0)
        else:
            action = np.tile(random.uniform(-1, 1, 2), (STEPS, 1))
        place = 16 + np.cumsum(np.vstack([np.zeros((1, 2)), action[:-1]]), axis=0)
        rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
        distance = np.hypot(columns - place[:, 0, None, None], rows - place[:, 1, None, None])
        frames = np.repeat((200 * np.exp(-((distance / 3) ** 2)))[..., None], 3, axis=-1)
        header = EpisodeHeader(
            scenario="blob-v1",
            kind="demo" if kind == "video" else kind,
            seed=seed,
            start={"x": 0.0},
            instruction="" if kind == "play" else "follow",
            body="robot",
            interface=blob_interface,
            evidence=("done",),
        )
        episode = Episode(
            header=header,
            images={"front": frames.astype(np.uint8)},
            time_s=np.arange(STEPS) / 40.0,
            proprio=(place / 16 - 1).astype(np.float32),
            requested=action.astype(np.float32),
            applied=action.astype(np.float32),
            evidence=np.zeros((STEPS, 1)),
        )
        return episode.without_labels(body="other") if kind == "video" else episode

    return make


@pytest.fixture(scope="session")
def blob_episodes(blob_episode) -> list[Episode]:
    kinds = {"demo": 5, "play": 10, "video": 4}
    return [
        blob_episode(kind, 100 * i + n)
        for i, (kind, count) in enumerate(kinds.items())
        for n in range(count)
    ]
