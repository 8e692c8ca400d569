from __future__ import annotations

import base64
import builtins
import errno
import io
import json
import math
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from drawn_episodes import INTERFACE, make_episode
from mcap.reader import make_reader
from mcap.records import Message

from loopwright.cli import EXIT_USAGE, main
from loopwright.core.episode import Annotation, Verdict
from loopwright.core.errors import DamagedData, InvalidConfig, MissingExtra, StorageError
from loopwright.store.episode_files import read_description
from loopwright.store.episodes import read_episode, write_episode
from loopwright.store.exchange.annex_b import annex_b_packets
from loopwright.store.exchange.mcap_export import export_mcap
from loopwright.store.workspace import Workspace

_PARAMETERS, _KEYFRAME, _FRAME, _B_SLICES = {7, 8}, 5, 1, {1, 6}
"""Kinds of H.264 units, and of slices that look ahead."""


def verdict(episode: str, outcome: str, **changes: object) -> Verdict:
    fields: dict[str, Any] = {
        "episode": episode,
        "outcome": outcome,
        "score": 0.5,
        "verifier": "v/1",
        "evidence_digest": "0" * 64,
    }
    return Verdict(**{**fields, **changes})


def export(workspace: Workspace, tmp_path: Path, episode: str) -> Path:
    return export_mcap(workspace, [episode], tmp_path / "out").folder / f"{episode}.mcap"


def messages(path: Path) -> Mapping[str, list[tuple[Message, Any]]]:
    """Read a file with the standard reader, topic by topic."""
    found: dict[str, list[tuple[Message, Any]]] = defaultdict(list)
    with path.open("rb") as file:
        for _, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            found[channel.topic].append((message, json.loads(message.data)))
    return found


def begin_ns(workspace: Workspace, episode: str) -> int:
    text = read_description(workspace.episodes_folder / episode).recorded_at
    return int(datetime.fromisoformat(text).timestamp()) * 10**9


def units_of(packet: bytes) -> list[bytes]:
    """Split Annex B at its start codes."""
    parts = packet.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    assert parts[0] == b""
    return parts[1:]


def slice_type(unit: bytes) -> int:
    """Read the second number (Exp-Golomb) of a slice's header, which says what it depends on."""
    bits = "".join(f"{byte:08b}" for byte in unit[1:9])
    for _ in range(2):
        zeros = bits.index("1")
        value, bits = int(bits[zeros : 2 * zeros + 1], 2) - 1, bits[2 * zeros + 1 :]
    return value % 5 if value >= 5 else value


