from __future__ import annotations

import os
import socket
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.digest import digest_bytes, digest_json
from loopwright.core.errors import DamagedData, UnsafeCandidate
from loopwright.core.interface import Interface, VectorSpec
from loopwright.core.policy import Candidate
from loopwright.safety.certificate.tree import (
    _digest_plain_file,
    digest_every_file,
    list_every_file,
)

ONE_METRE = VectorSpec(names=("x",), units=("m",), low=(-1.0,), high=(1.0,))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "candidate"
    place.mkdir()
    (place / "weights.json").write_text("[1, 2]")
    return place


def test_every_file_is_listed_whatever_it_is_called(folder: Path) -> None:
    names = [
        ".git/hooks/run.py",
        "__pycache__/a.pyc",
        ".hidden",
        "sub/deep/x",
        "a b",
        "weights.json~",
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    assert list_every_file(folder) == {
        "weights.json": digest_bytes(b"[1, 2]"),
        **{name: digest_bytes(name.encode()) for name in names},
    }


def test_it_is_the_digest_by_which_a_candidate_is_known(folder: Path) -> None:
    interface = Interface(cameras=(), proprio=ONE_METRE, action=ONE_METRE, rate_hz=10.0)
    sealed = Candidate.seal(folder, family="linear", interface=interface, config={})
    assert digest_every_file(folder) == sealed.digest


def test_the_digest_is_that_of_the_written_format(folder: Path) -> None:
    listing = {"weights.json": digest_bytes(b"[1, 2]")}
    assert digest_every_file(folder) == digest_json({"folder": listing})


def test_permissions_and_times_do_not_matter(folder: Path) -> None:
    before = digest_every_file(folder)
    (folder / "weights.json").chmod(0o600)
    os.utime(folder / "weights.json", (1, 1))
    assert digest_every_file(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "weights.json").write_text("[1, 3]"),
        lambda folder: (folder / "weights.json").write_text("[1, 2] "),
        lambda folder: (folder / "weights.json").rename(folder / "weights.JSON"),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "weights.json").unlink(),
    ],
)
def test_any_change_changes_it(folder: Path, change: object) -> None:
    before = digest_every_file(folder)
    change(folder)  # type: ignore[operator]
    assert digest_every_file(folder) != before


def test_an_empty_folder_is_not_an_empty_file(folder: Path) -> None:
    (folder / "x").mkdir()
    assert list_every_file(folder)["x/"] == ""
    (folder / "x").rmdir()
    (folder / "x").touch()
    assert "x/" not in list_every_file(folder)


def test_a_file_larger_than_a_block_is_digested_whole(folder: Path) -> None:
    data = bytes(range(256)) * 5000
    (folder / "large").write_bytes(data)
    assert list_every_file(folder)["large"] == digest_bytes(data)


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    for target in (folder / "weights.json", tmp_path / "target", tmp_path / "nothing"):
        (folder / "link").symlink_to(target)
        with pytest.raises(UnsafeCandidate, match="link is a link"):
            digest_every_file(folder)
        (folder / "link").unlink()
    (folder / "sub").mkdir()
    (folder / "sub" / "link").symlink_to("../weights.json")
    with pytest.raises(UnsafeCandidate, match="sub/link is a link"):
        digest_every_file(folder)


def test_a_file_that_becomes_a_link_between_listing_and_reading_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "weights.json")
    with pytest.raises(OSError, match="symbolic links"):
        _digest_plain_file(str(folder / "link"))


def test_a_folder_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UnsafeCandidate, match="is a link; give the folder"):
        digest_every_file(tmp_path / "link")


def test_a_pipe_is_refused_without_waiting_for_its_writer(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnsafeCandidate, match="pipe is no plain file"):
        digest_every_file(folder)


def test_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
        with pytest.raises((UnsafeCandidate, DamagedData)):
            digest_every_file(folder)


@pytest.mark.parametrize(
    "name",
    [b"caf\xe9", unicodedata.normalize("NFD", "caf\u00e9").encode(), b"\xff", b"\xed\x9f\xbf\xff"],
)
def test_names_that_file_systems_write_differently_are_refused(folder: Path, name: bytes) -> None:
    (Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))).touch()
    with pytest.raises(UnsafeCandidate, match="file systems write differently"):
        digest_every_file(folder)


def test_an_odd_name_of_a_folder_is_refused_too(folder: Path) -> None:
    (folder / unicodedata.normalize("NFD", "caf\u00e9")).mkdir()
    with pytest.raises(UnsafeCandidate, match="file systems write differently"):
        digest_every_file(folder)


@pytest.mark.parametrize("name", ["caf\u00e9", "模型", "\ue000", "\U0001f916"])
def test_names_in_any_script_are_fine(folder: Path, name: str) -> None:
    (folder / name).touch()
    assert name in list_every_file(folder)


def test_names_that_differ_by_case_alone_are_refused(folder: Path) -> None:
    (folder / "Weights.json").touch()
    with pytest.raises(UnsafeCandidate, match="one file on some machines"):
        digest_every_file(folder)
    (folder / "Weights.json").unlink()
    for name in ("sub/a", "SUB/b"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    with pytest.raises(UnsafeCandidate, match="one file on some machines"):
        digest_every_file(folder)


def test_what_is_no_folder_is_named(folder: Path) -> None:
    for path in (folder / "nowhere", folder / "weights.json"):
        with pytest.raises(DamagedData, match=f"{path.name} cannot be read"):
            digest_every_file(path)


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5)


@given(st.dictionaries(NAMES.map(str.lower), st.binary(max_size=20), max_size=5))
def test_equal_folders_have_equal_digests_and_others_differ(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    for name, data in files.items():
        (one / name).write_bytes(data)
    for name, data in reversed(files.items()):
        (two / name).write_bytes(data)
    assert digest_every_file(one) == digest_every_file(two)
    (two / "one-more-file").touch()
    assert digest_every_file(one) != digest_every_file(two)
