"""The rules of a cell, in made-up time: who stops whom, why, and what it takes to go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sliding_robot import ClampingFilter
from still_cell import BEAT_S, StillCell, StillRobot

from loopwright.core.errors import StorageError, Untrusted
from loopwright.safety.decision import Reason
from loopwright.safety.guard.clock import Tick
from loopwright.safety.guard.ports import Leave
from loopwright.safety.guard.signals import LineState, Request, Trip
from loopwright.safety.guard.stops import (
    Stop,
    find_release,
    press_stop,
    put_release,
    sign_release,
)
from loopwright.safety.keys import Holder, KeyRing, SigningKey


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[StillCell]:
    cell = StillCell(tmp_path)
    yield cell
    cell.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[StillCell]:
    pair = StillCell(tmp_path, robots=2)
    yield pair
    pair.close()


def assert_stopped(cell: StillCell, reason: str, robot: str = "r0") -> None:
    """Everybody stands, the line is down, and the log says why."""
    cell.run(0.5)
    assert cell.line.state is LineState.DOWN
    assert all(cell.speed(each) == 0.0 for each in cell.robots)
    assert cell.stop is not None
    assert (cell.stop.reason, cell.stop.robot) == (reason, robot)


def test_a_cell_moves_as_its_policy_asks(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    assert not robot.stopping
    assert robot.reason == "UNALTERED"
    assert robot.recorder.steps[-1].sequence == robot.command.step  # type: ignore[union-attr]


def test_nothing_moves_without_a_watchdog(cell: StillCell) -> None:
    cell.watchdog = None
    cell.robots[0].asks = (0.3, 0.2)
    cell.run(0.3)
    assert cell.speed(cell.robots[0]) == 0.0


def test_every_step_is_recorded_before_it_is_commanded(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    steps = [facts.sequence for facts in robot.recorder.steps]
    assert steps == list(range(1, robot.command.step + 1))  # type: ignore[union-attr]


def test_a_lost_recorder_stops_the_robot_at_the_same_beat(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].recorder.broken = True
    cell.run(BEAT_S)
    assert cell.robots[0].stopping
    assert_stopped(cell, "RECORDER")


def test_a_recorder_that_is_still_lost_keeps_the_brake_after_a_release(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.recorder.broken = True
    assert_stopped(cell, "RECORDER")
    cell.release()
    cell.run(1.0)
    assert cell.line.state is LineState.DOWN
    assert cell.speed(robot) == 0.0
    assert cell.stop is not None
    assert cell.stop.number > 1
    robot.recorder.broken = False
    cell.release()
    cell.run(1.0)
    assert cell.line.state is LineState.UP


def test_a_silent_policy_is_waited_for_and_then_stops_the_robot(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].asks = None
    cell.run(cell.bounds.policy_s - 0.02)
    assert cell.robots[0].reason == "STALE"
    assert cell.line.state is LineState.UP
    cell.run(0.03)
    assert cell.robots[0].reason == "POLICY_LOST"
    assert_stopped(cell, "POLICY_LOST")


def test_a_resting_policy_may_be_silent(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.asks = "rest"
    cell.run(0.2)
    robot.asks = None
    cell.run(2.0)
    assert cell.line.state is LineState.UP
    assert cell.speed(robot) == 0.0
    robot.asks = (0.3, 0.2)
    cell.run(0.2)
    assert cell.speed(robot) > 0.2


@pytest.mark.parametrize("late_s", [0.021, 0.4])
def test_a_late_beat_is_a_stop(cell: StillCell, late_s: float) -> None:
    cell.move()
    cell.run(BEAT_S, late_s=late_s)
    assert cell.robots[0].reason == "DEADLINE"
    assert_stopped(cell, "DEADLINE")


def test_a_beat_late_within_the_bound_is_none(cell: StillCell) -> None:
    cell.move()
    cell.run(BEAT_S, late_s=0.019)
    assert not cell.robots[0].stopping


def test_a_step_that_takes_too_long_commands_no_motion(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    record = robot.recorder.step

    def slow(facts) -> None:  # type: ignore[no-untyped-def]
        record(facts)
        cell.now_s += 0.03

    robot.recorder.step = slow  # type: ignore[method-assign]
    cell.run(BEAT_S)
    robot.recorder.step = record  # type: ignore[method-assign]
    assert robot.stopping
    assert_stopped(cell, "DEADLINE")


def test_a_paused_guard_drops_the_line(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].guard = None
    cell.run(cell.bounds.guard_s + 2 * BEAT_S)
    assert cell.line.state is LineState.DOWN
    assert_stopped(cell, "DEADLINE")


def test_a_drive_stops_by_itself_without_guard_and_watchdog(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].guard = None
    cell.watchdog = None
    cell.run(cell.bounds.command_s + 2 * BEAT_S + 0.03)
    assert cell.speed(cell.robots[0]) == 0.0


def test_a_dead_watchdog_is_a_stop_that_its_successor_keeps(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    cell.watchdog = None
    cell.run(cell.bounds.line_s + 2 * BEAT_S + 0.03)
    assert cell.speed(robot) == 0.0
    cell.start_watchdog()
    cell.run(1.0)
    assert cell.line.state is LineState.DOWN
    assert cell.speed(robot) == 0.0
    cell.release()
    cell.run(1.0)
    assert cell.line.state is LineState.UP
    assert cell.speed(robot) > 0.2


def test_a_drive_that_tripped_stays_so_until_the_line_was_dropped(cell: StillCell) -> None:
    cell.move()
    robot, guard = cell.robots[0], cell.robots[0].guard
    watchdog, cell.watchdog = cell.watchdog, None
    robot.guard = None
    cell.run(cell.bounds.command_s + 2 * BEAT_S)
    # Both come back as if nothing had been; the robot has stopped meanwhile and remembers it.
    robot.guard, cell.watchdog = guard, watchdog
    assert_stopped(cell, "DEADLINE")


def test_a_silent_drive_is_a_stop_and_its_successor_stands(pair: StillCell) -> None:
    pair.move()
    robot = pair.robots[0]
    robot.drive = None
    pair.run(0.2)
    assert pair.line.state is LineState.DOWN
    pair.start_drive(robot)
    assert_stopped(pair, "STALE")


def test_a_drive_restarted_in_an_instant_stands_too(cell: StillCell) -> None:
    cell.move()
    cell.start_drive(cell.robots[0])
    assert_stopped(cell, "DEADLINE")
    assert cell.stop is not None
    assert "RESTARTED" in cell.stop.detail


def test_a_guard_restarted_in_an_instant_stands_latched(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    cell.start_guard(robot)
    cell.run(BEAT_S)
    assert robot.stopping
    assert_stopped(cell, "DEADLINE")


def test_a_grounded_robot_stops_and_stays(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.watch.leave = Leave(reason=Reason.GROUNDED, detail="directive 7", epoch=7)
    cell.run(BEAT_S)
    assert robot.stopping
    assert robot.recorder.steps[-1].directive_epoch == 7
    assert_stopped(cell, "GROUNDED")
    cell.release()
    cell.run(1.0)
    assert cell.line.state is LineState.ARMING, "a grounded robot keeps its cell from arming"
    assert cell.speed(robot) == 0.0
    robot.watch.leave = Leave(epoch=8)
    cell.run(0.3)
    assert cell.line.state is LineState.UP


def test_a_lapsed_lease_is_a_stop(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].watch.leave = Leave(reason=Reason.LEASE, lease_left_s=-0.1)
    assert_stopped(cell, "LEASE")


def test_the_button_stops_everybody(pair: StillCell) -> None:
    pair.move()
    press_stop(pair.config.signals, "Olga", "a hand in the way")
    assert_stopped(pair, "OPERATOR", robot="")
    assert pair.stop is not None
    assert "a hand in the way" in pair.stop.detail
    assert {robot.reason for robot in pair.robots} == {"OPERATOR"}


def test_one_stops_all_of_the_cell(pair: StillCell) -> None:
    pair.move()
    first, second = pair.robots
    first.recorder.broken = True
    pair.run(2 * BEAT_S)
    assert pair.line.state is LineState.DOWN
    pair.run(2 * BEAT_S)
    assert second.reason == "PEER"
    assert_stopped(pair, "RECORDER")
    assert any("PEER" in note for note in second.recorder.notes)
    assert any("RECORDER" in line for line in _events(pair, first))


def _events(cell: StillCell, robot: StillRobot) -> list[str]:
    return cell.config.guard_log(robot.name).read_text().rstrip("\0").splitlines()


def test_a_brake_of_the_filter_latches(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.guard._filter.latch(Reason.RESIDUAL)  # type: ignore[union-attr]
    cell.run(BEAT_S)
    assert robot.stopping
    assert_stopped(cell, "BRAKED")


@pytest.mark.parametrize(
    ("values", "count", "reason"),
    [
        ((np.nan, 0.0), 2, "NOT_FINITE"),
        ((np.nan, np.nan), 5, "MALFORMED"),
        ((9.0, 0.0), 2, "CLAMPED"),
    ],
)
def test_malformed_requests_reach_the_filter_as_they_are(
    cell: StillCell, values: tuple[float, float], count: int, reason: str
) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.asks = None
    cell.now_s += BEAT_S / 2
    robot.policy.write(
        Request(time_s=cell.now_s, count=count, resting=False, values=np.array(values))
    )
    cell.run(BEAT_S)
    assert robot.reason == reason
    assert len(robot.recorder.steps[-1].requested) == count


def test_only_an_operators_release_of_this_very_stop_counts(cell: StillCell) -> None:
    cell.move()
    cell.robots[0].asks = None
    assert_stopped(cell, "POLICY_LOST")
    first = cell.stop
    assert first is not None
    cell.release(SigningKey.new())
    cell.run(0.5)
    assert cell.line.state is LineState.DOWN
    cell.release()
    cell.run(0.5)
    assert cell.line.state is LineState.UP

    cell.robots[0].asks = (0.3, 0.2)
    cell.run(0.2)
    press_stop(cell.config.signals, "Olga", "again")
    cell.run(0.5)
    assert cell.stop is not None
    assert cell.stop.number == 2
    # Yesterday's release under today's name.
    path = put_release(cell.config.releases, sign_release(first, cell.operator, "old"))
    shutil.move(path, path.with_name("stop-2.json"))
    cell.run(0.5)
    assert cell.line.state is LineState.DOWN
    assert "release-refused" in cell.config.stop_log.read_text()
    cell.release()
    cell.run(0.5)
    assert cell.line.state is LineState.UP


def test_after_a_release_only_new_requests_count(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    press_stop(cell.config.signals, "Olga", "a look")
    cell.run(0.2)
    robot.asks = None
    cell.release()
    cell.run(0.5)
    assert cell.line.state is LineState.UP
    assert cell.speed(robot) == 0.0
    assert cell.line.state is LineState.UP, "an old request is none, and nobody to miss"
    robot.asks = (0.3, 0.2)
    cell.run(0.2)
    assert cell.speed(robot) > 0.2


def test_an_open_stop_outlives_the_whole_cell(cell: StillCell, tmp_path: Path) -> None:
    cell.move()
    press_stop(cell.config.signals, "Olga", "end of shift")
    cell.run(0.2)
    shutil.rmtree(cell.config.signals)
    again = StillCell(tmp_path)
    again.robots[0].asks = (0.3, 0.2)
    again.run(1.0)
    assert again.line.state is LineState.DOWN
    assert again.speed(again.robots[0]) == 0.0
    again.release()
    again.run(1.0)
    assert again.line.state is LineState.UP


def test_a_torn_stop_log_is_a_stop(cell: StillCell, tmp_path: Path) -> None:
    cell.run(0.1)
    assert cell.watchdog is not None
    cell.watchdog.close()
    raw = cell.config.stop_log.read_bytes().rstrip(b"\0")
    cell.config.stop_log.write_bytes(raw + b'{"event": "sto')
    shutil.rmtree(cell.config.signals)
    again = StillCell(tmp_path)
    again.run(0.3)
    assert again.line.state is LineState.DOWN
    assert again.stop is not None
    assert again.stop.detail == "the stop log was torn"


def test_a_watchdog_that_ended_in_good_order_leaves_no_stop(cell: StillCell) -> None:
    cell.move()
    assert cell.watchdog is not None
    cell.watchdog.close()
    cell.watchdog = None
    robot = cell.robots[0]
    cell.run(0.3)
    assert cell.speed(robot) == 0.0
    assert cell.stop is None


def test_without_room_on_the_disk_the_line_drops_and_the_reason_is_kept(
    cell: StillCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell.move()
    log = cell.watchdog._log  # type: ignore[union-attr]
    append = log.append

    def full(event: str, content: object, *, sync: bool = True) -> None:
        raise StorageError("no space is left")

    monkeypatch.setattr(log, "append", full)
    press_stop(cell.config.signals, "Olga", "stop")
    cell.run(0.2)
    assert cell.line.state is LineState.DOWN
    assert cell.stop is None
    monkeypatch.setattr(log, "append", append)
    cell.run(0.05)
    assert cell.stop is not None
    assert cell.stop.reason == "OPERATOR"


def test_a_guard_that_ended_in_good_order_is_followed_by_one_that_is_ready(
    cell: StillCell,
) -> None:
    cell.move()
    robot = cell.robots[0]
    assert cell.watchdog is not None
    assert robot.guard is not None
    cell.watchdog.close()
    robot.guard.close()
    cell.start_guard(robot)
    cell.start_watchdog()
    cell.run(0.2)
    assert cell.stop is None
    assert cell.line.state is LineState.UP


def test_a_guard_that_ended_latched_is_followed_by_one_that_is(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.asks = None
    assert_stopped(cell, "POLICY_LOST")
    assert robot.guard is not None
    robot.guard.close()
    cell.start_guard(robot)
    assert robot.guard.latch is not None


def test_a_watchdog_that_ended_with_a_stop_open_does_not_make_another(cell: StillCell) -> None:
    cell.move()
    press_stop(cell.config.signals, "Olga", "a look")
    cell.run(0.2)
    assert cell.watchdog is not None
    cell.watchdog.close()
    cell.start_watchdog()
    cell.run(0.2)
    assert cell.line.state is LineState.DOWN
    assert cell.stop is not None
    assert cell.stop.number == 1
    cell.release()
    cell.run(0.5)
    assert cell.line.state is LineState.UP


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(columns=st.lists(st.floats(width=64), min_size=5, max_size=5))
def test_nothing_that_a_policy_can_write_breaks_the_guard(
    cell: StillCell, columns: list[float]
) -> None:
    robot = cell.robots[0]
    cell.run(0.05)
    robot.asks = None
    robot.policy._writer.write(columns)
    cell.run(3 * BEAT_S)
    assert robot.command is not None
    assert np.isfinite(robot.command.applied).all()
    if cell.line.state is LineState.DOWN:
        cell.release()
        cell.run(0.5)


def test_a_drive_follows_no_broken_command(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.guard = None
    writer = cell._signals["guard", "r0.command"]
    command = robot.command
    assert command is not None
    writer.write(replace(command, time_s=cell.now_s + BEAT_S, applied=np.array([np.nan, 0.0])))
    cell.run(BEAT_S)
    assert_stopped(cell, "DEADLINE")
    assert cell.stop is not None
    assert "COMMAND_BROKEN" in cell.stop.detail


def test_a_clock_from_elsewhere_counts_as_no_policy(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.asks = None
    robot.policy.write(
        Request(time_s=cell.now_s + 3600.0, count=2, resting=False, values=np.array([0.3, 0.2]))
    )
    assert_stopped(cell, "POLICY_LOST")


def test_a_release_does_not_cover_a_guard_that_was_restarted_after_the_stop(
    cell: StillCell,
) -> None:
    cell.move()
    robot = cell.robots[0]
    press_stop(cell.config.signals, "Olga", "a look")
    cell.run(0.2)
    watchdog, cell.watchdog = cell.watchdog, None
    cell.start_guard(robot)
    cell.release()
    cell.run(0.5)
    assert robot.guard is not None
    assert robot.guard.latch is not None
    cell.watchdog = watchdog
    cell.run(0.5)
    assert cell.line.state is LineState.DOWN
    assert cell.stop is not None
    assert cell.stop.number == 2


def test_a_request_from_before_the_line_rose_is_nobody_to_miss(cell: StillCell) -> None:
    cell.move()
    assert cell.watchdog is not None
    cell.watchdog.close()
    cell.watchdog = None
    cell.robots[0].asks = None
    cell.run(0.1)
    cell.start_watchdog()
    cell.run(1.0)
    assert cell.line.state is LineState.UP
    assert cell.stop is None
    assert cell.speed(cell.robots[0]) == 0.0


def test_a_guard_notices_a_silent_watchdog_itself(cell: StillCell) -> None:
    cell.move()
    cell.watchdog = None
    cell.run(cell.bounds.line_s + 2 * BEAT_S)
    assert cell.robots[0].guard is not None
    latch = cell.robots[0].guard.latch
    assert latch is not None
    assert "watchdog is silent" in latch.detail


def test_a_guard_notices_a_silent_drive_itself(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    robot.drive = None
    cell.watchdog, watchdog = None, cell.watchdog
    cell.run(cell.bounds.reading_s + 2 * BEAT_S)
    assert watchdog is not None
    assert robot.guard is not None
    assert robot.guard.latch is not None
    assert "drive is silent" in robot.guard.latch.detail


def test_the_filter_begins_anew_with_every_motion(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    assert robot.guard is not None
    judge = robot.guard._filter
    assert isinstance(judge, ClampingFilter)
    assert judge.resets == 1
    robot.asks = "rest"
    cell.run(0.1)
    robot.asks = (0.3, 0.2)
    cell.run(0.1)
    assert judge.resets == 2


@pytest.mark.parametrize("silent", ["guard", "watchdog"])
def test_a_drive_notices_by_itself_who_is_silent(cell: StillCell, silent: str) -> None:
    cell.move()
    robot = cell.robots[0]
    assert cell.watchdog is not None
    assert robot.guard is not None
    assert robot.drive is not None
    if silent == "guard":
        cell.watchdog._bounds = replace(cell.bounds, guard_s=10.0)
        robot.guard = None
    else:
        robot.guard._bounds = replace(cell.bounds, line_s=10.0)
        cell.watchdog = None
    cell.run(0.2)
    assert cell.speed(robot) == 0.0
    assert robot.drive.trip is (Trip.COMMAND_OLD if silent == "guard" else Trip.WATCHDOG_SILENT)


def test_a_drive_that_slept_stops(cell: StillCell) -> None:
    cell.move()
    robot = cell.robots[0]
    assert robot.drive is not None
    slept_s = cell.bounds.command_s + 0.01
    robot.drive.beat(Tick(due_s=cell.now_s - slept_s, now_s=cell.now_s, missed=0))
    assert robot.drive.trip is Trip.LATE
    assert_stopped(cell, "DEADLINE")


def test_a_watchdog_restarted_in_an_instant_is_a_stop_too(cell: StillCell) -> None:
    cell.move()
    cell.start_watchdog()
    assert_stopped(cell, "DEADLINE", robot="")
    assert cell.stop is not None
    assert cell.stop.detail == "the watchdog was restarted"


def test_a_slow_disk_while_the_line_rises_trips_nobody(
    cell: StillCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    watchdog = cell.watchdog
    assert watchdog is not None
    append = watchdog._log.append

    def slowly(event: str, content: object, *, sync: bool = True) -> None:
        append(event, {}, sync=sync)
        # The others go on meanwhile.
        cell.watchdog = None
        cell.run(0.2)
        cell.watchdog = watchdog

    monkeypatch.setattr(watchdog._log, "append", slowly)
    cell.run(0.2)
    assert cell.line.state is LineState.UP
    assert cell.stop is None


def test_a_person_who_is_no_operator_releases_nothing(tmp_path: Path) -> None:
    key = SigningKey.new()
    ring = KeyRing([Holder(person="Paul", public=key.public, roles=frozenset({"approver"}))])
    stop = Stop(
        cell="bench",
        number=1,
        robot="r0",
        reason="BRAKED",
        detail="",
        time_s=1.0,
        utc="2026-11-22",
        latches={"r0": 1},
    )
    put_release(tmp_path, sign_release(stop, key, "looks fine"))
    with pytest.raises(Untrusted, match="operator"):
        find_release(tmp_path, stop, ring)
