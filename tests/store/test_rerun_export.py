"""What Rerun's own reader finds in an export; skipped where Rerun is not installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from drawn_episodes import INTERFACE, make_episode

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.errors import DamagedData, MissingExtra
from loopwright.store.episode_files import read_description
from loopwright.store.episodes import read_episode, write_episode
from loopwright.store.exchange.rerun_export import export_rerun
from loopwright.store.workspace import Workspace

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed"
)


def tables(path: Path) -> Mapping[str, dict[str, list]]:
    """Read a recording with Rerun; entity to column to values, what is static among them."""
    found: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for chunk in importlib.import_module("rerun.chunk").RrdReader(path).stream():
        batch = chunk.to_record_batch()
        for name in batch.schema.names:
            column = batch.column(name)
            if name in ("time", "time_in_episode"):
                column = column.cast("int64")
            found[chunk.entity_path][name] += column.to_pylist()
    return found


def export(workspace: Workspace, tmp_path: Path, episode: str) -> Mapping[str, dict[str, list]]:
    exported = export_rerun(workspace, [episode], tmp_path / "out")
    assert [path.name for path in exported.folder.iterdir()] == [f"{episode}.rrd"]
    return tables(exported.folder / f"{episode}.rrd")


@needs_rerun
def test_every_number_time_and_frame_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    original = make_episode(num_steps=12)
    episode = write_episode(workspace, original).id
    text = read_description(workspace.episodes_folder / episode).recorded_at
    begin_ns = int(datetime.fromisoformat(text).timestamp()) * 10**9
    found = export(workspace, tmp_path, episode)
    times_ns = [round(time_s * 1e9) for time_s in original.time_s]
    series = {
        "/proprio": original.proprio,
        "/action/requested": original.requested,
        "/action/applied": original.applied,
        "/evidence": original.evidence,
    }
    for entity, values in series.items():
        assert values is not None
        read = np.array(found[entity]["Scalars:scalars"], values.dtype)
        assert np.array_equal(read, values)
    for entity in [*series, "/camera/front", "/camera/wrist"]:
        assert found[entity]["step"] == list(range(12))
        assert found[entity]["time_in_episode"] == times_ns
        assert found[entity]["time"] == [begin_ns + time_ns for time_ns in times_ns]
    assert found["/proprio"]["SeriesLines:names"] == [["x [m]", "y [m]", "z [m]", "gripper [m]"]]
    stored = read_episode(workspace, episode)
    for camera in INTERFACE.cameras:
        samples = found[f"/camera/{camera.name}"]["VideoStream:sample"]
        assert np.array_equal(decode(samples), stored.images[camera.name])


def decode(samples: list) -> np.ndarray:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    images = []
    for sample in [*samples, None]:
        for frame in decoder.decode(av.Packet(bytes(sample[0])) if sample else None):
            images.append(frame.to_ndarray(format="rgb24"))  # type: ignore[attr-defined]
    return np.stack(images)


@needs_rerun
def test_what_was_said_of_it_comes_along(workspace: Workspace, tmp_path: Path) -> None:
    episode = write_episode(workspace, make_episode(num_steps=6)).id
    for authority, outcome in (("verifier", "success"), ("operator", "failure")):
        workspace.ledger.add_verdict(
            Verdict(
                episode=episode,
                outcome=outcome,  # type: ignore[arg-type]
                score=0.5,
                verifier="v/1",
                evidence_digest="0" * 64,
                reason="it is open" if outcome == "success" else "",
                authority=authority,  # type: ignore[arg-type]
            )
        )
    workspace.ledger.add_annotation(
        Annotation(episode=episode, label="grasp", author="ada", begin_step=2, end_step=4)
    )
    found = export(workspace, tmp_path, episode)
    assert found["/verdicts"]["step"] == [5, 5]
    assert [text for (text,) in found["/verdicts"]["TextLog:text"]] == [
        "success 0.5 (verifier v/1): it is open",
        "failure 0.5 (operator v/1, does not count)",
    ]
    assert found["/annotations"]["step"] == [2]
    assert found["/annotations"]["TextLog:text"] == [["grasp (ada, steps 2 to 3)"]]
    (((document,),)) = found["/episode"]["TextDocument:text"]
    own = (workspace.episodes_folder / episode / "episode.json").read_text()
    assert json.loads(document) == json.loads(own)
    assert found["/__properties/episode"]["outcome"] == [["success"]]


@needs_rerun
def test_a_video_has_cameras_and_no_numbers(workspace: Workspace, tmp_path: Path) -> None:
    episode = write_episode(workspace, make_episode(kind="video", num_steps=4)).id
    found = export(workspace, tmp_path, episode)
    assert {"/camera/front", "/camera/wrist"} < set(found)
    assert not {"/proprio", "/action/applied", "/evidence", "/verdicts"} & set(found)


@needs_rerun
def test_a_damaged_episode_leaves_nothing_behind(workspace: Workspace, tmp_path: Path) -> None:
    ids = [write_episode(workspace, make_episode(seed=seed, num_steps=4)).id for seed in range(2)]
    film = workspace.episodes_folder / ids[1] / "front.mp4"
    film.write_bytes(film.read_bytes()[:-9])
    with pytest.raises(DamagedData, match=ids[1]):
        export_rerun(workspace, ids, tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_without_the_extra_the_command_is_named(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    episode = write_episode(workspace, make_episode(num_steps=3)).id
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingExtra, match=r'pip install "loopwright\[rerun\]"'):
        export_rerun(workspace, [episode], tmp_path / "out")
    assert not (tmp_path / "out").exists()
