from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn_episodes import make_episode

from loopwright.core.control import run_episode
from loopwright.core.digest import digest_file, digest_json
from loopwright.core.episode import Episode
from loopwright.core.errors import ContractError, DamagedData, WorldError
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.store.episodes import (
    DamagedEpisode,
    EpisodeReader,
    EpisodeWriter,
    quarantine_episode,
    read_episode,
    write_episode,
)
from loopwright.store.workspace import Workspace

SERIES = ("time_s", "proprio", "requested", "applied", "evidence")


def assert_same_numbers(one: Episode, two: Episode) -> None:
    assert one.header == two.header
    for name in SERIES:
        first, second = getattr(one, name), getattr(two, name)
        if first is None:
            assert second is None
        else:
            assert first.dtype == second.dtype
            assert np.array_equal(first, second)
    for camera in one.images:
        assert one.images[camera].shape == two.images[camera].shape
        difference = one.images[camera].astype(int) - two.images[camera]
        assert np.sqrt(np.mean(difference**2)) < 3.2  # 38 dB


@pytest.mark.parametrize("kind", ["demo", "play", "attempt", "video"])
def test_what_was_recorded_is_read_back(workspace: Workspace, kind: str) -> None:
    episode = make_episode(kind=kind)
    row = write_episode(workspace, episode)
    assert row.id == episode.id
    assert workspace.ledger.episodes() == [row]
    assert_same_numbers(episode, read_episode(workspace, row.id))
    assert sorted(p.name for p in (workspace.episodes_folder / row.id).iterdir()) == [
        "data.parquet",
        "episode.json",
        "front.mp4",
        "wrist.mp4",
    ]
    assert list((workspace.staging_folder / "recordings").iterdir()) == []


def test_an_episode_without_evidence_or_cameras_is_one_too(workspace: Workspace) -> None:
    blind = replace(make_episode().header.interface, cameras=())
    for episode in (make_episode(evidence=(), seed=1), make_episode(interface=blind, seed=2)):
        row = write_episode(workspace, episode)
        assert_same_numbers(episode, read_episode(workspace, row.id))


def test_a_whole_number_as_a_rate_or_bound_changes_no_id(workspace: Workspace) -> None:
    interface = make_episode().header.interface
    whole = replace(interface.action, low=(-1, -1, -1), high=(1, 1, 1))
    one = make_episode(interface=replace(interface, rate_hz=30, action=whole))
    two = make_episode(interface=replace(interface, rate_hz=30.0))
    assert one.id == two.id
    row = write_episode(workspace, one)
    assert row.id == one.id == read_episode(workspace, row.id).id


