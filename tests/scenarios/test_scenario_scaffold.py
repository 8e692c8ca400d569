"""What ``loopwright new`` writes works at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loopwright.core.errors import InvalidConfig, StorageError, UnknownName
from loopwright.core.scenario import Request
from loopwright.recipes.registry import get_recipe
from loopwright.scenarios.check import check_scenario
from loopwright.scenarios.registry import get_scenario
from loopwright.scenarios.scaffold import write_scaffold
from loopwright.scenarios.sources import record_sources


def test_the_default_scaffold_keeps_the_contract_and_makes_demonstrations(tmp_path):
    files = write_scaffold(tmp_path / "touch", "touch-the-dot")
    names = ["scenario.py", "recipe.py", "test_scenario.py", "README.md"]
    assert [path.name for path in files] == names
    scenario = get_scenario(str(files[0]))
    assert scenario.id == "touch-the-dot-v1"
    report = check_scenario(scenario)
    assert report.ok, str(report)
    half = scenario.domain.portion("dot_x_m", 0.0, 0.5)
    made = list(record_sources(scenario, Request(kind="demo", count=5, box=half)))
    assert [episode.header.seed for episode, _ in made] == sorted(
        episode.header.seed for episode, _ in made
    )
    assert all(verdict is not None and verdict.outcome == "success" for _, verdict in made)


def test_a_scaffold_of_another_environment_keeps_the_contract(tmp_path):
    files = write_scaffold(tmp_path / "balance", "balance-v3", "InvertedPendulum-v5")
    scenario = get_scenario(str(files[0]))
    assert scenario.id == "balance-v3"
    report = check_scenario(scenario)
    assert report.ok, str(report)
    assert report.kinds == ("play",)
    with pytest.raises(
        UnknownName, match=r"balance-v3 makes no demo, for it has no expert.*expert="
    ):
        next(record_sources(scenario, Request(kind="demo", count=1)))


def test_an_expert_written_into_the_scaffold_is_all_the_loop_waits_for(tmp_path):
    files = write_scaffold(tmp_path / "balance", "balance", "InvertedPendulum-v5")
    text = files[0].read_text()
    empty = "expert=None,  # yours to write"
    assert empty in text
    expert = "expert=lambda seen: np.array([-2.0, -30.0, -3.0, -7.0]) @ seen * -0.1,  #"
    files[0].write_text(text.replace(empty, expert))
    made = list(record_sources(get_scenario(str(files[0])), Request(kind="demo", count=2)))
    assert len(made) == 2
    assert get_recipe(str(files[1])).scenario == str(files[0])


def test_a_folder_that_may_not_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        write_scaffold(tmp_path / "file" / "touch", "touch")


def test_the_written_test_passes_on_its_own(tmp_path):
    write_scaffold(tmp_path / "touch", "touch-the-dot")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "touch"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_written_code_is_formatted_and_sound(tmp_path):
    files = write_scaffold(tmp_path / "a", "touch-the-dot")
    files += write_scaffold(tmp_path / "b", "balance", "InvertedPendulum-v5")
    code = [str(path) for path in files if path.suffix == ".py"]
    for arguments in (["check", "--select", "E,F,UP,B"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--line-length", "100", *code]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_written_over(tmp_path):
    (path, *_) = write_scaffold(tmp_path, "touch-the-dot")
    path.write_text("mine")
    with pytest.raises(InvalidConfig, match=r"scenario\.py is there already"):
        write_scaffold(tmp_path, "touch-the-dot")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["Touch", "touch the dot", "../touch", "", "-touch"])
def test_a_name_that_could_be_no_id_is_refused(tmp_path, name):
    with pytest.raises(InvalidConfig, match="lower case, digits and hyphens"):
        write_scaffold(tmp_path / "new", name)
    assert not (tmp_path / "new").exists()


def test_an_environment_that_does_not_exist_is_answered_with_the_near_one(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'Reacher-v5'"):
        write_scaffold(tmp_path / "new", "touch", "Reachr-v5")
    assert not (tmp_path / "new").exists()
