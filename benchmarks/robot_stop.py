"""From whoever presses stop to the motors of every robot: how long, by every way, under load.

The warehouse fleet with its physics, four robots that jog. A stop is pressed over HTTP, over MCP
with the SDK's own client, as a message on the bus by a console and by one of the robots itself, and
at the line of the guards, in turns. Each is timed from just before the client acts to the last of
the four drives that has told its motors to be in the safe state, by the drive's own note; then it
is seen that none moves again, and an operator releases it, signing for exactly these stops.

The load are processes that spin at ordinary priority, in sessions of their own. The fleet is a
session as well; the kernel's scheduler is asked to prefer that session, then to treat it as any
other, and then guards, drives and watchdog are given real-time priority beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.harness import Benchmark, Measurement
from benchmarks.robot_stop_fleet import CHANGE, PRESSED, ROOT, read_changes
from loopwright.core.errors import SafetyError
from loopwright.robot import messages as say
from loopwright.robot.access import AccessRole
from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings
from loopwright.safety.guard.signals import Line, LineState, Reader, SignalPaths
from loopwright.safety.guard.stops import press_stop
from loopwright.simulation.warehouse import layout

SEED = 20261122
ROBOTS = tuple(layout.ROBOTS)
SPINNERS = 2
STAYS_S = 0.3
"""How long it is watched that nobody moves again."""
GIVEN_UP_S = 5.0
"""A robot that has not stopped by then counts as stopped only now."""
_PATIENCE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How the fleet stands with the scheduler."""

    title: str
    nice: int
    """Of its session as a whole."""
    priority: int
    """Real-time priority of guards, drives and watchdog; 0: as the fleet has them."""
    rounds: int
    """Presses over each route."""
    within_s: float = 240.0
    """No further press is begun after so long; a fleet at nobody's favour can take for ever."""


CONDITIONS = (
    Condition(title="preferred", nice=-10, priority=0, rounds=20),
    Condition(title="as any program", nice=0, priority=0, rounds=6, within_s=60.0),
    Condition(
        title="as any program, guards real-time", nice=0, priority=50, rounds=6, within_s=60.0
    ),
)


@dataclass(frozen=True, kw_only=True)
class Press:
    """One stop, in seconds from the press on."""

    condition: str
    route: str
    line_s: float
    """Until the line of the guards was down; not a number where it stayed up."""
    drives_s: dict[str, float]
    """Until each robot's motors were told to stop."""
    stayed: bool

    @property
    def last_s(self) -> float:
        return max(self.drives_s.values())