def test_the_same_episode_has_the_same_digest_everywhere(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        with Workspace.create(tmp_path / name) as workspace:
            digests.add(write_episode(workspace, make_episode()).digest)
            digests.add(write_episode(workspace, make_episode()).digest)  # resumes
    assert len(digests) == 1


def test_committing_again_keeps_the_first(workspace: Workspace) -> None:
    first = write_episode(workspace, make_episode())
    described = (workspace.episodes_folder / first.id / "episode.json").read_bytes()
    other = replace(make_episode(), proprio=make_episode().proprio + 1)  # same cause, other numbers
    assert write_episode(workspace, other) == first
    assert (workspace.episodes_folder / first.id / "episode.json").read_bytes() == described


def test_a_video_keeps_no_trace_of_actions(workspace: Workspace) -> None:
    """Even the loop's own recorder, which is offered them at every step, drops them at once."""
    source = make_episode(kind="video")
    writer = EpisodeWriter(workspace)
    writer.on_begin(source.header)
    marker = np.full(3, 0.123456, np.float32)
    for t in range(source.num_steps):
        observation = Observation(
            images={c: f[t] for c, f in source.images.items()},
            proprio=np.full(4, 0.654321, np.float32),
            time_s=source.time_s[t],
        )
        step = WorldStep(observation=observation, evidence=np.array([9.87]), applied=marker)
        writer.on_step(observation, marker, step)
        [staged] = (workspace.staging_folder / "recordings").iterdir()
        assert (staged / "rows.bin").stat().st_size == 8 * (t + 1)
    writer.on_end(None)
    row = writer.commit()
    table = pq.read_table(workspace.episodes_folder / row.id / "data.parquet")
    assert table.column_names == ["time_s"]
    assert read_episode(workspace, row.id).requested is None


def test_a_video_folder_that_was_given_actions_is_refused(workspace: Workspace) -> None:
    """Even when every digest fits: whoever wrote it may have meant well."""
    row = write_episode(workspace, make_episode(kind="video"))
    folder = workspace.episodes_folder / row.id
    table = pq.read_table(folder / "data.parquet")
    rows = pa.array([[0.0] * 3] * row.num_steps, pa.list_(pa.float32(), 3))
    pq.write_table(table.append_column("requested", rows), folder / "data.parquet")
    described = json.loads((folder / "episode.json").read_text())
    described["files"]["data.parquet"] = digest_file(folder / "data.parquet")
    described["digest"] = digest_json({"header": described["header"], "files": described["files"]})
    (folder / "episode.json").write_text(json.dumps(described))
    workspace.ledger.forget_episodes([row.id])
    with pytest.raises(ContractError, match="requested"):
        read_episode(workspace, row.id)


class Line:
    """A world that moves along a line and breaks at a given step."""

    def __init__(self, source: Episode, breaks_at: int | None = None) -> None:
        self.source, self.breaks_at, self.t = source, breaks_at, 0

    def reset(self, seed: int) -> Observation:
        self.t = 0
        return self._seen()

    def step(self, action: np.ndarray) -> WorldStep:
        if self.t == self.breaks_at:
            raise WorldError("the motor is gone")
        self.t += 1
        return WorldStep(observation=self._seen(), evidence=np.zeros(2), applied=action)

    def close(self) -> None: ...

    def _seen(self) -> Observation:
        images = {c: f[self.t] for c, f in self.source.images.items()}
        proprio = np.full(4, self.t, np.float32)
        return Observation(images=images, proprio=proprio, time_s=self.t / 12.5)


class Still:
    def reset(self, seed: int) -> None: ...

    def act(self, observation: Observation) -> np.ndarray:
        return np.zeros((4, 3), np.float32)


def test_the_control_loop_records_into_the_workspace(workspace: Workspace) -> None:
    source = make_episode()
    writer = EpisodeWriter(workspace)
    for seed in (1, 2):  # one writer, one episode after another
        header = replace(source.header, seed=seed)
        run_episode(
            world=Line(source), policy=Still(), header=header, max_steps=10, subscribers=[writer]
        )
        row = writer.commit()
        assert writer.commit() == row
        episode = read_episode(workspace, row.id)
        assert episode.proprio is not None
        assert episode.proprio[:, 0].tolist() == list(range(10))
    assert len(workspace.ledger.episodes()) == 2


def test_an_episode_cut_short_is_kept_but_does_not_stand_for_the_whole(
    workspace: Workspace,
) -> None:
    source = make_episode()
    writer = EpisodeWriter(workspace)
    with pytest.raises(WorldError):
        run_episode(
            world=Line(source, breaks_at=6),
            policy=Still(),
            header=source.header,
            max_steps=10,
            subscribers=[writer],
        )
    assert workspace.ledger.episodes() == []
    [cut] = workspace.ledger.episodes(censored=True)
    assert cut.censored == "WorldError: the motor is gone"
    assert read_episode(workspace, cut.id).num_steps == 6
    run_episode(
        world=Line(source),
        policy=Still(),
        header=source.header,
        max_steps=10,
        subscribers=[writer],
    )
    whole = writer.commit()
    assert whole.id == source.id
    assert len(workspace.ledger.episodes(censored=True)) == 2


def test_an_episode_without_a_step_leaves_nothing(workspace: Workspace) -> None:
    writer = EpisodeWriter(workspace)
    writer.on_begin(make_episode().header)
    writer.on_end("interrupted")
    assert workspace.ledger.episodes(censored=True) == []
    writer.on_begin(make_episode().header)
    writer.on_end(None)
    with pytest.raises(WorldError, match="no step"):
        writer.commit()
    writer.discard()
    assert list((workspace.staging_folder / "recordings").iterdir()) == []


def test_beginning_again_before_the_end_is_refused(workspace: Workspace) -> None:
    writer = EpisodeWriter(workspace)
    writer.on_begin(make_episode().header)
    with pytest.raises(ContractError, match="still open"):
        writer.on_begin(make_episode(seed=8).header)
    writer.discard()
    with pytest.raises(ContractError, match="on_begin"):
        writer.commit()


FILES = ("episode.json", "data.parquet", "front.mp4", "wrist.mp4")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
def test_damage_names_the_file_and_the_episode(workspace: Workspace, file: str, how: str) -> None:
    row = write_episode(workspace, make_episode())
    path = workspace.episodes_folder / row.id / file
    data = path.read_bytes()
    if how == "flip":
        middle = data.index(b'"instruction"') + 20 if file == "episode.json" else len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif how == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
    with pytest.raises(DamagedEpisode, match=file) as caught:
        read_episode(workspace, row.id)
    assert row.id in str(caught.value)
    assert isinstance(caught.value, DamagedData)
    kept = quarantine_episode(workspace, row.id, str(caught.value))
    assert file in kept.with_suffix(".txt").read_text()
    assert workspace.ledger.episodes() == []
    assert write_episode(workspace, make_episode()) == row
    read_episode(workspace, row.id)


def test_two_episodes_whose_folders_were_swapped_are_noticed(workspace: Workspace) -> None:
    one, two = (write_episode(workspace, make_episode(seed=s)) for s in (1, 2))
    shutil.rmtree(workspace.episodes_folder / one.id)
    shutil.copytree(workspace.episodes_folder / two.id, workspace.episodes_folder / one.id)
    with pytest.raises(DamagedEpisode, match=two.id):
        read_episode(workspace, one.id)


def test_an_episode_that_was_replaced_by_a_consistent_other_one_is_noticed(
    workspace: Workspace, tmp_path: Path
) -> None:
    row = write_episode(workspace, make_episode())
    with Workspace.create(tmp_path / "elsewhere") as elsewhere:
        other = replace(make_episode(), proprio=make_episode().proprio + 1)
        write_episode(elsewhere, other)
        shutil.rmtree(workspace.episodes_folder / row.id)
        shutil.copytree(elsewhere.episodes_folder / row.id, workspace.episodes_folder / row.id)
    with pytest.raises(DamagedEpisode, match="ledger"):
        read_episode(workspace, row.id)


def test_a_missing_episode_is_named(workspace: Workspace) -> None:
    with pytest.raises(DamagedEpisode, match="missing"):
        read_episode(workspace, "0" * 20)


def test_single_frames_equal_those_of_the_whole_episode(workspace: Workspace) -> None:
    rows = [write_episode(workspace, make_episode(seed=s)) for s in range(3)]
    reader = EpisodeReader(workspace, open_films=2)
    whole = {row.id: reader.read(row.id) for row in rows}
    for indices in ([3, 4, 5], [24, 0], [11, 11]):
        for row in rows:
            for camera in ("front", "wrist"):
                found = reader.frames(row.id, camera, indices)
                assert np.array_equal(found, whole[row.id].images[camera][indices])
    assert reader.header(rows[0].id) == whole[rows[0].id].header
    reader.close()


def test_an_episode_the_ledger_has_not_heard_of_is_indexed_at_the_next_start(
    tmp_path: Path,
) -> None:
    with Workspace.create(tmp_path / "ws") as workspace:
        rows = [write_episode(workspace, make_episode(seed=s)) for s in (1, 2)]
        workspace.ledger.forget_episodes(row.id for row in rows)
        (workspace.episodes_folder / rows[1].id / "episode.json").write_text("{")
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert workspace.recovery.reindexed == (rows[0].id,)
        assert workspace.recovery.quarantined == (rows[1].id,)
        assert workspace.ledger.episodes() == [rows[0]]
        [reason] = (workspace.episodes_folder / "quarantine").glob("*.txt")
        assert "episode.json" in reason.read_text()
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert not workspace.recovery


def test_an_episode_whose_folder_was_taken_away_is_forgotten_and_found_again(
    tmp_path: Path,
) -> None:
    with Workspace.create(tmp_path / "ws") as workspace:
        row, other = (write_episode(workspace, make_episode(seed=s)) for s in (1, 2))
        folder = workspace.episodes_folder / row.id
    folder.rename(tmp_path / "elsewhere")
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert workspace.recovery.forgotten == (row.id,)
        assert workspace.ledger.episodes() == [other]
    (tmp_path / "elsewhere").rename(folder)
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert workspace.recovery.reindexed == (row.id,)
        assert workspace.ledger.episodes() == [row, other]
