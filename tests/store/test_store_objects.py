from __future__ import annotations

import os
import resource
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.core.digest import digest_bytes, digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError, UsageError
from loopwright.store.objects import DamagedObject, Objects


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "objects")


def files_below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@given(data=st.binary(max_size=5000))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_come_back_under_their_sha256(objects: Objects, data: bytes) -> None:
    digest = objects.put_bytes(data)
    assert digest == digest_bytes(data)
    assert objects.read_bytes(digest) == data


def test_layout_is_sharded_read_only_and_leaves_no_temporary_file(objects: Objects) -> None:
    digest = objects.put_bytes(b"weights")
    assert files_below(objects.root) == [f"sha256/{digest[:2]}/{digest}"]
    mode = stat.S_IMODE(objects.path(digest).stat().st_mode)
    assert mode == 0o444


def test_json_is_canonical(objects: Objects) -> None:
    one = objects.put_json({"b": [1.5, None], "a": "ü"})
    two = objects.put_json({"a": "ü", "b": (1.5, None)})
    assert one == two == digest_json({"a": "ü", "b": [1.5, None]})
    assert objects.read_json(one) == {"a": "ü", "b": [1.5, None]}


def test_folder_returns_by_checkout(objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "candidate"
    (source / "deep").mkdir(parents=True)
    (source / "weights.safetensors").write_bytes(b"w" * 3_000_000)
    (source / "deep" / "config.json").write_text("{}")
    digest = objects.put_folder(source)
    target = tmp_path / "deployments" / "one"
    objects.checkout(digest, target)
    assert files_below(target) == ["deep/config.json", "weights.safetensors"]
    assert (target / "weights.safetensors").read_bytes() == b"w" * 3_000_000
    assert objects.put_folder(target) == digest
    objects.checkout(digest, target)  # again: nothing to do


def test_checkout_puts_a_changed_file_right_but_leaves_strange_ones(
    objects: Objects, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    digest = objects.put_folder(source)
    target = tmp_path / "target"
    objects.checkout(digest, target)
    (target / "a").unlink()
    (target / "a").write_text("changed by an editor that writes anew")
    objects.checkout(digest, target)
    assert (target / "a").read_text() == "a"
    (target / "mine").write_text("notes")
    with pytest.raises(UsageError, match="mine"):
        objects.checkout(digest, target)
    assert (target / "mine").read_text() == "notes"


def test_checkout_refuses_a_manifest_that_points_outside(objects: Objects, tmp_path: Path) -> None:
    inner = objects.put_bytes(b"x")
    for name in ("../evil", "/etc/evil", "a/../../evil"):
        digest = objects.put_json({"folder": {name: inner}})
        with pytest.raises(UsageError, match="outside"):
            objects.checkout(digest, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_put_folder_refuses_links(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="passwords"):
        objects.put_folder(tmp_path / "source")


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    path.chmod(0o644)
    if how == "flip":
        path.write_bytes(data[:2] + bytes([data[2] ^ 1]) + data[3:])
    elif how == "truncate":
        path.write_bytes(data[:-1])
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "truncate", "delete"])
@pytest.mark.parametrize("read", ["read_bytes", "path"])
def test_damage_is_named_quarantined_and_can_be_made_good(
    objects: Objects, how: str, read: str
) -> None:
    digest = objects.put_bytes(b"precious")
    damage(objects.path(digest), how)
    with pytest.raises(DamagedObject, match=digest) as caught:
        getattr(objects, read)(digest)
    assert isinstance(caught.value, DamagedData)
    assert caught.value.digest == digest
    assert not objects.has(digest)
    if how != "delete":
        [reason] = objects.quarantine.glob("*.txt")
        assert "damaged" in reason.read_text()
        assert len(list(objects.quarantine.iterdir())) == 2
    assert objects.put_bytes(b"precious") == digest
    assert objects.read_bytes(digest) == b"precious"


def test_putting_again_replaces_a_damaged_object(objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"precious")
    digest = objects.put_bytes(b"precious")
    for put in (
        lambda: objects.put_bytes(b"precious"),
        lambda: objects.put_file(tmp_path / "source"),
    ):
        damage(objects.path(digest), "flip")
        assert put() == digest
        assert objects.read_bytes(digest) == b"precious"


def test_a_digest_that_is_none_is_refused(objects: Objects) -> None:
    for wrong in ("", "../../etc/passwd", "A" * 64, "0" * 63):
        with pytest.raises(InvalidConfig, match="64"):
            objects.has(wrong)


def test_sweep_removes_what_a_dead_writer_left_and_spares_a_living_one(
    objects: Objects,
) -> None:
    left = objects.root / "tmp" / "123-0-dead"
    left.write_bytes(b"half")
    with objects._temporary_file() as (file, living):
        file.write(b"under way")
        assert objects.sweep() == ["123-0-dead"]
        assert living.exists()
    assert files_below(objects.root) == []


@pytest.fixture
def no_large_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_refused_write_is_a_storage_error_and_changes_nothing(
    objects: Objects, tmp_path: Path, no_large_files: None
) -> None:
    kept = objects.put_bytes(b"small")
    with pytest.raises(StorageError, match="ulimit"):
        objects.put_bytes(os.urandom(200_000))
    assert objects.read_bytes(kept) == b"small"
    assert files_below(objects.root / "tmp") == []
