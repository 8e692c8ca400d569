"""The motors of a robot of the warehouse, as its drive has them in its hands."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from loopwright.core.errors import SafetyError
from loopwright.robot.drivers.warehouse.signals import (
    Wanted,
    WorldSignals,
    read_state,
    write_wanted,
)
from loopwright.safety.body import Measured, RobotEntry
from loopwright.simulation.warehouse.model import arms_of, coordinates_of

_BEGIN_WITHIN_S = 20.0


class WarehouseActuators:
    """Tells the world what one robot wants, and reads its sensors."""

    def __init__(self, robot: str, folder: Path) -> None:
        """Become the one drive of a robot.

        Raises:
            SafetyError: The world does not run.
        """
        self._robot, signals = robot, WorldSignals(folder)
        signals.create()
        self._wanted, self._state = signals.wanted_writer(robot), signals.state_reader(robot)
        self._still = np.zeros(len(coordinates_of(robot)) + len(arms_of(robot)))
        self._closed = False
        until_s = time.monotonic() + _BEGIN_WITHIN_S
        while read_state(self._state, robot) is None:
            if time.monotonic() > until_s:
                raise SafetyError(f"the simulated world in {folder} does not run; start it first")
            time.sleep(0.01)

    def measure(self) -> Measured:
        """Return what the sensors say, with the time of their reading."""
        state = read_state(self._state, self._robot)
        assert state is not None
        return Measured(position=state.position, speed=state.speed, time_s=state.time_s)

    def write(self, applied: np.ndarray) -> None:
        """Follow a command until the next one."""
        self._tell(applied, stopping=False)

    def stop(self) -> None:
        """Be in the safe state until the next command."""
        self._tell(self._still, stopping=True)

    def _tell(self, applied: np.ndarray, *, stopping: bool) -> None:
        wanted = Wanted(time_s=time.monotonic(), stopping=stopping, applied=applied)
        write_wanted(self._wanted, wanted)

    def close(self) -> None:
        """End in the safe state; the world stops robots whose drive is silent."""
        if not self._closed:
            self._closed = True
            self.stop()
            self._wanted.close()
            self._state.close()


def make_actuators(*, robot: str, entry: RobotEntry, world: str) -> WarehouseActuators:
    """Make the actuators of a robot.

    Args:
        robot: Its name.
        entry: How to come by its body; not needed here.
        world: Folder of the world's shared memory.
    """
    return WarehouseActuators(robot, Path(world))
