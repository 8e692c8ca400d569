"""Faults in real processes: whatever dies, the robot stands, holds, and the reason is on a disk.

Bounds here are wide, for loaded machines; ``benchmarks/guard.py`` measures tight ones.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sliding_robot
from guarded_cell import HERE, WIDE, Bench, BusyPolicy, bench

from loopwright.safety.decision import Reason
from loopwright.safety.guard.config import Part
from loopwright.safety.guard.signals import LineState
from loopwright.safety.guard.stops import StopLog, press_stop, read_stop_log

SLOWEST_S = max(WIDE.guard_s, WIDE.command_s, WIDE.line_s, WIDE.reading_s) + 0.05
"""The longest silence that is waited for, and the way of the brake."""
GRACE_S = 1.0
"""For a machine that is busy with other things."""


def events(path: Path) -> list[dict[str, object]]:
    return read_stop_log(path)[0]


def kept_reason(bench: Bench) -> str:
    """Return the reason in the watchdog's log, once it is there."""
    bench.cell.wait_until(LineState.DOWN)
    until_s = time.monotonic() + 5.0
    while time.monotonic() < until_s:
        stop = bench.cell.stop()
        if stop is not None:
            return stop.reason
        time.sleep(0.01)
    raise AssertionError("no stop was written down")


@contextmanager
def moving(folder: Path, robots: int = 1, **chosen: object) -> Iterator[Bench]:
    with ExitStack() as stack:
        running = stack.enter_context(bench(folder, robots=robots, **chosen))
        for number in range(robots):
            side = running.cell.policy_side(f"r{number}")
            stack.enter_context(BusyPolicy(side))
        for number in range(robots):
            running.wait_moving(f"r{number}")
        yield running


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=[pytest.mark.slow, pytest.mark.alone])],
)
def test_a_dead_or_paused_guard_stops_its_robot_and_its_peer(tmp_path: Path, how: int) -> None:
    with moving(tmp_path, robots=2) as cell:
        fault_s = time.monotonic()
        cell.cell.processes["guard:r0"].send_signal(how)
        for robot in ("r0", "r1"):
            assert cell.stopped_after(robot, fault_s) < SLOWEST_S + GRACE_S
        assert kept_reason(cell) == "DEADLINE"
        assert events(cell.cell.config.guard_log("r1"))[-1]["reason"] == "PEER"
        if how == signal.SIGSTOP:
            cell.cell.processes["guard:r0"].send_signal(signal.SIGCONT)
            time.sleep(0.5)
            assert cell.stopped_after("r0", fault_s) < SLOWEST_S + GRACE_S, "it moved again"


