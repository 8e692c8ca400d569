"""The process of one robot: ``python -m loopwright.robot.fleet.robot_process SITE ROBOT BUS``.

It holds the robot's agent and cerebellum, is the one policy of its guard, and ends when the fleet
that started it does, or when it hears no more. Whatever becomes of it, guard, drive and watchdog
are processes of their own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from loopwright.robot.fleet.site import FleetSite
from loopwright.robot.fleet.warehouse import RobotAgent
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings
from loopwright.safety.guard.process import Ending

_LOOK_EVERY_S = 0.1


def main() -> None:
    """Be the robot that the arguments name."""
    parser = argparse.ArgumentParser(prog="loopwright.robot.fleet.robot_process")
    parser.add_argument("site", type=Path)
    parser.add_argument("robot")
    parser.add_argument("bus", help="endpoint of the coordinator's peer")
    parser.add_argument("--parent", type=int)
    given = parser.parse_args()
    ended, site = Ending(given.parent), FleetSite(given.site)
    settings = ZenohSettings(name=given.robot, connect=(given.bus,))
    bus = ZenohBus(settings, site.membership(given.robot))
    robot = RobotAgent(site, given.robot, bus)
    robot.start()
    try:
        # One that hears no more is of no use; the fleet starts another.
        while not (ended() or robot.agent.is_deaf):
            time.sleep(_LOOK_EVERY_S)
    finally:
        robot.close()
        bus.close()


if __name__ == "__main__":
    main()
