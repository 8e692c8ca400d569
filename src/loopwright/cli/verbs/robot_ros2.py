"""``loopwright robot ros2``: a fleet on a ROS 2 network."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from loopwright.cli.fleet_door import DEFAULT_FOLDER, fleet_door, journal_of, site_of
from loopwright.core.errors import InvalidConfig
from loopwright.robot.access import Access
from loopwright.robot.fleet.site import FleetSilent
from loopwright.robot.wires.views import event_view

_SILENT_FOR_S = 10.0


def main(
    *,
    folder: Path = DEFAULT_FOLDER,
    connect: Annotated[tuple[str, ...], tyro.conf.arg(metavar="ENDPOINT")] = (
        "tcp/127.0.0.1:7447",
    ),
    domain: int = 0,
    rate_hz: float = 5.0,
    operate: bool = False,
    beyond_loopback: bool = False,
) -> int:
    """Show a running fleet to ROS 2, without ROS installed: /tf, robots, events.

    It speaks to the router of rmw_zenoh. With --operate it also hears /loopwright/ask and
    /loopwright/stop (std_msgs/String). Ends with control-c, or when the fleet has ended.

    Args:
        folder: The fleet's folder.
        connect: Where rmw_zenoh's router listens.
        domain: ROS_DOMAIN_ID.
        rate_hz: How often it tells how the fleet stands.
        operate: Let whoever is on that ROS network instruct the fleet: ROS has no roles.
        beyond_loopback: Allow endpoints on other machines.
    """
    from loopwright.robot.wires.ros2 import RosBridge, RosSettings
    from loopwright.robot.wires.ros2_fleet import FleetOnRos

    if not 0.1 <= rate_hz <= 50.0:
        raise InvalidConfig(f"--rate-hz {rate_hz:g} is not between 0.1 and 50")
    site, role = site_of(folder), "operate" if operate else "observe"
    settings = RosSettings(connect=connect, domain=domain, beyond_loopback=beyond_loopback)
    access = Access.read(site.tokens)
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        door = stack.enter_context(fleet_door(site, role))
        known = int(door.ask("GET", "/fleet")["number"])
        bridge = stack.enter_context(closing(RosBridge(settings, access, access.tokens[role])))
        journal = stack.enter_context(journal_of(folder))
        ros = FleetOnRos(door, bridge)
        if operate:
            ros.hear()
        heard = "; hears /loopwright/ask and /loopwright/stop" if operate else ""
        console.print(f"on ROS domain {domain} by {', '.join(connect)}: /tf, /loopwright/*{heard}")
        answered_s = time.monotonic()
        while time.monotonic() - answered_s < _SILENT_FOR_S:
            entries = list(journal.entries(since=known))
            try:
                ros.tell([event_view(entry) for entry in entries])
            except FleetSilent:
                pass  # it may be busy; it has ended if that lasts
            else:
                known = entries[-1].number if entries else known
                answered_s = time.monotonic()
            time.sleep(1.0 / rate_hz)
    console.print(f"the fleet has not answered for {_SILENT_FOR_S:g} s")
    return 1