@pytest.mark.slow
@pytest.mark.alone
def test_a_paused_guard_keeps_a_second_one_out(tmp_path: Path) -> None:
    with moving(tmp_path) as cell:
        cell.cell.processes["guard:r0"].send_signal(signal.SIGSTOP)
        second = subprocess.run(
            [sys.executable, "-m", "loopwright.safety.guard", "guard",
             str(cell.cell.config.signals / "cell.json"), "r0"],
            env={**os.environ, "PYTHONPATH": str(HERE)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert second.returncode != 0
        assert "has a writer already" in second.stderr
        cell.cell.processes["guard:r0"].send_signal(signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.alone
def test_a_guard_restarted_in_mid_motion_stands_until_an_operator_releases_it(
    tmp_path: Path,
) -> None:
    with moving(tmp_path) as cell:
        fault_s = time.monotonic()
        cell.cell.processes["guard:r0"].kill()
        cell.cell.processes["guard:r0"].wait()
        cell.cell.start("guard:r0")
        until_s = time.monotonic() + 10.0
        while not any(
            entry.get("detail") == "the guard was restarted"
            for entry in events(cell.cell.config.guard_log("r0"))
        ):
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert cell.stopped_after("r0", fault_s) < SLOWEST_S + GRACE_S
        cell.cell.wait_until(LineState.DOWN)
        cell.cell.release(cell.operator, "looked at the robot; nobody near it")
        cell.cell.wait_until(LineState.UP)
        cell.wait_moving("r0")


@pytest.mark.parametrize(
    "how",
    [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=[pytest.mark.slow, pytest.mark.alone])],
)
def test_a_dead_or_paused_watchdog_is_a_stop(tmp_path: Path, how: int) -> None:
    with moving(tmp_path) as cell:
        fault_s = time.monotonic()
        cell.cell.processes["watchdog"].send_signal(how)
        assert cell.stopped_after("r0", fault_s) < SLOWEST_S + GRACE_S
        # The watchdog cannot say why; the guard does, in its own log and in the black box.
        assert "the watchdog is silent" in str(events(cell.cell.config.guard_log("r0"))[-1])
        rows = sliding_robot.read_rows(tmp_path / "r0.rows")
        assert Reason.DEADLINE in rows[:, 2]
        if how == signal.SIGKILL:
            cell.cell.processes["watchdog"].wait()
            cell.cell.start("watchdog")
        else:
            cell.cell.processes["watchdog"].send_signal(signal.SIGCONT)
        assert kept_reason(cell) == "DEADLINE"
        assert cell.stopped_after("r0", fault_s) < SLOWEST_S + GRACE_S, "it moved again"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_paused_policy_stops_the_robot(tmp_path: Path, how: int) -> None:
    with bench(tmp_path) as cell:
        policy = subprocess.Popen(
            [sys.executable, str(HERE / "busy_policy.py"), str(cell.cell.config.signals), "r0"]
        )
        try:
            cell.wait_moving("r0", within_s=30.0)
            fault_s = time.monotonic()
            policy.send_signal(how)
            assert cell.stopped_after("r0", fault_s) < WIDE.policy_s + SLOWEST_S + GRACE_S
            assert kept_reason(cell) == "POLICY_LOST"
        finally:
            policy.kill()
            policy.wait()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_paused_drive_stops_its_peer_and_stands_when_it_is_back(
    tmp_path: Path, how: int
) -> None:
    with moving(tmp_path, robots=2) as cell:
        fault_s = time.monotonic()
        cell.cell.processes["drive:r0"].send_signal(how)
        assert cell.stopped_after("r1", fault_s) < SLOWEST_S + GRACE_S
        assert kept_reason(cell) == "STALE"
        rows = len(cell.truth("r0"))
        if how == signal.SIGKILL:
            cell.cell.processes["drive:r0"].wait()
            cell.cell.start("drive:r0")
        else:
            cell.cell.processes["drive:r0"].send_signal(signal.SIGCONT)
        until_s = time.monotonic() + 10.0
        while len(cell.truth("r0")) < rows + 40:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        assert cell.truth("r0")[rows:, 1].all(), "it follows nobody when it is back"
        assert abs(cell.truth("r0")[-1, 4:]).max() == 0.0


def test_a_full_disk_under_the_recorder_stops_the_robot(tmp_path: Path) -> None:
    config = {"folder": str(tmp_path), "limit_bytes": 40_000}
    part = Part(entry="sliding_robot:make_recorder", config=config)
    with moving(tmp_path, recorder=part) as cell:
        assert kept_reason(cell) == "RECORDER"
        assert "the disk" in str(events(cell.cell.config.guard_log("r0"))[-1])
        dropped = cell.cell.line()
        assert dropped is not None
        assert cell.stopped_after("r0", dropped.since_s) < SLOWEST_S + GRACE_S
        # Whatever moved the robot is on the disk: no step was commanded after the last record.
        rows = sliding_robot.read_rows(tmp_path / "r0.rows")
        truth = cell.truth("r0")
        followed = truth[truth[:, 1] == 0.0]
        assert followed[-1, 0] < rows[-1, 1] + WIDE.command_s + 0.1


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a small file system, or skip where that is not allowed."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, *, leave: int = 0) -> None:
    """Take all of the space of a small disk but some bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    if leave:
        os.truncate(ballast, ballast.stat().st_size - leave)


@pytest.mark.slow
@pytest.mark.alone
def test_a_truly_full_disk_under_the_recorder_stops_the_robot(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 256) as small:
        fill(small, leave=64 * 1024)
        part = Part(entry="sliding_robot:make_recorder", config={"folder": str(small)})
        with moving(tmp_path / "cell", recorder=part) as cell:
            assert kept_reason(cell) == "RECORDER"
            dropped = cell.cell.line()
            assert dropped is not None
            assert cell.stopped_after("r0", dropped.since_s) < SLOWEST_S + GRACE_S
            assert "the disk" in str(events(cell.cell.config.guard_log("r0"))[-1])


def test_the_stop_log_has_its_space_before_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 2048) as small:
        log = StopLog(small / "stops.log")
        fill(small)
        for number in range(50):
            log.append("stop", {"number": number, "detail": "x" * 400})
        log.close()
        assert [entry["number"] for entry in events(small / "stops.log")] == list(range(50))


@contextmanager
def busy(core: int) -> Iterator[None]:
    """Keep a core busy above every guard, or skip where that is not allowed."""
    spinning = subprocess.Popen(
        [sys.executable, "-c",
         f"import os,time; os.sched_setaffinity(0, {{{core}}});"
         "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))\n"
         "end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        spinning.kill()
        if spinning.wait() == 1:
            pytest.skip("no real-time priority here")


@pytest.mark.slow
@pytest.mark.alone
def test_a_starved_guard_stops_the_robot(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("there is one core only")
    with moving(tmp_path) as cell:
        for name, process in cell.cell.processes.items():
            core = cores[0] if name == "guard:r0" else cores[1]
            for task in os.listdir(f"/proc/{process.pid}/task"):
                os.sched_setaffinity(int(task), {core})
        fault_s = time.monotonic()
        with busy(cores[0]):
            assert kept_reason(cell) == "DEADLINE"
            dropped = cell.cell.line()
            assert dropped is not None
            assert cell.stopped_after("r0", fault_s) < 1.5 + SLOWEST_S + GRACE_S
            assert cell.stopped_after("r0", dropped.since_s, settle_s=0.0) < GRACE_S


def test_the_button_stops_the_robot_and_says_who(tmp_path: Path) -> None:
    with moving(tmp_path) as cell:
        fault_s = time.monotonic()
        press_stop(cell.cell.config.signals, "Olga", "a hand in the way")
        assert cell.stopped_after("r0", fault_s) < SLOWEST_S + GRACE_S
        assert kept_reason(cell) == "OPERATOR"


def test_a_cell_that_is_closed_leaves_nothing_running_and_no_stop(tmp_path: Path) -> None:
    with bench(tmp_path) as cell:
        processes = list(cell.cell.processes.values())
    assert all(process.returncode == 0 for process in processes)
    assert cell.cell.stop() is None


@pytest.mark.slow
@pytest.mark.alone
def test_a_cell_ends_with_the_process_that_ran_it(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from guarded_cell import bench\n"
        f"with bench(Path({str(tmp_path)!r})) as cell:\n"
        "    print(*[p.pid for p in cell.cell.processes.values()], flush=True); time.sleep(60)"
    )
    runner = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    assert runner.stdout is not None
    members = [int(word) for word in runner.stdout.readline().split()]
    assert len(members) == 3
    runner.kill()
    runner.communicate()
    until_s = time.monotonic() + 10.0
    while any(Path(f"/proc/{pid}").exists() for pid in members) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not [pid for pid in members if Path(f"/proc/{pid}").exists()]
