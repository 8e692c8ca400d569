"""Garbage is only what nothing names, and it comes back until the trash is emptied."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from loopwright.core.stage import Cost, Receipt, StageResult, StageSpec
from loopwright.store.objects import DamagedObject
from loopwright.store.snapshots import Snapshot, save_snapshot
from loopwright.store.trash import empty_trash, find_garbage, restore, throw_away
from loopwright.store.workspace import Workspace


def age(workspace: Workspace, seconds: float = 7200.0) -> None:
    for path in (workspace.objects.root / "sha256").rglob("*"):
        if path.is_file():
            moment = time.time() - seconds
            os.utime(path, (moment, moment))


def commit(workspace: Workspace, outputs: dict[str, str]) -> None:
    spec = StageSpec(name="fit", entry="a:b")
    attempt = workspace.ledger.begin_attempt(spec, owner="test")
    result = StageResult(outputs=outputs)
    receipt = Receipt(key=spec.key, result=result, cost=Cost(cpu_s=1.0, wall_s=1.0))
    workspace.ledger.commit(attempt, receipt)


@pytest.fixture
def named(workspace: Workspace, tmp_path: Path) -> set[str]:
    """Digests that must survive: a folder through a receipt, a report through JSON, a snapshot."""
    folder = tmp_path / "candidate"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w" * 1000)
    (folder / "candidate.json").write_text("{}")
    deep = workspace.objects.put_bytes(b"film")
    report = workspace.objects.put_json({"films": [{"last": deep}]})
    candidate = workspace.objects.put_folder(folder)
    commit(workspace, {"candidate": candidate, "report": report})
    snapshot = save_snapshot(workspace, Snapshot(episodes=("e1",)))
    files = [workspace.objects.put_file(folder / name) for name in ("weights", "candidate.json")]
    return {deep, report, candidate, snapshot, *files}


def test_only_what_nothing_names_is_garbage(workspace: Workspace, named: set[str]) -> None:
    garbage = workspace.objects.put_bytes(b"of a stage that never committed")
    age(workspace)
    young = workspace.objects.put_bytes(b"its mention may be on its way")
    found = find_garbage(workspace)
    assert set(found.digests) == {garbage}
    assert found.size_bytes == len(b"of a stage that never committed")
    throw_away(workspace, found)
    assert all(workspace.objects.read_bytes(digest) for digest in (*named, young))
    with pytest.raises(DamagedObject, match="missing"):
        workspace.objects.read_bytes(garbage)
    assert restore(workspace) == (garbage,)
    assert workspace.objects.read_bytes(garbage) == b"of a stage that never committed"


def test_the_trash_is_deleted_only_after_its_time(workspace: Workspace) -> None:
    digest = workspace.objects.put_bytes(b"old")
    age(workspace)
    throw_away(workspace, find_garbage(workspace))
    assert empty_trash(workspace, older_than_s=60.0).digests == ()
    assert empty_trash(workspace, older_than_s=0.0).digests == (digest,)
    assert restore(workspace) == ()


def test_an_object_thrown_away_can_be_stored_again(workspace: Workspace) -> None:
    digest = workspace.objects.put_bytes(b"again")
    age(workspace)
    throw_away(workspace, find_garbage(workspace))
    assert workspace.objects.put_bytes(b"again") == digest
    assert restore(workspace) == (digest,)
    assert workspace.objects.read_bytes(digest) == b"again"
