"""Disks that fail: a typed error that says what to do, and every earlier episode still there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn_episodes import header, make_episode

from loopwright.core.errors import StorageError
from loopwright.store.episodes import read_episode, write_episode
from loopwright.store.workspace import Workspace

RECORDER = """
import sys
from pathlib import Path
from drawn_episodes import record_all
from loopwright.core.errors import StorageError
try:
    record_all(Path(sys.argv[1]), num_episodes=4, num_steps=6)
except StorageError as error:
    print("refused:", error)
"""


def mounted(folder: Path, *options: str) -> bool:
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.fixture
def disk() -> Iterator[Path]:
    """Yield the folder of a disk of its own; it needs the right to mount."""
    folder = Path(tempfile.mkdtemp())
    if not mounted(folder):
        pytest.skip("may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def remount(disk: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True)


def test_a_disk_that_turns_read_only_refuses_and_keeps_what_it_has(disk: Path) -> None:
    with Workspace.create(disk / "ws") as workspace:
        kept = write_episode(workspace, make_episode(seed=1)).id
    remount(disk, "ro")
    try:
        with (
            pytest.raises(StorageError, match=r"(?s)read-?only.*writable"),
            Workspace.open(disk / "ws") as workspace,
        ):
            write_episode(workspace, make_episode(seed=2))
        with Workspace.open(disk / "ws") as workspace:
            assert read_episode(workspace, kept).num_steps == 25
    finally:
        remount(disk, "rw")
    with Workspace.open(disk / "ws", exclusive=True) as workspace:
        assert [row.id for row in workspace.ledger.episodes()] == [kept]
        write_episode(workspace, make_episode(seed=2))


def test_staging_on_another_disk_is_named_and_nothing_is_lost(workspace: Workspace) -> None:
    kept = write_episode(workspace, make_episode(seed=1)).id
    if not mounted(workspace.staging_folder):
        pytest.skip("may not mount a disk")
    try:
        with pytest.raises(StorageError, match="one filesystem"):
            write_episode(workspace, make_episode(seed=2))
        assert read_episode(workspace, kept).num_steps == 25
        assert workspace.ledger.episode_ids() == {kept}
    finally:
        subprocess.run(["umount", str(workspace.staging_folder)], check=True)
    assert write_episode(workspace, make_episode(seed=2)).id == header(seed=2).id


def may_trace() -> bool:
    if shutil.which("strace") is None:
        return False
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not may_trace(), reason="may not trace a process")
@pytest.mark.parametrize("call", ["fsync", "fdatasync", "rename", "ftruncate"])
@pytest.mark.parametrize("first", [3, 9, 17])
def test_a_disk_that_reports_faults_costs_no_committed_episode(
    tmp_path: Path, call: str, first: int
) -> None:
    """From its n-th ``call`` on, the kernel answers the recorder with an input/output error."""
    inject = f"inject={call}:error=EIO:when={first}+"
    recorder = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject),
            *(sys.executable, "-c", RECORDER, str(tmp_path / "ws")),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    assert "Traceback" not in recorder.stderr, recorder.stderr[-2000:]
    said = [line.split() for line in recorder.stdout.splitlines()]
    committed = {words[1]: words[2] for words in said if words[0] == "committed"}
    assert len(committed) == 4 or "refused:" in recorder.stdout
    if (tmp_path / "ws" / "workspace.toml").exists():
        with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
            rows = {row.id: row.digest for row in workspace.ledger.episodes()}
            assert committed.items() <= rows.items()
            for identity in committed:
                assert read_episode(workspace, identity).num_steps == 6


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_a_wall_clock_that_jumps_a_day_changes_no_episode(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    steady = {row.seed: row for row in map(write_some(workspace), range(3))}
    now = time.time
    offsets = iter([0.0] + [jump_s] * 1_000_000)
    monkeypatch.setattr(time, "time", lambda: now() + next(offsets))
    with Workspace.create(tmp_path / "jumpy", exclusive=True) as jumpy:
        rows = [write_some(jumpy)(seed) for seed in range(3)]
        assert {row.seed: row for row in rows} == steady
        assert [row.seed for row in jumpy.ledger.episodes()] == [0, 1, 2]
        jumpy.recover()
        assert not jumpy.recovery


def write_some(workspace: Workspace):
    return lambda seed: write_episode(workspace, make_episode(seed=seed, num_steps=5))
