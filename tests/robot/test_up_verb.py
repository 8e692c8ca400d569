"""``loopwright up`` as a service: nobody types, others ask at its doors, SIGTERM ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from stub_endpoint import stub_endpoint
from wires_fleet import OpenFleet, open_fleet

from loopwright.cli import EXIT_USAGE, main
from loopwright.cli.verbs import up
from loopwright.core.errors import StorageError

TO_THE_BENCH = {
    "goal": ["at(cart-1, bench)"],
    "steps": [
        {"id": "a", "robot": "cart-1", "skill": "drive",
         "values": {"start": "store", "goal": "bench"}},
    ],
}  # fmt: skip
TO_THE_DOOR = {
    "goal": ["at(cart-1, door)"],
    "steps": [
        {"id": "a", "robot": "cart-1", "skill": "drive",
         "values": {"start": "bench", "goal": "door"}},
    ],
}  # fmt: skip


class Watched:
    """A fleet of which is kept who pressed its stop."""

    def __init__(self, fleet: OpenFleet, *, disk: bool) -> None:
        self.coordinator, self.disk = fleet.coordinator, disk
        self.pressed: list[str] = []

    def stop(self, robot: str | None, *, by: str) -> None:
        assert robot is None
        self.pressed.append(by)
        if not self.disk:
            raise StorageError("the disk is full")


@pytest.mark.parametrize("disk", [True, False])
def test_an_unattended_fleet_that_nobody_directs_is_stopped_and_is_a_failure(
    tmp_path: Path, disk: bool
) -> None:
    said = StringIO()
    with open_fleet(tmp_path) as fleet:
        watched = Watched(fleet, disk=disk)
        threading.Timer(0.2, fleet.break_disk).start()
        assert up._serve(Console(file=said), watched) == 1  # type: ignore[arg-type]
    assert watched.pressed == ["up, since nobody directs the robots"]
    assert "the disk is full" in " ".join(said.getvalue().split())


@pytest.mark.parametrize("half", [["--planner", "http://127.0.0.1:1/v1"], ["--model", "m"]])
def test_half_an_endpoint_is_refused_before_anything_starts(
    tmp_path: Path, half: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "tabletop", "--folder", str(tmp_path / "fleet"), *half]) == EXIT_USAGE
    assert "--planner and --model go together" in capsys.readouterr().err
    assert not (tmp_path / "fleet").exists()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def unattended(folder: Path, *options: str, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a fleet as a service does; what it says lands beside its folder."""
    command = [sys.executable, "-m", "loopwright", "up", "tabletop", "--folder", str(folder)]
    with (
        folder.with_suffix(".log").open("wb") as log,
        subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {up.KEY: key},
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.alone
def test_a_fleet_without_a_terminal_works_for_those_who_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, port = tmp_path / "fleet", free_port()
    at_folder = ["--folder", str(folder)]
    with stub_endpoint() as model:
        model.replies = [json.dumps(TO_THE_BENCH)]
        asks = ["--planner", model.url, "--model", "m", "--port", str(port)]
        with unattended(folder, *asks, key="k-1") as process:
            until_s = time.monotonic() + 120.0
            while main(["robot", "status", *at_folder]) != 0:
                assert process.poll() is None, folder.with_suffix(".log").read_text()
                assert time.monotonic() < until_s
                time.sleep(0.5)
            capsys.readouterr()
            assert main(["ask", "a ride for the cart", "--json", *at_folder]) == 0
            result = json.loads(capsys.readouterr().out)
            assert result["outcome"] == "succeeded"
            assert model.authorised == ["Bearer k-1"], "the model made the plan, with our key"
            model.replies = [json.dumps(TO_THE_DOOR)]
            asked = subprocess.Popen(
                [sys.executable, "-m", "loopwright", "ask", "send cart-1 to the door", *at_folder],
                stderr=subprocess.PIPE,
                text=True,
            )
            task = running(at_folder, capsys)
            asked.send_signal(signal.SIGINT)
            _, said = asked.communicate(timeout=20.0)
            assert f"loopwright robot cancel {task}" in said
            assert main(["robot", "cancel", task, *at_folder]) == 0
            assert task in capsys.readouterr().out
            process.send_signal(signal.SIGTERM)
            assert process.wait(30.0) == 0
    log = folder.with_suffix(".log").read_text()
    assert f"http://127.0.0.1:{port}" in log
    assert "ending the fleet" in log
    assert "k-1" not in log


def running(at_folder: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the task that is at work."""
    until_s = time.monotonic() + 20.0
    while time.monotonic() < until_s:
        assert main(["robot", "tasks", "--json", *at_folder]) == 0
        tasks = json.loads(capsys.readouterr().out)
        if found := [task["id"] for task in tasks if task["status"] == "running"]:
            return str(found[0])
        time.sleep(0.1)
    raise AssertionError("nothing is at work")
