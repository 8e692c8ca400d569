from __future__ import annotations

import pytest

from loopwright.core.errors import InvalidConfig
from loopwright.store.objects import DamagedObject
from loopwright.store.snapshots import Snapshot, load_snapshot, save_snapshot
from loopwright.store.workspace import Workspace

SNAPSHOT = Snapshot(episodes=("b", "a"), label_filter="success", split_seed=3)


def test_a_snapshot_is_loaded_as_it_was_saved_in_its_order(workspace: Workspace) -> None:
    digest = save_snapshot(workspace, SNAPSHOT)
    assert digest == SNAPSHOT.digest == save_snapshot(workspace, SNAPSHOT)
    assert load_snapshot(workspace, digest) == SNAPSHOT
    assert Snapshot(episodes=("a", "b"), label_filter="success", split_seed=3).digest != digest


def test_an_episode_twice_is_no_training_set() -> None:
    with pytest.raises(InvalidConfig, match="'a'"):
        Snapshot(episodes=("a", "b", "a"))


def test_a_damaged_object_is_made_good_from_the_file(workspace: Workspace) -> None:
    digest = save_snapshot(workspace, SNAPSHOT)
    workspace.objects.path(digest).unlink()
    assert load_snapshot(workspace, digest) == SNAPSHOT
    workspace.objects.path(digest).unlink()
    (workspace.snapshots_folder / f"{digest}.json").write_text("{}")
    with pytest.raises(DamagedObject):
        load_snapshot(workspace, digest)


def test_another_object_is_no_snapshot(workspace: Workspace) -> None:
    for other in (workspace.objects.put_json({"folder": {}}), workspace.objects.put_bytes(b"\xff")):
        with pytest.raises(InvalidConfig, match="no snapshot"):
            load_snapshot(workspace, other)
