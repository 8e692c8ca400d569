"""Right bytes, wrong content: each is named, and healthy recordings are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from drawn_episodes import header
from test_doctor_workspace import sound_episode

from loopwright.core.episode import Episode
from loopwright.store.doctor import Finding
from loopwright.store.doctor.examination import examine
from loopwright.store.episodes import write_episode
from loopwright.store.workspace import Workspace

NUM_STEPS = 24


def found_in(workspace: Workspace, *episodes: Episode) -> list[Finding]:
    for episode in episodes:
        write_episode(workspace, episode)
    return list(examine(workspace.root))


def with_values(name: str, change: Callable[[np.ndarray], None]) -> Episode:
    episode = sound_episode(num_steps=NUM_STEPS)
    values = getattr(episode, name).copy()
    change(values)
    return replace(episode, **{name: values})


def put(place: object, value: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[place] = value

    return change


def shift(place: slice, value: float) -> Callable[[np.ndarray], None]:
    def change(values: np.ndarray) -> None:
        values[place] += value

    return change


@pytest.mark.parametrize(
    ("episode", "check", "told"),
    [
        (with_values("proprio", put((5, 2), np.nan)), "table/not-finite", "row 5"),
        (with_values("evidence", put((7, 0), np.inf)), "table/not-finite", "evidence"),
        (with_values("requested", put((3, 1), 1.5)), "action/range", "'dy' leaves [-1, 1]"),
        (with_values("applied", put((4, 0), -2.0)), "action/range", "as far as -2"),
        (with_values("time_s", shift(slice(10, None), 86400.0)), "time/jump", "86400"),
        (with_values("time_s", shift(slice(10, None), -0.07)), "time/jump", "after row 9"),
        (with_values("time_s", shift(slice(10, None), -86400.0)), "time/order", "after row 9"),
        (with_values("time_s", put(8, 7 / 12.5)), "time/order", "after row 7"),
    ],
)
def test_numbers_that_no_robot_gives_are_named(
    workspace: Workspace, episode: Episode, check: str, told: str
) -> None:
    findings = found_in(workspace, episode)
    assert check in {finding.check for finding in findings}
    [first] = [finding for finding in findings if finding.check == check]
    assert told in first.message
    assert first.severity == "suspicion"
    assert first.where == f"episodes/{episode.id}/data.parquet"


def test_a_clock_that_is_a_little_off_is_none_of_our_business(workspace: Workspace) -> None:
    rng = np.random.default_rng(0)
    jitter = np.cumsum(rng.uniform(0.5, 2.5, NUM_STEPS)) / 12.5
    episode = replace(sound_episode(num_steps=NUM_STEPS), time_s=jitter)
    assert found_in(workspace, episode) == []


def filmed(change: Callable[[np.ndarray], None], *, moving: bool = True) -> Episode:
    """Return an episode whose front camera shows something else."""
    episode = sound_episode(num_steps=NUM_STEPS)
    images = {camera: frames.copy() for camera, frames in episode.images.items()}
    change(images["front"])
    path = np.linspace(-1, 1, NUM_STEPS, dtype=np.float32) if moving else np.zeros(NUM_STEPS)
    proprio = np.zeros((NUM_STEPS, 4), np.float32)
    proprio[:, 0] = path
    return replace(episode, images=images, proprio=proprio)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (put(..., 0), "film/constant"),
        (put(..., 200), "film/constant"),
        (put(slice(10, None), 3), "film/constant"),
    ],
)
def test_a_camera_that_shows_nothing_is_named(
    workspace: Workspace, change: Callable[[np.ndarray], None], check: str
) -> None:
    [finding] = found_in(workspace, filmed(change))
    assert (finding.check, finding.where.split("/")[-1]) == (check, "front.mp4")


def freeze(frames: np.ndarray) -> None:
    frames[5:] = frames[5]


def test_a_camera_that_froze_is_named_unless_nothing_moved(workspace: Workspace) -> None:
    [finding] = found_in(workspace, filmed(freeze))
    assert finding.check == "film/frozen"
    assert "from frame 5 to 23" in finding.message
    assert "'x'" in finding.message


def test_a_robot_that_stands_still_is_no_frozen_camera(workspace: Workspace) -> None:
    assert found_in(workspace, filmed(freeze, moving=False)) == []


def test_a_black_moment_and_a_dark_scene_are_none_of_our_business(workspace: Workspace) -> None:
    assert found_in(workspace, filmed(put(slice(3, 6), 0))) == []
    with Workspace.create(workspace.root.parent / "dark") as dark:

        def darken(frames: np.ndarray) -> None:
            frames //= 4

        assert found_in(dark, filmed(darken)) == []


def test_the_same_recording_under_two_names_is_named(workspace: Workspace) -> None:
    episode = sound_episode(num_steps=NUM_STEPS)
    again = replace(episode, header=header(seed=8))
    findings = found_in(workspace, episode, again)
    assert {finding.check for finding in findings} == {"episode/duplicate"}
    [finding] = findings
    assert {finding.episode, *finding.message.split()} >= {episode.id, again.id}


def test_two_candidates_that_do_the_same_and_a_video_of_one_are_no_duplicates(
    workspace: Workspace,
) -> None:
    episode = sound_episode(num_steps=NUM_STEPS)
    other = replace(episode, header=header(candidate="d" * 64))
    assert found_in(workspace, episode, other, episode.without_labels()) == []


def test_progress_goes_from_nothing_to_all(workspace: Workspace) -> None:
    for seed in range(3):
        write_episode(workspace, sound_episode(seed=seed))
    fractions: list[float] = []
    list(examine(workspace.root, progress=lambda fraction, _: fractions.append(fraction)))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