def psnr_db(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean((first.astype(np.float64) - second) ** 2)
    return 10 * math.log10(255**2 / max(error, 1e-9))


def test_every_number_and_time_comes_back(workspace: Workspace, tmp_path: Path) -> None:
    original = make_episode(num_steps=12)
    episode = write_episode(workspace, original).id
    begin, found = begin_ns(workspace, episode), messages(export(workspace, tmp_path, episode))
    series = {
        "/proprio": (INTERFACE.proprio.names, original.proprio),
        "/action/requested": (INTERFACE.action.names, original.requested),
        "/action/applied": (INTERFACE.action.names, original.applied),
        "/evidence": (original.header.evidence, original.evidence),
    }
    for topic, (names, values) in series.items():
        assert values is not None
        read = [[content[name] for name in names] for _, content in found[topic]]
        assert np.array_equal(np.array(read, values.dtype), values)
    for topic in [*series, "/camera/front", "/camera/wrist"]:
        sent = [message for message, _ in found[topic]]
        assert [message.sequence for message in sent] == list(range(12))
        assert [message.log_time - begin for message in sent] == [
            round(time_s * 1e9) for time_s in original.time_s
        ]
        assert all(message.log_time == message.publish_time for message in sent)


def test_films_are_our_own_packets_as_foxglove_wants_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    original = make_episode(num_steps=12)
    episode = write_episode(workspace, original).id
    found = messages(export(workspace, tmp_path, episode))
    stored = read_episode(workspace, episode)
    for camera, drawn in original.images.items():
        frames = [content for _, content in found[f"/camera/{camera}"]]
        packets = [base64.b64decode(frame["data"]) for frame in frames]
        kinds = [[unit[0] & 31 for unit in units_of(packet)] for packet in packets]
        assert [_KEYFRAME in kind for kind in kinds] == [step % 5 == 0 for step in range(12)]
        for packet, kind in zip(packets, kinds, strict=True):
            assert set(kind) >= (_PARAMETERS if _KEYFRAME in kind else set())
            slices = [unit for unit in units_of(packet) if unit[0] & 31 in (_FRAME, _KEYFRAME)]
            assert len(slices) == 1
            assert slice_type(slices[0]) not in _B_SLICES
        begin = 5  # what follows a keyframe needs nothing before it
        decoded = decode(packets[begin:])
        assert np.array_equal(decoded, stored.images[camera][begin:])
        assert psnr_db(decoded, drawn[begin:]) > 38
        assert {(frame["format"], frame["frame_id"]) for frame in frames} == {("h264", camera)}


def decode(packets: list[bytes]) -> np.ndarray:
    """Decode as a viewer does: packet by packet, without the head of an mp4 file."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    images = []
    for packet in [*packets, None]:
        for frame in decoder.decode(av.Packet(packet) if packet else None):
            images.append(frame.to_ndarray(format="rgb24"))  # type: ignore[attr-defined]
    return np.stack(images)


def test_the_reader_finds_counts_schemas_units_and_a_time(
    workspace: Workspace, tmp_path: Path
) -> None:
    episode = write_episode(workspace, make_episode(num_steps=30)).id
    begin, path = begin_ns(workspace, episode), export(workspace, tmp_path, episode)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.chunk_indexes[0].compression == "zstd"
        topics = {channel.topic: channel for channel in summary.channels.values()}
        counts = summary.statistics.channel_message_counts
        assert {topic: counts.get(channel.id, 0) for topic, channel in topics.items()} == {
            "/camera/front": 30,
            "/camera/wrist": 30,
            "/proprio": 30,
            "/action/requested": 30,
            "/action/applied": 30,
            "/evidence": 30,
            "/annotations": 0,
            "/verdicts": 0,
        }
        names = {topic: summary.schemas[channel.schema_id] for topic, channel in topics.items()}
        assert names["/camera/front"].name == "foxglove.CompressedVideo"
        assert names["/proprio"].encoding == "jsonschema"
        gripper = json.loads(names["/proprio"].data)["properties"]["gripper"]
        assert gripper["description"] == "m, from -1 to 1"
        assert topics["/action/applied"].metadata["unit of dx"] == "m"
        cut = begin + round(20 / 12.5 * 1e9)
        later = [m for _, _, m in reader.iter_messages(["/proprio"], starting_at=cut)]
        assert [message.sequence for message in later] == list(range(20, 30))


def test_the_whole_description_travels_along(workspace: Workspace, tmp_path: Path) -> None:
    row = write_episode(workspace, make_episode(num_steps=3))
    workspace.ledger.add_verdict(verdict(row.id, "success"))
    with export(workspace, tmp_path, row.id).open("rb") as file:
        reader = make_reader(file)
        (attachment,) = reader.iter_attachments()
        (metadata,) = reader.iter_metadata()
    own = (workspace.episodes_folder / row.id / "episode.json").read_bytes()
    assert (attachment.name, json.loads(attachment.data)) == ("episode.json", json.loads(own))
    assert metadata.metadata["episode"] == row.id
    assert metadata.metadata["instruction"] == "open the drawer"
    assert metadata.metadata["outcome"] == "success"
    assert "censored" not in metadata.metadata


def test_verdicts_come_at_the_end_and_annotations_where_they_begin(
    workspace: Workspace, tmp_path: Path
) -> None:
    original = make_episode(num_steps=10)
    episode = write_episode(workspace, original).id
    ledger = workspace.ledger
    ledger.add_verdict(verdict(episode, "failure"))
    ledger.add_verdict(verdict(episode, "success", flags={"late": True}))
    ledger.add_verdict(verdict(episode, "failure", authority="operator"))
    ledger.add_annotation(Annotation(episode=episode, label="all", author="a"))
    ledger.add_annotation(
        Annotation(episode=episode, label="grasp", author="a", begin_step=3, end_step=6)
    )
    ledger.add_annotation(Annotation(episode=episode, label="beyond", author="a", begin_step=99))
    begin, found = begin_ns(workspace, episode), messages(export(workspace, tmp_path, episode))
    times_ns = [begin + round(time_s * 1e9) for time_s in original.time_s]
    said = found["/verdicts"]
    assert {message.log_time for message, _ in said} == {times_ns[-1]}
    assert [(content["outcome"], content["counts"]) for _, content in said] == [
        ("failure", False),
        ("success", True),
        ("failure", False),
    ]
    assert said[1][1]["flags"] == {"late": True}
    notes = {content["label"]: (message, content) for message, content in found["/annotations"]}
    message, grasp = notes["grasp"]
    assert message.log_time == times_ns[3]
    assert grasp["end"]["sec"] * 10**9 + grasp["end"]["nsec"] == times_ns[5]
    assert notes["all"][1]["end_step"] == 10
    assert notes["beyond"][0].log_time == times_ns[-1]


def test_a_video_has_cameras_and_no_numbers(workspace: Workspace, tmp_path: Path) -> None:
    episode = write_episode(workspace, make_episode(kind="video", num_steps=4)).id
    path = export(workspace, tmp_path, episode)
    assert sorted(messages(path)) == ["/camera/front", "/camera/wrist"]
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None
    assert "/proprio" not in {channel.topic for channel in summary.channels.values()}


def test_what_is_not_finite_becomes_null(workspace: Workspace, tmp_path: Path) -> None:
    original = make_episode(num_steps=3)
    assert original.evidence is not None
    original.evidence[1] = [np.nan, np.inf]
    episode = write_episode(workspace, original).id
    _, content = messages(export(workspace, tmp_path, episode))["/evidence"][1]
    assert content == {"opening_m": None, "handle_x_m": None}


@pytest.mark.parametrize("name", ["front.mp4", "data.parquet", "episode.json"])
def test_a_damaged_episode_leaves_nothing_behind(
    workspace: Workspace, tmp_path: Path, name: str
) -> None:
    ids = [write_episode(workspace, make_episode(seed=seed, num_steps=4)).id for seed in range(2)]
    damaged = workspace.episodes_folder / ids[1] / name
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(DamagedData, match=ids[1]):
        export_mcap(workspace, ids, tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    episode = write_episode(workspace, make_episode(num_steps=4)).id

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        export_mcap(workspace, [episode], tmp_path / "deep/out")
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_selection_that_cannot_be_files_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    episode = write_episode(workspace, make_episode(num_steps=3)).id
    with pytest.raises(InvalidConfig, match="at least one"):
        export_mcap(workspace, [], tmp_path / "out")
    with pytest.raises(InvalidConfig, match="come again"):
        export_mcap(workspace, [episode, episode], tmp_path / "out")
    with pytest.raises(InvalidConfig, match="inside the workspace"):
        export_mcap(workspace, [episode], workspace.root / "episodes" / "out")
    assert not (tmp_path / "out").exists()


def test_mixed_interfaces_are_no_obstacle(workspace: Workspace, tmp_path: Path) -> None:
    other = replace(INTERFACE, rate_hz=30.0, cameras=INTERFACE.cameras[:1])
    episodes = [make_episode(num_steps=3), make_episode(num_steps=4, interface=other, seed=8)]
    ids = [write_episode(workspace, episode).id for episode in episodes]
    exported = export_mcap(workspace, ids, tmp_path / "out")
    assert (exported.episodes, exported.steps) == (2, 7)
    assert {path.stem for path in exported.folder.iterdir()} == set(ids)


def test_a_film_that_looks_ahead_is_refused() -> None:
    file = io.BytesIO()
    options = {"x264-params": "bframes=2:b-adapt=0:scenecut=0:threads=1"}
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options=options)
        stream.width = stream.height = 32
        noise = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
        for step in range(12):
            image = np.ascontiguousarray(noise[:, step : step + 32])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(DamagedData, match="ahead"):
        annex_b_packets(file.getvalue(), "far.mp4")


def test_what_is_no_film_of_ours_is_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        image = np.zeros((32, 32, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(DamagedData, match="mpeg4, expected h264"):
        annex_b_packets(file.getvalue(), "other.mp4")
    with pytest.raises(DamagedData, match="no readable film"):
        annex_b_packets(b"no film at all", "none.mp4")


def test_without_the_extra_the_command_is_named(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without_mcap(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "mcap":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return original(name, *rest, **named)

    episode = write_episode(workspace, make_episode(num_steps=3)).id
    monkeypatch.setattr(builtins, "__import__", without_mcap)
    with pytest.raises(MissingExtra, match=r'pip install "loopwright\[mcap\]"'):
        export_mcap(workspace, [episode], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_both_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    with Workspace.create(root) as workspace:
        episode = write_episode(workspace, make_episode(num_steps=3)).id
    command = ["data", "export", "all", "--workspace", str(root)]
    assert main(command) == EXIT_USAGE
    assert "--mcap DIR" in capsys.readouterr().err
    folders = ["--mcap", str(tmp_path / "m"), "--lerobot", str(tmp_path / "l")]
    assert main([*command, *folders]) == 0
    assert (tmp_path / "m" / f"{episode}.mcap").is_file()
    assert (tmp_path / "l" / "meta/info.json").is_file()
    assert "4:4:4" in capsys.readouterr().err
