"""LeRobot's own loader reads what we export, and sees what we see.

Needs an environment with LeRobot 0.4.4: ``make lerobot-venv``.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import INTERFACE, make_episode, vector

from loopwright.core.episode import Episode, Verdict
from loopwright.core.interface import CameraSpec, Interface
from loopwright.store.episodes import read_episode, write_episode
from loopwright.store.exchange.lerobot_export import export_lerobot
from loopwright.store.exchange.lerobot_import import import_lerobot
from loopwright.store.workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".lerobot-venv/bin/python"
JUDGE = Path(__file__).with_name("lerobot_judge.py")
LEAST_PSNR_DB = 45.0
"""Both decode the same bytes; what is left is how colours are rounded."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="no LeRobot beside ours; 'make lerobot-venv' installs it"
    ),
]


def interface(**changes: object) -> Interface:
    fields = {
        "cameras": INTERFACE.cameras,
        "proprio": INTERFACE.proprio,
        "action": INTERFACE.action,
        "rate_hz": INTERFACE.rate_hz,
    }
    return Interface(**{**fields, **changes})  # type: ignore[arg-type]


def drawn(count: int, of: Interface = INTERFACE, **changes: object) -> list[Episode]:
    episodes = []
    for seed in range(count):
        made = make_episode(
            seed=seed,
            num_steps=14 + 9 * seed,
            interface=of,
            instruction=("open the drawer", "close it")[seed % 2],
        )
        fields = {name: getattr(made, name) for name in made.__slots__} | changes
        episodes.append(Episode(**fields))
    return episodes


def plain(episode: Episode, of: Interface) -> Episode:
    """The same episode with as many numbers as the interface has, and nothing filtered."""
    rng = np.random.default_rng(3)
    steps = episode.num_steps
    action = rng.standard_normal((steps, of.action.size)).astype(np.float32)
    return Episode(
        header=episode.header,
        images=episode.images,
        time_s=episode.time_s,
        proprio=rng.standard_normal((steps, of.proprio.size)).astype(np.float32),
        requested=action,
        applied=action,
        evidence=episode.evidence,
    )


SMALL = interface(
    cameras=(CameraSpec(name="top-2", height_px=48, width_px=64),),
    proprio=vector("x"),
    action=vector("grip"),
    rate_hz=30.0,
)
LARGE = interface(cameras=(CameraSpec(name="wide", height_px=240, width_px=320),), rate_hz=100 / 3)
BLIND = interface(cameras=(), rate_hz=20.0)


def views() -> Mapping[str, list[Episode]]:
    return {
        "two cameras, filtered actions": drawn(3),
        "one number each, 30 Hz": [plain(e, SMALL) for e in drawn(2, SMALL)],
        "240x320 at 33.3 Hz": [plain(e, LARGE) for e in drawn(2, LARGE)],
        "no camera": drawn(2, BLIND),
        "a clock of its own": [jittered(e) for e in drawn(2)],
        "a single step": [make_episode(num_steps=2), make_episode(seed=8, num_steps=1)],
    }


def jittered(episode: Episode) -> Episode:
    noise = np.random.default_rng(5).uniform(0.0, 0.02, episode.num_steps)
    fields = {name: getattr(episode, name) for name in episode.__slots__}
    return Episode(**{**fields, "time_s": episode.time_s + noise})


@pytest.mark.parametrize("name", views())
def test_lerobot_sees_what_we_see(name: str, workspace: Workspace, tmp_path: Path) -> None:
    ids = commit(workspace, views()[name])
    exported = export_lerobot(workspace, ids, tmp_path / "view")
    episodes = [read_episode(workspace, i) for i in ids]
    answer, said = ask_lerobot(exported.folder, tmp_path / "answer.npz")
    assert said["num_episodes"] == len(ids)
    assert said["lengths"] == [e.num_steps for e in episodes]
    assert said["fps"] == pytest.approx(episodes[0].header.interface.rate_hz, rel=1e-6)
    compare_numbers(answer, said, episodes)
    compare_frames(answer, episodes)
    compare_stats(said)
    compare_window(said, episodes)


def commit(workspace: Workspace, episodes: Sequence[Episode]) -> list[str]:
    ids = []
    for number, episode in enumerate(episodes):
        ids.append(write_episode(workspace, episode).id)
        verdict = Verdict(
            episode=ids[-1],
            outcome="failure" if number % 2 else "success",
            score=0.5,
            verifier="drawn/1",
            evidence_digest="0" * 64,
        )
        workspace.ledger.add_verdict(verdict)
    return ids


