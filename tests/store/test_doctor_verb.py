from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_doctor_lerobot import make
from test_doctor_workspace import fill, flip

from loopwright.cli import EXIT_FAILED, main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "ws")
    return tmp_path / "ws"


def test_a_healthy_workspace_is_said_to_be_so(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "doctor", str(root)]) == 0
    assert "healthy" in capsys.readouterr().out
    assert main(["data", "doctor", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}


def test_what_is_wrong_is_shown_repaired_and_shown_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = sorted((root / "episodes").iterdir())[0] / "front.mp4"
    flip(film, 300)
    assert main(["data", "doctor", str(root)]) == EXIT_FAILED
    told = capsys.readouterr().out
    assert f"{film.parent.name}/front.mp4" in told.replace("\n    ", "")
    assert "--repair" in told
    assert film.exists()
    assert main(["data", "doctor", str(root), "--repair", "--json"]) == EXIT_FAILED
    said = json.loads(capsys.readouterr().out)
    assert [each["check"] for each in said["findings"]] == ["episode/file"]
    assert "quarantine" in said["repaired"][0]["done"]
    assert [each["check"] for each in said["left"]] == ["snapshot/episodes"]


def test_the_terminal_is_not_steered_by_a_hostile_name(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "episodes/\x1b[2J[red]x").write_text("boo")
    assert main(["data", "doctor", str(root)]) == EXIT_FAILED
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert r"\x1b[2J[red]x" in told


def test_a_lerobot_dataset_is_examined_and_never_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make(tmp_path / "set", "v3.0")
    assert main(["data", "doctor", str(dataset.folder)]) == 0
    dataset.film(0).unlink()
    assert main(["data", "doctor", str(dataset.folder)]) == EXIT_FAILED
    assert "videos/" in capsys.readouterr().out
    assert main(["data", "doctor", str(dataset.folder), "--repair"]) == EXIT_FAILED
    assert "only a workspace is repaired" in capsys.readouterr().err


def test_a_folder_that_is_neither_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        assert main(["data", "doctor", str(folder)]) == EXIT_FAILED
        assert "neither a workspace" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_loop_makes_is_healthy_and_made_anew_after_a_repair(tmp_path: Path) -> None:
    root = tmp_path / "ws"

    def loopwright(*arguments: object) -> int:
        command = [sys.executable, "-m", "loopwright", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert loopwright("run", "smoke", "--workspace", root) == 0
    assert loopwright("data", "doctor", root) == 0
    episodes = sorted((root / "episodes").iterdir())
    flip(episodes[0] / "top.mp4", 400)
    os.truncate(episodes[1] / "data.parquet", 100)
    shutil.rmtree(episodes[2])
    (root / "episodes" / episodes[3].name / "episode.json").unlink()
    stored = [path for path in (root / "objects/sha256").rglob("*") if path.is_file()]
    for path in stored:  # candidates and snapshots; of gate reports there is no second copy
        if path.read_bytes()[:10] in (b'{"folder":', b'{"episodes'):
            flip(path, 15)
    assert loopwright("data", "doctor", root) == 1
    assert loopwright("data", "doctor", root, "--repair") == 1
    assert loopwright("run", "smoke", "--workspace", root) == 0
    loopwright("data", "doctor", root, "--repair")
    assert loopwright("data", "doctor", root) == 0
