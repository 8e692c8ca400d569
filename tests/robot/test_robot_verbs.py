"""The verbs of a fleet, against a toy fleet that runs, and against folders where none does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from wires_fleet import OpenFleet, open_fleet

from loopwright.cli import EXIT_FAILED, EXIT_USAGE, main
from loopwright.robot import messages as say
from loopwright.robot.fleet.site import FleetSite
from loopwright.safety.guard.stops import BUTTON


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


def test_a_task_is_paused_goes_on_and_is_given_up(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.runner.lasts_s = 60.0
    task = fleet.coordinator.ask("ring north", by="ann")
    assert type_in(fleet, "pause", task) == 0
    assert capsys.readouterr().out == f"{task} paused: ring north\n"
    assert type_in(fleet, "resume", task, "--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"
    assert type_in(fleet, "cancel", task) == 0
    ended = fleet.coordinator.wait(task, timeout_s=10.0)
    assert (ended.outcome, ended.cancelled) == ("failed", True)
    capsys.readouterr()
    assert type_in(fleet, "cancel", "t-none") == EXIT_FAILED
    assert "t-none" in capsys.readouterr().err


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
    until_s = time.monotonic() + 5.0
    while not fleet.site.stopped():
        assert time.monotonic() < until_s
        time.sleep(0.01)
    assert type_in(fleet, "release", "r1", "--note", " ") == EXIT_USAGE
    assert type_in(fleet, "release", "r1", "--note", "nothing was in the way") == 0
    assert type_in(fleet, "status") == 0


def test_a_fleet_that_nobody_directs_is_told_and_is_no_success(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.break_disk()
    assert type_in(fleet, "status") == EXIT_FAILED
    told = " ".join(capsys.readouterr().out.split())
    assert "undirected" in told
    assert "the coordinator has stopped: the disk is full" in told
    assert type_in(fleet, "status", "--json") == EXIT_FAILED
    seen = json.loads(capsys.readouterr().out)
    assert (seen["failure"], seen["robots"][0]["directed"]) == (
        "the coordinator has stopped: the disk is full",
        False,
    )


def test_what_was_not_heard_on_the_bus_is_told(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(fleet, "status") == 0
    assert "not heard" not in capsys.readouterr().out
    deaf = fleet.bus.subscribe(say.REPORTS, fails)
    fleet.bus.publish(say.REPORTS, say.Stop(by="test"))
    until_s = time.monotonic() + 10.0
    while not fleet.bus.unheard:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    deaf()
    time.sleep(0.3)  # as old as a glance may be
    assert type_in(fleet, "status") == 0
    assert "on the bus, and not heard: failed" in capsys.readouterr().out


def test_a_disk_that_the_black_boxes_will_fill_is_told_before(
    fleet: OpenFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_in(fleet, "status") == 0
    assert "black boxes: 0 MB" in capsys.readouterr().out
    began = datetime.now(UTC) - timedelta(seconds=1.0)
    flight = fleet.site.flights / f"r1-{began.strftime('%Y%m%dT%H%M%S.%fZ')}.flight"
    with flight.open("wb") as file:
        file.truncate(1 << 43)  # a sparse 8 TiB within a second
    assert type_in(fleet, "status") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "the disk is full in 0.0 h, and the guards stop the robots then" in told
    assert type_in(fleet, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["recording"]["lasts_s"] < 60.0


def fails(message: say.Message) -> None:
    raise RuntimeError("a driver's error")


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
    for line in ("tasks", "explain t-1", "status", "stop", "cancel t-1", "release --note x"):
        assert type_in(tmp_path / "none", *line.split()) == EXIT_FAILED
        assert "loopwright up tabletop" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
