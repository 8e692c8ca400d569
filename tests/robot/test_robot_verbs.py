"""The verbs of a fleet, against a toy fleet that runs, and against folders where none does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from wires_fleet import OpenFleet, open_fleet

from loopwright.cli import EXIT_FAILED, EXIT_USAGE, main
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.latch import StopLatch
from loopwright.safety.guard.stops import BUTTON
from loopwright.safety.keys import KeyRing


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    """A toy fleet whose folder looks like that of a real one."""
    with open_fleet(tmp_path) as fleet:
        site = FleetSite.open(tmp_path)
        (tmp_path / "tokens.json").replace(site.tokens)
        site.write_address(fleet.server.url)
        yield fleet


def type_in(fleet: OpenFleet | Path, *words: str) -> int:
    folder = fleet if isinstance(fleet, Path) else fleet.folder
    return main(["robot", *words, "--folder", str(folder)])


def test_tasks_and_one_of_them_are_told_while_the_fleet_runs_and_after(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    task = fleet.coordinator.ask("ring north", by="[bold]ann")
    fleet.coordinator.wait(task, timeout_s=20.0)
    assert type_in(fleet, "tasks", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["outcome"]) == (task, "succeeded")
    fleet.coordinator.close()
    fleet.server.close()
    assert type_in(fleet, "tasks") == 0
    assert "[bold]ann" in capsys.readouterr().out
    assert type_in(fleet, "explain", task) == 0
    text = capsys.readouterr().out
    assert f"trace {listed['trace']}" in text
    assert "the robot says: finished" in text
    assert type_in(fleet, "explain", task, "--json") == 0
    happened = json.loads(capsys.readouterr().out)["happened"]
    assert [line["number"] for line in happened if line["flights"]] == []
    assert type_in(fleet, "explain", task[:-1]) == EXIT_USAGE
    assert f"did you mean '{task}'" in capsys.readouterr().err


def test_a_stop_is_pressed_shown_and_released(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(fleet, "status") == 0
    assert type_in(fleet, "stop", "r2") == EXIT_FAILED
    assert "did you mean 'r1'" in capsys.readouterr().err
    assert type_in(fleet, "release", "--note", "looked") == EXIT_FAILED
    assert "nothing is stopped" in capsys.readouterr().err
    assert type_in(fleet, "stop", "r1") == 0
    assert "loopwright robot release r1 --note" in capsys.readouterr().out
    assert type_in(fleet, "status", "--json") == EXIT_FAILED
    (robot,) = json.loads(capsys.readouterr().out)["robots"]
    assert (robot["stopped"], robot["stopped_by"]) == (True, "operate over http")
    # A robot of the toy fleet has no latch on the disk, which is what a release is about.
    site = FleetSite(fleet.folder)
    StopLatch(site.latch("r1"), "r1", KeyRing.read(site.ring)).press("a stop")
    assert type_in(fleet, "release", "r1", "--note", " ") == EXIT_USAGE
    assert type_in(fleet, "release", "r1", "--note", "nothing was in the way") == 0
    assert type_in(fleet, "status") == 0


def test_a_stop_reaches_the_guards_of_a_fleet_that_does_not_answer(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.server.close()
    assert type_in(fleet, "stop") == EXIT_FAILED  # there are no guards either
    line = FleetSite(fleet.folder).signals / "cell"
    line.mkdir(parents=True)
    try:
        assert type_in(fleet, "stop", "r1") == EXIT_FAILED  # that is not theirs to do
        assert not (line / BUTTON).exists()
        assert type_in(fleet, "stop") == 0
        assert json.loads((line / BUTTON).read_text())["who"] == "operator"
    finally:
        (line / BUTTON).unlink(missing_ok=True)
        line.rmdir()
        line.parent.rmdir()
    assert "the line of its guards is pressed" in capsys.readouterr().out


def test_where_no_fleet_is_it_says_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["tasks"], ["explain", "t-1"], ["status"], ["stop"], ["release", "--note", "x"]):
        assert type_in(tmp_path / "none", *words) == EXIT_FAILED
        assert "loopwright up tabletop" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
