from __future__ import annotations

import json
from pathlib import Path

import pytest

from loopwright.core.errors import DamagedData, UnsafeCandidate
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.store.objects import Objects

INTERFACE = Interface(
    cameras=(CameraSpec(name="top", height_px=16, width_px=16),),
    proprio=VectorSpec(names=("x",), units=("m",), low=(-1.0,), high=(1.0,)),
    action=VectorSpec(names=("x",), units=("m",), low=(-1.0,), high=(1.0,)),
    rate_hz=10.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "candidate"
    place.mkdir()
    (place / "weights.json").write_text("[1, 2]")
    Candidate.seal(place, family="linear", interface=INTERFACE, config={"width": 2})
    return place


def test_a_sealed_folder_opens_equal(folder: Path) -> None:
    candidate = Candidate.open(folder)
    assert candidate.family == "linear"
    assert candidate.interface == INTERFACE
    assert Candidate.from_json(json.loads((folder / MANIFEST_NAME).read_text())) == candidate


def test_its_digest_is_what_the_object_store_calls_the_folder(folder: Path, tmp_path: Path) -> None:
    assert Objects(tmp_path / "objects").put_folder(folder) == Candidate.open(folder).digest


def test_a_flipped_bit_is_named(folder: Path) -> None:
    before = Candidate.open(folder).digest
    (folder / "weights.json").write_text("[1, 3]")
    with pytest.raises(DamagedData, match=r"weights\.json has the digest"):
        Candidate.open(folder)
    resealed = Candidate.seal(folder, family="linear", interface=INTERFACE, config={"width": 2})
    assert resealed.digest != before


def test_a_missing_file_or_manifest_is_named(folder: Path) -> None:
    (folder / "weights.json").unlink()
    with pytest.raises(DamagedData, match=r"weights\.json is named by the manifest but is missing"):
        Candidate.open(folder)
    (folder / MANIFEST_NAME).unlink()
    with pytest.raises(DamagedData, match=r"has no candidate\.json"):
        Candidate.open(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"family": 1}', "not json"])
def test_a_manifest_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / MANIFEST_NAME).write_text(content)
    with pytest.raises(DamagedData, match="is no candidate manifest"):
        Candidate.open(folder)


@pytest.mark.parametrize("name", ["weights.pkl", "weights.pt", "model.BIN"])
def test_a_pickle_is_refused_even_if_the_manifest_names_it(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(UnsafeCandidate, match="may hold a pickle"):
        Candidate.open(folder)
    with pytest.raises(UnsafeCandidate, match="may hold a pickle"):
        Candidate.seal(folder, family="linear", interface=INTERFACE, config={})


def test_links_folders_and_undeclared_files_are_refused(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")
    with pytest.raises(UnsafeCandidate, match=r"undeclared files \['notes.txt'\]"):
        Candidate.open(folder)
    (folder / "notes.txt").unlink()
    (folder / "link").symlink_to(folder / "weights.json")
    with pytest.raises(UnsafeCandidate, match="is a link"):
        Candidate.open(folder)
    (folder / "link").unlink()
    (folder / "inner").mkdir()
    with pytest.raises(UnsafeCandidate, match="no plain file"):
        Candidate.open(folder)
