from __future__ import annotations

import contextlib
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_episodes import draw, header, make_episode, record_all

from loopwright.core.errors import StorageError
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.store import crashpoints
from loopwright.store.crashpoints import POINTS, VARIABLE
from loopwright.store.episodes import EpisodeReader, EpisodeWriter, read_episode, write_episode
from loopwright.store.workspace import Workspace

NUM_EPISODES, NUM_STEPS = 3, 12

RECORDER = f"""
import sys
from pathlib import Path
from drawn_episodes import record_all
record_all(Path(sys.argv[1]), num_episodes={NUM_EPISODES}, num_steps={NUM_STEPS})
"""


def record(root: Path, crash_at: str | None = None) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    if crash_at is not None:
        environment[VARIABLE] = crash_at
    return subprocess.Popen(
        [sys.executable, "-c", RECORDER, str(root)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def said(process: subprocess.Popen) -> dict[str, str]:
    """Return what a recorder said it had committed: id to digest."""
    return committed_in(process.communicate()[0])


def committed_in(output: str) -> dict[str, str]:
    lines = [line.split() for line in output.splitlines() if line.startswith("committed")]
    return {identity: digest for _, identity, digest in lines}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    recorder = record(tmp_path_factory.mktemp("undisturbed") / "ws")
    digests = said(recorder)
    assert recorder.returncode == 0
    assert len(digests) == NUM_EPISODES
    return digests


def check_nothing_is_lost(
    root: Path, committed: dict[str, str], undisturbed: dict[str, str]
) -> None:
    """Start again after a kill: everything is readable, and the rest can be recorded."""
    with Workspace.create(root, exclusive=True) as workspace:
        assert workspace.recovery.quarantined == ()
        assert list((root / "objects" / "tmp").iterdir()) == []
        recordings = root / "staging" / "recordings"
        assert not recordings.exists() or list(recordings.iterdir()) == []
        whole = {row.id: row.digest for row in workspace.ledger.episodes()}
        assert committed.items() <= whole.items() <= undisturbed.items()
        assert whole.keys() == {
            path.name for path in workspace.episodes_folder.iterdir() if "-" not in path.name
        }
        reader = EpisodeReader(workspace)
        for row in workspace.ledger.episodes(censored=True):
            episode = reader.read(row.id)
            original = make_episode(seed=row.seed, num_steps=NUM_STEPS)
            assert episode.proprio is not None
            assert original.proprio is not None
            assert np.array_equal(episode.proprio, original.proprio[: row.num_steps])
            assert row.num_steps == NUM_STEPS if row.censored is None else row.num_steps > 0
    aloud = io.StringIO()
    with contextlib.redirect_stdout(aloud):
        record_all(root, num_episodes=NUM_EPISODES, num_steps=NUM_STEPS)
    assert committed_in(aloud.getvalue()) == undisturbed


LATER = [f"{p}:2" for p in POINTS if p.split(".")[0] not in ("marker", "snapshot")]


@pytest.mark.parametrize(
    "crash_at",
    [
        *(f"{point}:1" for point in POINTS),
        "ledger.before_commit:3",
        "ledger.after_commit:3",
        *(pytest.param(point, marks=pytest.mark.slow) for point in LATER),
    ],
)
def test_killed_at_any_point_the_recorder_resumes(
    tmp_path: Path, undisturbed: dict[str, str], crash_at: str
) -> None:
    recorder = record(tmp_path / "ws", crash_at)
    committed = said(recorder)
    assert recorder.returncode == -signal.SIGKILL
    check_nothing_is_lost(tmp_path / "ws", committed, undisturbed)


def test_every_point_in_the_source_is_listed() -> None:
    source = Path(crashpoints.__file__).parent
    text = "".join(path.read_text() for path in source.rglob("*.py"))
    assert set(re.findall(r'reach\("([^"]+)"\)', text)) == {
        point for point in POINTS if point.split(".")[0] not in crashpoints.PUBLISHED
    }


def kill_somewhere(root: Path, undisturbed: dict[str, str], seed: int) -> None:
    recorder = record(root)
    assert recorder.stdout is not None
    recorder.stdout.readline()
    time.sleep(random.Random(seed).uniform(0.0, 0.12))
    recorder.kill()
    check_nothing_is_lost(root, said(recorder), undisturbed)


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_a_random_time_the_recorder_resumes(
    tmp_path: Path, undisturbed: dict[str, str], seed: int
) -> None:
    kill_somewhere(tmp_path / "ws", undisturbed, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6, 60))
def test_killed_at_many_random_times_the_recorder_resumes(
    tmp_path: Path, undisturbed: dict[str, str], seed: int
) -> None:
    kill_somewhere(tmp_path / "ws", undisturbed, seed)


def test_what_a_dead_recorder_filmed_becomes_a_censored_episode(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    recorder = record(tmp_path / "ws", f"recording.step_stored:{NUM_STEPS + 8}")
    [first] = said(recorder)
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        [salvaged] = workspace.recovery.salvaged
        row = workspace.ledger.episode(salvaged)
        assert row is not None
        assert row.num_steps == 7  # of 8: a film keeps its last frame back
        assert row.censored == "the recorder died after step 7"
        episode = read_episode(workspace, salvaged)
        assert episode.header.censored == row.censored
        assert salvaged.startswith(episode.id)
        assert [r.id for r in workspace.ledger.episodes()] == [first]


def staged_by_a_dead_recorder(workspace: Workspace, num_steps: int = 5) -> Path:
    """Leave a recording in staging as a killed process would."""
    episode = make_episode(num_steps=num_steps)
    writer = EpisodeWriter(workspace)
    writer.on_begin(episode.header)
    for t in range(num_steps):
        writer.on_step(*step_of(t))
    [folder] = (workspace.staging_folder / "recordings").iterdir()
    kept = shutil.copytree(folder, folder.with_name("dead"))
    writer.discard()
    return kept


def step_of(t: int) -> tuple[Observation, np.ndarray, WorldStep]:
    cameras = header().interface.cameras
    images = {c.name: draw(c.height_px, c.width_px, 7, t) for c in cameras}
    observation = Observation(images=images, proprio=np.zeros(4, np.float32), time_s=t / 12.5)
    action = np.zeros(3, np.float32)
    return (
        observation,
        action,
        WorldStep(observation=observation, evidence=np.zeros(2), applied=action),
    )


def test_a_living_recorder_is_let_be(workspace: Workspace) -> None:
    writer = EpisodeWriter(workspace)
    writer.on_begin(header())
    for t in range(4):
        writer.on_step(*step_of(t))
        assert not workspace.recover()
    writer.on_end(None)
    assert writer.commit().num_steps == 4


@pytest.mark.parametrize("file", ["header.json", "front.mp4"])
def test_what_cannot_be_salvaged_is_kept_with_a_reason(workspace: Workspace, file: str) -> None:
    folder = staged_by_a_dead_recorder(workspace)
    (folder / file).write_bytes(b"\0" * 40)
    assert workspace.recover().quarantined == ("dead",)
    quarantine = workspace.episodes_folder / "quarantine"
    [reason] = quarantine.glob("*.txt")
    assert file.split(".")[0] in reason.read_text() or "films of [0" in reason.read_text()
    [kept] = (p for p in quarantine.iterdir() if p.is_dir())
    assert (kept / "rows.bin").stat().st_size > 0
    assert not workspace.recover()


@pytest.mark.parametrize("cut_bytes", [1, 30, 300])
def test_broken_rows_and_films_are_cut_to_whole_steps(workspace: Workspace, cut_bytes: int) -> None:
    folder = staged_by_a_dead_recorder(workspace, num_steps=8)
    for name in ("rows.bin", "wrist.mp4"):
        path = folder / name
        os.truncate(path, path.stat().st_size - cut_bytes)
    [salvaged] = workspace.recover().salvaged
    episode = read_episode(workspace, salvaged)
    assert 1 <= episode.num_steps <= 7
    assert episode.time_s.tolist() == [t / 12.5 for t in range(episode.num_steps)]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a folder on a disk of 1.5 MB; it needs the right to mount."""
    folder = Path(tempfile.mkdtemp())
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def record_until_refused(workspace: Workspace, committed: list[str]) -> None:
    for seed in range(1000):
        committed.append(write_episode(workspace, make_episode(seed=seed)).id)


def test_a_full_disk_is_a_storage_error_and_costs_no_earlier_episode(small_disk: Path) -> None:
    with Workspace.create(small_disk / "ws") as workspace:
        reserve = small_disk / "reserve"
        reserve.write_bytes(bytes(200_000))
        committed: list[str] = []
        with pytest.raises(StorageError, match=rf"{workspace.root}.*free"):
            record_until_refused(workspace, committed)
        assert committed
        for identity in committed:
            read_episode(workspace, identity)
        reserve.unlink()
    with Workspace.open(small_disk / "ws", exclusive=True) as workspace:
        assert {row.id for row in workspace.ledger.episodes()} >= set(committed)


def test_a_disk_that_fills_while_recording_leaves_something_to_salvage(
    workspace: Workspace,
) -> None:
    writer = EpisodeWriter(workspace)
    writer.on_begin(header())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        with pytest.raises(StorageError, match="ulimit"):
            step_until_refused(writer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.on_end("StorageError: ...")  # as the control loop does
    [salvaged] = workspace.recover().salvaged
    assert read_episode(workspace, salvaged).num_steps >= 3
    assert write_episode(workspace, make_episode()).id == header().id


def test_a_disk_that_is_full_at_the_first_byte_leaves_nothing(workspace: Workspace) -> None:
    writer = EpisodeWriter(workspace)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(StorageError, match="ulimit"):
            writer.on_begin(header())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((workspace.staging_folder / "recordings").iterdir()) == []
    writer.on_begin(header())
    writer.discard()


def step_until_refused(writer: EpisodeWriter) -> None:
    for t in range(1000):
        writer.on_step(*step_of(t))