def test_we_see_what_lerobot_wrote(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "written"
    answer, said = ask_lerobot(folder, tmp_path / "answer.npz", "--write")
    done = import_lerobot(folder, workspace)
    assert (done.damaged, done.steps) == ((), len(answer["index"]))
    episodes = [read_episode(workspace, i) for i in done.episodes]
    assert [e.num_steps for e in episodes] == said["lengths"]
    wanted = [e.header.instruction for e in episodes for _ in range(e.num_steps)]
    assert said["tasks"] == wanted
    for key, part in (("observation.state", "proprio"), ("action", "applied")):
        ours = np.concatenate([getattr(e, part) for e in episodes])
        np.testing.assert_array_equal(ours, answer[key])
    frames = np.concatenate([e.images["top"] for e in episodes])
    for row, (a, b) in enumerate(zip(frames, answer["observation.images.top"], strict=True)):
        assert psnr_db(a, b) >= 38, f"row {row}: encoded again, but nothing is out of place"
    verdicts = [workspace.ledger.standing_verdict(i) for i in done.episodes]
    assert [v.outcome for v in verdicts if v] == ["success", "failure", "success"]


def ask_lerobot(folder: Path, answer: Path, *options: str) -> tuple[dict[str, np.ndarray], dict]:
    done = subprocess.run(
        [PYTHON, JUDGE, folder, answer, *options],
        env={
            "PATH": os.environ["PATH"],
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(answer.parent / "hf"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with np.load(answer) as stored:
        arrays = dict(stored)
    return arrays, json.loads(str(arrays.pop("said")))


def compare_numbers(
    answer: Mapping[str, np.ndarray], said: Mapping, episodes: Sequence[Episode]
) -> None:
    lengths = [e.num_steps for e in episodes]
    rate_hz = episodes[0].header.interface.rate_hz
    frame = np.concatenate([np.arange(n) for n in lengths])
    np.testing.assert_array_equal(answer["frame_index"], frame)
    np.testing.assert_array_equal(answer["episode_index"], np.repeat(range(len(lengths)), lengths))
    np.testing.assert_array_equal(answer["index"], np.arange(sum(lengths)))
    np.testing.assert_allclose(answer["timestamp"], frame / rate_hz, atol=1e-5)
    joined = {
        part: np.concatenate([getattr(e, part) for e in episodes]).squeeze()
        for part in ("proprio", "applied", "requested", "time_s")
    }
    np.testing.assert_array_equal(answer["observation.state"].squeeze(), joined["proprio"])
    np.testing.assert_array_equal(answer["action"].squeeze(), joined["applied"])
    if "action.requested" in answer:
        np.testing.assert_array_equal(answer["action.requested"].squeeze(), joined["requested"])
    else:
        np.testing.assert_array_equal(joined["applied"], joined["requested"])
    if "time_s" in answer:
        # Stored as float64; LeRobot makes float32 of every number that it hands out.
        np.testing.assert_allclose(answer["time_s"], joined["time_s"], atol=1e-6)
    last = np.cumsum(lengths) - 1
    np.testing.assert_array_equal(np.flatnonzero(answer["next.done"]), last)
    np.testing.assert_array_equal(np.flatnonzero(answer["next.success"]), last[::2])
    wanted = [e.header.instruction for e in episodes for _ in range(e.num_steps)]
    assert said["tasks"] == wanted


def compare_frames(answer: Mapping[str, np.ndarray], episodes: Sequence[Episode]) -> None:
    for camera in episodes[0].images:
        ours = np.concatenate([e.images[camera] for e in episodes])
        theirs = answer[f"observation.images.{camera}"]
        assert theirs.shape == ours.shape
        for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert psnr_db(a, b) >= LEAST_PSNR_DB, f"{camera}, row {row}"


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(float) - other) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def compare_stats(said: Mapping) -> None:
    """Ours agree with those that LeRobot computes, up to a bin of its histogram."""
    ours, theirs = said["read_stats"], said["computed_stats"]
    assert set(ours) == set(theirs) == set(said["features"])
    for key, stats in theirs.items():
        low, high = np.array(stats["min"]), np.array(stats["max"])
        bin_width = np.maximum((high - low) / 5000, 1e-9)
        assert ours[key]["count"] == stats["count"]
        for name, values in stats.items():
            found = np.array(ours[key][name])
            assert found.shape == np.array(values).shape, f"{key} {name}"
            slack = 1.01 * bin_width if name.startswith("q") else 1e-5 * (1 + np.abs(values))
            difference = np.abs(found - np.array(values))
            assert (difference <= slack).all(), f"{key} {name}: {difference.max()}"


def compare_window(said: Mapping, episodes: Sequence[Episode]) -> None:
    first = episodes[0]
    rows = np.clip(np.arange(0, 5), 0, first.num_steps - 1)
    assert first.applied is not None
    window = np.array(said["window"]["action"]).reshape(5, -1)
    np.testing.assert_array_equal(window.astype(np.float32), first.applied[rows])
    for camera in first.header.interface.cameras:
        shape = said["window"]["images"][f"observation.images.{camera.name}"]
        assert shape == [2, 3, camera.height_px, camera.width_px]
