"""The processes of a fleet's robots: started, watched, and started again when one dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from loopwright.robot.fleet.site import FleetSite

_LOOK_EVERY_S = 0.2
_AGAIN_AFTER_S = (0.2, 1.0, 5.0, 30.0)
"""How long a robot that died is left alone, by how often it has died; the last for ever."""
_WELL_AFTER_S = 60.0
"""Who lived so long died for another reason than the last time."""


class RobotProcesses:
    """One process a robot, alive as long as the fleet is."""

    def __init__(
        self, site: FleetSite, robots: Sequence[str], bus: str, on_death: Callable[[str], None]
    ) -> None:
        """Start them.

        Args:
            site: The fleet's folder.
            robots: Names.
            bus: Endpoint of the coordinator's peer on the bus.
            on_death: Told the name of a robot whose process has died, as soon as that is seen.
        """
        self._site, self._bus, self._on_death = site, bus, on_death
        self._ending = threading.Event()
        self._deaths = dict.fromkeys(robots, 0)
        self._dead: set[str] = set()
        self._started_s: dict[str, float] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {r: self._start(r) for r in robots}
        """Robot to its process."""
        self._watch = threading.Thread(target=self._keep_alive, name="robots", daemon=True)
        self._watch.start()

    def close(self, within_s: float = 10.0) -> None:
        """End them all, each at rest."""
        self._ending.set()
        self._watch.join(timeout=within_s)
        for process in self.running.values():
            process.terminate()
        until_s = time.monotonic() + within_s
        for process in self.running.values():
            try:
                process.wait(max(0.1, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, robot: str) -> subprocess.Popen[bytes]:
        self._started_s[robot] = time.monotonic()
        module = "loopwright.robot.fleet.robot_process"
        command = [sys.executable, "-m", module, str(self._site.folder), robot, self._bus]
        with (self._site.agents / f"{robot}.err").open("ab") as said:
            return subprocess.Popen(
                [*command, "--parent", str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def _keep_alive(self) -> None:
        while not self._ending.wait(_LOOK_EVERY_S):
            for robot, process in list(self.running.items()):
                if process.poll() is None:
                    continue
                if robot not in self._dead:
                    self._dead.add(robot)
                    self._on_death(robot)
                if self._may_start(robot):
                    self._dead.discard(robot)
                    self.running[robot] = self._start(robot)

    def _may_start(self, robot: str) -> bool:
        """Tell whether a dead robot was left alone long enough; counts the death when it was."""
        lived_s = time.monotonic() - self._started_s[robot]
        if lived_s > _WELL_AFTER_S:
            self._deaths[robot] = 0
        wait_s = _AGAIN_AFTER_S[min(self._deaths[robot], len(_AGAIN_AFTER_S) - 1)]
        if lived_s < wait_s:
            return False
        self._deaths[robot] += 1
        return True


@contextmanager
def run_robots(
    site: FleetSite, robots: Sequence[str], bus: str, on_death: Callable[[str], None]
) -> Iterator[RobotProcesses]:
    """Run the robots' processes for the length of a block; see :class:`RobotProcesses`."""
    processes = RobotProcesses(site, robots, bus, on_death)
    try:
        yield processes
    finally:
        processes.close()