class JoggingFleet:
    """The running fleet, from the outside."""

    def __init__(self, folder: Path, pid: int, where: dict[str, Any]) -> None:
        self.folder, self.site, self._pid = folder, FleetSite(folder), pid
        self.url, self.signals = str(where["url"]), Path(where["signals"])
        self.robots: dict[str, int] = where["robots"]
        self._tokens = json.loads(self.site.tokens.read_text())
        self._line = Reader(SignalPaths(self.signals).line, Line)
        settings = ZenohSettings(name="console", connect=(str(where["bus"]),))
        self._console = ZenohBus(settings, self.site.membership("operator"))
        self._tasks: list[str] = []

    def call(self, method: str, path: str, body: dict[str, Any], role: AccessRole) -> Any:
        host, _, port = self.url.removeprefix("http://").partition(":")
        connection = HTTPConnection(host, int(port), timeout=60.0)
        head = {"Authorization": f"Bearer {self._tokens[role]}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, head)
        answer = connection.getresponse()
        found = json.loads(answer.read())
        connection.close()
        if answer.status >= 400:
            raise SafetyError(f"{method} {path}: {answer.status} {found}")
        return found

    # Ways to press: each returns when it was pressed ---------------------------------------------

    def over_http(self) -> float:
        pressed_s = time.monotonic()
        self.call("POST", "/stop", {}, "operate")
        return pressed_s

    def over_mcp(self) -> float:
        async def drive() -> float:
            headers = {"Authorization": f"Bearer {self._tokens['operate']}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
                Client(streamable_http_client(f"{self.url}/mcp", http_client=http)) as client,
            ):
                await client.list_tools()
                pressed_s = time.monotonic()
                answer = await client.call_tool("stop", {})
                assert not answer.is_error, answer
                return pressed_s

        return asyncio.run(drive())

    def on_the_bus(self) -> float:
        pressed_s = time.monotonic()
        self._console.publish(say.ALL_ROBOTS, say.Stop(by="operator"))
        return pressed_s

    def by_a_robot(self) -> float:
        """Have the next robot in turn press, from its own process."""
        path = self.folder / PRESSED
        size = path.stat().st_size if path.exists() else 0
        robot = ROBOTS[size // CHANGE.size % len(ROBOTS)]
        os.kill(self.robots[robot], signal.SIGUSR1)
        _wait(lambda: path.exists() and path.stat().st_size > size, f"{robot} to press")
        return float(CHANGE.unpack(path.read_bytes()[size:])[0])

    def at_the_line(self) -> float:
        pressed_s = time.monotonic()
        press_stop(self.signals, "bench", "a trial")
        return pressed_s

    @property
    def routes(self) -> dict[str, Callable[[], float]]:
        return {
            "HTTP": self.over_http,
            "MCP": self.over_mcp,
            "a message on the bus": self.on_the_bus,
            "a robot of the fleet": self.by_a_robot,
            "the line of the guards": self.at_the_line,
        }

    # A trial -------------------------------------------------------------------------------------

    def get_moving(self) -> None:
        """Have every robot jog; what a guard stopped meanwhile for its own reasons is released."""
        until_s = time.monotonic() + _PATIENCE_S
        while True:
            self.release()
            for robot in ROBOTS:
                step = {"id": "s", "skill": "jog", "robot": robot, "values": {}, "after": []}
                graph = {"goal": [], "steps": [step]}
                body = {"instruction": f"jog {robot}", "graph": graph}
                with contextlib.suppress(SafetyError):  # it may be away just now
                    asked = self.call("POST", "/tasks", body, "operate")
                    self._tasks.append(asked["task"])
            try:
                return _wait(self._all_move, "all robots to move", within_s=8.0)
            except SafetyError:
                if time.monotonic() > until_s:
                    raise

    def _all_move(self) -> bool:
        now_s = time.monotonic()
        changes = [read_changes(self.folder, robot) for robot in ROBOTS]
        return all(len(c) and not c[-1, 1] and now_s - c[-1, 0] > 0.2 for c in changes)

    def be_preferred(self, nice: int) -> bool:
        """Ask the scheduler for a niceness of the fleet's session; tell whether it was granted."""
        return _be_preferred(self._pid, nice)

    def press(self, route: str, condition: str) -> Press | None:
        """Press, wait until every drive has stopped, and see that all stay where they are.

        Returns:
            None if a robot stood already, for a reason of its own.
        """
        pressed_s = self.routes[route]()
        while time.monotonic() - pressed_s < GIVEN_UP_S and not self._all_stand():
            time.sleep(0.005)
        time.sleep(STAYS_S)
        stops = {}
        for robot in ROBOTS:
            changes = read_changes(self.folder, robot)
            if changes[changes[:, 0] <= pressed_s][-1, 1]:
                return None
            after = changes[(changes[:, 0] > pressed_s) & (changes[:, 1] > 0)]
            stops[robot] = float(after[0, 0]) if len(after) else pressed_s + GIVEN_UP_S
        changes = {robot: read_changes(self.folder, robot) for robot in ROBOTS}
        line = self._line.read()
        down = line is not None and line.state is LineState.DOWN
        return Press(
            condition=condition,
            route=route,
            line_s=line.since_s - pressed_s if line and down else float("nan"),
            drives_s={robot: at_s - pressed_s for robot, at_s in stops.items()},
            stayed=all(c[-1, 1] and c[-1, 0] == stops[r] for r, c in changes.items()),
        )

    def _all_stand(self) -> bool:
        return all(read_changes(self.folder, robot)[-1, 1] for robot in ROBOTS)

    def release(self) -> None:
        """End the tasks, and release what is stopped, as an operator does, until nothing is."""
        while self._tasks:
            self.call("POST", f"/tasks/{self._tasks.pop()}/cancel", {}, "operate")
        until_s = time.monotonic() + _PATIENCE_S
        while self._is_stopped():
            if time.monotonic() > until_s:
                raise SafetyError("the fleet is not released")
            try:
                signature = self.site.sign_releases(None, "a trial is over")
                body = {"robot": None, "by": "operator", "signature": signature}
                self.call("POST", "/release", body, "resume")
            except SafetyError:
                time.sleep(0.1)  # a stop that is not written down yet cannot be signed for
            time.sleep(0.05)

    def _is_stopped(self) -> bool:
        line = self._line.read()
        robots = self.call("GET", "/robots", {}, "observe")["robots"]
        return (
            line is None
            or line.state is not LineState.UP
            or any(self.site.agents.glob("*.stop"))
            or any(robot["stopped"] for robot in robots)
        )

    def close(self) -> None:
        self._console.close()
        self._line.close()


def _be_preferred(pid: int, nice: int) -> bool:
    try:
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
    except OSError:
        return False
    return True


def _wait(look: Callable[[], Any], what: str, *, within_s: float = _PATIENCE_S) -> Any:
    until_s = time.monotonic() + within_s
    while not (found := look()):
        if time.monotonic() > until_s:
            raise SafetyError(f"waited {within_s:g} s for {what}")
        time.sleep(0.005)
    return found


@contextmanager
def jogging_fleet(folder: Path, priority: int = 0) -> Iterator[JoggingFleet]:
    """Run the fleet in a process of its own, until the block ends; see ``be_fleet``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.robot_stop_fleet", "fleet", str(folder), str(priority)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *_paths()])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        _be_preferred(process.pid, -10)  # it is about thirty processes that all begin at once
        fleet = JoggingFleet(folder, process.pid, json.loads(process.stdout.readline()))
        try:
            yield fleet
        finally:
            fleet.close()
    finally:
        process.communicate("", timeout=60.0)


def _paths() -> list[str]:
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep processes spinning at ordinary priority, each in a session of its own."""
    spin = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    spinning = [
        subprocess.Popen([sys.executable, "-c", spin], start_new_session=True) for _ in range(count)
    ]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def report(bench: Benchmark, presses: list[Press]) -> None:
    """Add what was measured, by condition and route."""
    by_condition: dict[str, list[Press]] = defaultdict(list)
    for press in presses:
        by_condition[press.condition].append(press)
    for place, (title, found) in enumerate(by_condition.items()):
        report_condition(bench, title, found, target="<= 50" if place == 0 else "")
    bench.add(
        Measurement(
            metric="presses after which a robot moved again before the release",
            value=float(sum(not p.stayed for p in presses)),
            unit="presses",
            n=len(presses),
            target="<= 0",
        )
    )


def report_condition(bench: Benchmark, title: str, presses: list[Press], target: str) -> None:
    """Add the quantiles of all routes and of each, and where the time went."""
    by_route: dict[str, list[Press]] = defaultdict(list)
    for press in presses:
        by_route[press.route].append(press)
    for route, found in (("any route", presses), *by_route.items()):
        last_ms = np.array([1e3 * p.last_s for p in found])
        quantiles = {
            "p50": np.median(last_ms),
            "p99": np.quantile(last_ms, 0.99),
            "longest": last_ms.max(),
        }
        for name in quantiles if found is presses else ("p50", "longest"):
            value = quantiles[name]
            bench.add(
                Measurement(
                    metric=f"{title}: {route}, press to the last robot's motors, {name}",
                    value=float(value),
                    unit="ms",
                    n=len(found),
                    target=target if name == "p99" else "",
                )
            )
        line_ms = np.array([1e3 * p.line_s for p in found])
        if not np.isnan(line_ms).any():
            bench.note(
                f"{title}, {route}: press to the line down {np.median(line_ms):.1f} ms (median), "
                f"from there to the last motors {np.median(last_ms - line_ms):.1f} ms"
            )
        bench.details.append(
            {
                "condition": title,
                "route": route,
                "last_ms": [round(x, 2) for x in last_ms.tolist()],
                "first_ms": [round(1e3 * min(p.drives_s.values()), 2) for p in found],
                "line_ms": [None if np.isnan(x) else round(x, 2) for x in line_ms.tolist()],
            }
        )


def try_condition(
    bench: Benchmark, fleet: JoggingFleet, condition: Condition, dice: random.Random
) -> list[Press]:
    """Press over every route, in turns."""
    if not fleet.be_preferred(condition.nice):
        bench.note(f"{condition.title}: the kernel does not grant nice {condition.nice}")
    rounds = 2 if bench.quick else condition.rounds
    presses: list[Press] = []
    stood = 0
    turns = [route for _ in range(rounds) for route in fleet.routes]
    until_s = time.monotonic() + condition.within_s
    for route in bench.track(turns, condition.title):
        if time.monotonic() > until_s:
            bench.note(f"{condition.title}: out of time after {len(presses)} of {len(turns)}.")
            break
        fleet.get_moving()
        time.sleep(dice.uniform(0.0, 0.1))
        press = fleet.press(route, condition.title)
        stood += press is None
        presses += [] if press is None else [press]
        fleet.release()
    if stood:
        bench.note(
            f"{condition.title}: {stood} presses are not counted, a robot stood already: its guard "
            "or drive had waited too long for somebody on the busy machine."
        )
    return presses


def main() -> None:
    dice = random.Random(SEED)
    presses: list[Press] = []
    title = "From a press of stop to every robot's motors"
    with (
        Benchmark("robot_stop", title, seeds=(SEED,)) as bench,
        tempfile.TemporaryDirectory(prefix="robot-stop-") as place,
    ):
        for priority in sorted({c.priority for c in CONDITIONS}):
            with jogging_fleet(Path(place) / f"fleet-{priority}", priority) as fleet:
                for condition in (c for c in CONDITIONS if c.priority == priority):
                    with busy(SPINNERS):
                        presses += try_condition(bench, fleet, condition, dice)
                    fleet.be_preferred(-10)
        report(bench, presses)
        bench.note(
            f"{len(ROBOTS)} robots with physics at 100 Hz, watchdog at 50 Hz, {SPINNERS} spinning "
            f"processes, {os.cpu_count()} cores."
        )


if __name__ == "__main__":
    main()
