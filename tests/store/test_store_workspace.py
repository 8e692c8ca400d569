from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.core.errors import DamagedData, WorkspaceBusy, WorkspaceError
from loopwright.store.workspace import Workspace


def test_create_lays_out_and_open_finds_again(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "deep" / "ws") as made:
        digest = made.objects.put_bytes(b"kept")
    names = {p.name for p in (tmp_path / "deep" / "ws").iterdir()}
    assert {"workspace.toml", "ledger.db", "objects", "episodes", "staging"} <= names
    assert {"snapshots", "views", "reports", "deployments"} <= names
    with Workspace.open(tmp_path / "deep" / "ws") as found:
        assert found.objects.read_bytes(digest) == b"kept"
    with Workspace.create(tmp_path / "deep" / "ws") as again:
        assert again.objects.has(digest)


def test_a_folder_with_other_things_does_not_become_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(WorkspaceError, match=r"thesis\.tex"):
        Workspace.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_opening_what_is_no_workspace_says_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(WorkspaceError, match="loopwright run"):
            Workspace.open(folder)


def test_a_newer_workspace_is_refused(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws").close()
    (tmp_path / "ws" / "workspace.toml").write_text("schema_version = 7\n")
    with pytest.raises(WorkspaceError, match="upgrade"):
        Workspace.open(tmp_path / "ws")


def test_a_missing_ledger_is_not_silently_begun_anew(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws").close()
    (tmp_path / "ws" / "ledger.db").unlink()
    with pytest.raises(DamagedData, match="missing"):
        Workspace.open(tmp_path / "ws", exclusive=True)
    with pytest.raises(DamagedData, match="missing"):  # and the lock was let go
        Workspace.open(tmp_path / "ws", exclusive=True)


HOLDER = """
import sys, time
from pathlib import Path
from loopwright.store.workspace import Workspace
workspace = Workspace.open(Path(sys.argv[1]), exclusive=True)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_command_is_told_who_holds_it_and_kill_lets_go(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws").close()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "ws")], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceBusy, match=f"process {holder.pid} since 20"):
            Workspace.open(tmp_path / "ws", exclusive=True)
        Workspace.open(tmp_path / "ws").close()  # looking is free
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    Workspace.open(tmp_path / "ws", exclusive=True).close()


def test_opening_alone_removes_half_written_objects_and_says_so(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws").close()
    (tmp_path / "ws" / "objects" / "tmp" / "1-0-dead").write_bytes(b"half")
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert workspace.recovery.removed == ("1-0-dead",)
        assert workspace.ledger.events()[-1].name == "recovered"
    with Workspace.open(tmp_path / "ws", exclusive=True) as workspace:
        assert not workspace.recovery


def test_ledger_and_workspace_load_neither_arrow_nor_video() -> None:
    code = (
        "import sys, loopwright.store.workspace\n"
        "assert not {'pyarrow', 'av', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
