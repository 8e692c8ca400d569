from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

import tiny_emoji
from loopwright.core.errors import DamagedData, MissingExtra
from loopwright.scenarios.emoji import fetch as fetching
from loopwright.scenarios.emoji.fetch import (
    FetchFailed,
    fetch,
    integrity_of,
    member_names,
    read_json,
    read_member,
)
from loopwright.scenarios.emoji.packages import CAPTIONS, DRAWINGS, Package

NPM = """#!{python}
import pathlib, shutil, sys
calls = pathlib.Path({calls!r})
count = len(calls.read_text().splitlines()) if calls.exists() else 0
calls.write_text((calls.read_text() if count else "") + " ".join(sys.argv[1:]) + "\\n")
if count < {failures}:
    print("npm error code ENOTFOUND\\nnpm error network secret.example", file=sys.stderr)
    sys.exit(1)
shutil.copy({brings!r}, sys.argv[sys.argv.index("--pack-destination") + 1])
"""


@pytest.fixture
def package(tmp_path: Path) -> Package:
    (tmp_path / "registry").mkdir()
    return tiny_emoji.write_package(tmp_path / "registry/tiny-1.tgz", tiny_emoji.DRAWING_FILES)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def install_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, failures: int = 0) -> Path:
    """Put an npm on the path that serves one file; return where it writes down its calls."""
    monkeypatch.setattr(fetching, "_PAUSE_S", 0.0)
    binary, calls = tmp_path / "bin/npm", tmp_path / "calls"
    binary.parent.mkdir()
    brings = tmp_path / "registry/tiny-1.tgz"
    binary.write_text(
        NPM.format(python=sys.executable, calls=str(calls), brings=str(brings), failures=failures)
    )
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binary.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


def test_a_package_is_fetched_once(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install_npm(tmp_path, monkeypatch)
    place = fetch(package, cache)
    assert integrity_of(place) == package.integrity
    assert fetch(package, cache) == place
    (call,) = calls.read_text().splitlines()
    assert call.startswith("pack tiny@1 ")
    assert list(cache.iterdir()) == [place]


def test_a_network_that_fails_in_passing_is_tried_again(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = install_npm(tmp_path, monkeypatch, failures=2)
    assert fetch(package, cache).is_file()
    assert len(calls.read_text().splitlines()) == 3


def test_no_network_is_said_without_naming_hosts(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_npm(tmp_path, monkeypatch, failures=99)
    with pytest.raises(FetchFailed, match=r"3 attempts .*ENOTFOUND.*npm ping") as caught:
        fetch(package, cache)
    assert "secret.example" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_other_bytes_than_the_pinned_ones_are_refused(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_npm(tmp_path, monkeypatch)
    tiny_emoji.write_package(tmp_path / "registry/tiny-1.tgz", {"icons.json": {"icons": {}}})
    with pytest.raises(DamagedData, match="other bytes than"):
        fetch(package, cache)
    assert list(cache.iterdir()) == []


def test_a_damaged_tarball_in_the_cache_is_fetched_again(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_npm(tmp_path, monkeypatch)
    (cache / "tiny-1.tgz").write_bytes(b"half a file")
    assert integrity_of(fetch(package, cache)) == package.integrity


def test_without_npm_the_extra_is_named(
    tmp_path: Path, cache: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(fetching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'npm .*pip install "loopwright\[emoji\]"'):
        fetch(package, cache)


def test_files_are_read_by_exact_name_and_never_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("package/icons.json", "package/../../evil.json", "/etc/evil.json"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
        link = tarfile.TarInfo("package/link.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert read_json(path, "icons.json") == {}
    with pytest.raises(DamagedData, match="no plain file"):
        read_member(path, "link.json")
    with pytest.raises(DamagedData, match="holds no file"):
        read_member(path, "chars.json")
    assert [p.name for p in tmp_path.rglob("*")] == ["tiny-1.tgz"]


def test_damaged_tarballs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.tgz"
    tiny_emoji.write_package(path, {"icons.json": b"x" * 100_000, "chars.json": b"[1, 2"})
    with pytest.raises(DamagedData, match=r"chars\.json is no JSON"):
        read_json(path, "chars.json")
    whole = path.read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(data)
        with pytest.raises(DamagedData, match="remove it and fetch it again"):
            read_member(path, "chars.json")
        with pytest.raises(DamagedData, match="remove it and fetch it again"):
            member_names(path)


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "tiny-1.tgz"
    tiny_emoji.write_package(path, {"icons.json": b"[" * 200_000})
    with pytest.raises(DamagedData, match="no JSON"):
        read_json(path, "icons.json")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny-1.tgz"
    tiny_emoji.write_package(path, {"icons.json": bytes(1 << 20)})
    monkeypatch.setattr(fetching, "_MOST_FILE_BYTES", 1 << 19)
    with pytest.raises(DamagedData, match="at most"):
        read_member(path, "icons.json")


def test_every_package_is_pinned_to_the_byte() -> None:
    for package in (*DRAWINGS.values(), CAPTIONS):
        assert package.integrity.startswith("sha512-")
        assert len(package.integrity) == len("sha512-") + 88
        assert package.version.count(".") == 2
        assert package.licence in {"CC-BY-4.0", "Apache-2.0", "MIT"}
