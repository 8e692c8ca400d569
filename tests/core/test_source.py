"""Files that people bring: found, imported, and known by all of their code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.core import source
from loopwright.core.errors import InvalidConfig
from loopwright.core.source import entry_digest, find_entry, import_file, source_digest

MAIN = "from near_helper import factor\n\ndef learn(x):\n    return factor() * x\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])  # what is appended goes again
    monkeypatch.setattr(source, "_SIBLINGS", {})
    monkeypatch.setattr(source, "_FOLDERS", [])
    (tmp_path / "near_helper.py").write_text(
        "def factor():\n    from near_deeper import value\n    return value\n"
    )
    (tmp_path / "near_deeper.py").write_text("value = 2\n")
    (tmp_path / "near_stranger.py").write_text("value = 9\n")
    (tmp_path / "main.py").write_text(MAIN)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("near_")]:
        del sys.modules[name]


def test_modules_beside_a_file_are_found_and_are_part_of_its_code(folder: Path) -> None:
    entry = f"{folder / 'main.py'}:learn"
    assert find_entry(entry, "learner")(3) == 6
    before = source_digest(folder / "main.py")
    assert entry_digest(entry) == before
    (folder / "near_stranger.py").write_text("value = 10\n")
    assert source_digest(folder / "main.py") == before, "nobody imports it"
    (folder / "near_deeper.py").write_text("value = 5\n")
    assert source_digest(folder / "main.py") != before, "imported by what it imports"
    assert find_entry(entry, "learner")(3) == 15, "edited code is read again"


def test_a_package_beside_a_file_counts_whole(folder: Path) -> None:
    package = folder / "near_package"
    package.mkdir()
    (package / "__init__.py").write_text("from near_package.inner import value\n")
    (package / "inner.py").write_text("value = 1\n")
    (folder / "main.py").write_text("from near_package import value\n")
    before = source_digest(folder / "main.py")
    assert import_file(folder / "main.py", "recipe").value == 1
    (package / "inner.py").write_text("value = 12\n")
    assert source_digest(folder / "main.py") != before
    assert import_file(folder / "main.py", "recipe").value == 12


def test_equal_code_in_two_folders_is_one_and_namesakes_are_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in ("main.py", "near_helper.py", "near_deeper.py"):
        (other / name).write_text((folder / name).read_text())
    assert source_digest(other / "main.py") == source_digest(folder / "main.py")
    import_file(folder / "main.py", "recipe")
    assert find_entry(f"{other / 'main.py'}:learn", "recipe")(3) == 6
    (other / "near_deeper.py").write_text("value = 7\n")
    with pytest.raises(InvalidConfig, match=r"'near_.*another module of that name is in use"):
        import_file(other / "main.py", "recipe")


def test_dataclasses_with_postponed_annotations_can_be_defined(folder: Path) -> None:
    (folder / "main.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n\n"
        "@dataclass\nclass Point:\n    x: int = 3\n"
    )
    assert import_file(folder / "main.py", "recipe").Point().x == 3


def test_a_file_has_no_future_but_its_own(folder: Path) -> None:
    (folder / "main.py").write_text("def learn(x: int):\n    return x\n")
    annotations = import_file(folder / "main.py", "recipe").learn.__annotations__
    assert annotations == {"x": int}


def test_the_search_path_only_grows_at_its_end(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "main.py").write_text("x = 1\n")
    sys.path.insert(0, str(folder))
    before = list(sys.path)
    for path in (folder, other, folder):
        import_file(path / "main.py", "recipe")
    assert sys.path == [*before, str(other)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", r"recipe file .*main.py cannot be imported: SyntaxError: .*line 1"),
        ("import no_such_thing_at_all\n", r"ModuleNotFoundError: .*no_such_thing_at_all.*line 1"),
        ("x = 1\ny = x / 0\n", r"ZeroDivisionError: .*\(line 2\)"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(
    folder: Path, text: str, message: str
) -> None:
    (folder / "main.py").write_text(text)
    for _ in range(2):  # a failed import leaves nothing half made behind
        with pytest.raises(InvalidConfig, match=message):
            import_file(folder / "main.py", "recipe")


def test_an_entry_that_names_nothing_says_so(folder: Path) -> None:
    with pytest.raises(InvalidConfig, match="names no function"):
        find_entry(f"{folder / 'main.py'}:absent", "learner")
    with pytest.raises(InvalidConfig, match="names no function"):
        find_entry(str(folder / "main.py"), "learner")
    with pytest.raises(InvalidConfig, match=r"No module named 'mylearner'; .*path/to/file\.py"):
        find_entry("mylearner:learn", "learner")
    with pytest.raises(InvalidConfig, match="does not exist"):
        entry_digest(f"{folder / 'absent.py'}:learn")
    assert entry_digest("loopwright.train.learners:wam") is None
    assert entry_digest("numpy:array") is not None
