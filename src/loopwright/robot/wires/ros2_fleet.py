"""A fleet as ROS 2 sees it: where things are, how robots stand, what happens; and who may ask it.

============================  ======================  ===========================================
topic                         type                    what
============================  ======================  ===========================================
``/tf``                       tf2_msgs/TFMessage      where robots and things are believed to be
``/loopwright/robots``        std_msgs/String (JSON)  how the robots stand, and who directs them
``/loopwright/events``        std_msgs/String (JSON)  what is written into the journal
``/loopwright/asked``         std_msgs/String (JSON)  an instruction and its task, or why not
``/loopwright/ask`` (heard)   std_msgs/String         an instruction
``/loopwright/stop`` (heard)  std_msgs/String         the robot to stop at once; empty stops all
============================  ======================  ===========================================
"""

from __future__ import annotations

import json
import logging
import queue
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from loopwright.core.errors import LoopwrightError
from loopwright.robot.wires.ros2 import TEXT, TRANSFORMS, RosBridge

_log = logging.getLogger(__name__)
_MOST_WAITING = 100
"""Instructions that are held while the fleet does not answer."""


class Asks(Protocol):
    """The way to a fleet, as its HTTP door has it."""

    def ask(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """Return what the fleet answers to a request.

        Raises:
            LoopwrightError: It does not answer, or refuses.
        """
        ...


class FleetOnRos:
    """Shows a fleet on a ROS 2 network."""

    def __init__(self, door: Asks, bridge: RosBridge) -> None:
        """Announce the topics.

        Args:
            door: The way to the fleet.
            bridge: The node; if it may operate, :meth:`hear` lets ROS instruct the fleet.
        """
        self._door, self._bridge = door, bridge
        self._transforms = bridge.publisher("/tf", TRANSFORMS)
        self._robots = bridge.publisher("/loopwright/robots", TEXT)
        self._events = bridge.publisher("/loopwright/events", TEXT)
        self._asked = bridge.publisher("/loopwright/asked", TEXT)
        self._waiting: queue.Queue[str] = queue.Queue(_MOST_WAITING)

    def hear(self) -> None:
        """Take instructions and stops from ROS.

        Raises:
            NotAllowedHere: The token of the bridge may not operate.
        """
        self._bridge.on_text("/loopwright/ask", self._hear_instruction)
        self._bridge.on_text("/loopwright/stop", self._stop)

    def tell(self, events: Sequence[Mapping[str, Any]] = ()) -> None:
        """Tell how the fleet stands, and ask it what was asked on ROS since.

        Args:
            events: What has happened since the last time.

        Raises:
            LoopwrightError: The fleet does not answer.
        """
        fleet = self._door.ask("GET", "/fleet")
        stand = {key: fleet[key] for key in ("time_s", "failure", "robots")}
        self._say(self._robots, stand)
        things = self._door.ask("GET", "/memory")["things"]
        poses = {
            thing["name"]: (*thing["where"]["position_m"], *thing["where"]["quaternion_wxyz"])
            for thing in things
            if thing["where"]
        }
        self._transforms.publish(self._bridge.transforms(poses, time_s=float(fleet["time_s"])))
        for event in events:
            self._say(self._events, event)
        while True:
            try:
                instruction = self._waiting.get_nowait()
            except queue.Empty:
                return
            self._ask(instruction)

    def _hear_instruction(self, instruction: str) -> None:
        with suppress(queue.Full):
            self._waiting.put_nowait(instruction)
            return
        self._say(self._asked, {"instruction": instruction, "refused": "too many are waiting"})

    def _ask(self, instruction: str) -> None:
        try:
            said = self._door.ask("POST", "/tasks", json={"instruction": instruction})
            self._say(self._asked, {"instruction": instruction, "task": said["task"]})
        except LoopwrightError as error:
            self._say(self._asked, {"instruction": instruction, "refused": str(error)})

    def _stop(self, robot: str) -> None:
        """In the thread that hears: a stop waits for nothing else."""
        try:
            self._door.ask("POST", "/stop", json={"robot": robot.strip()} if robot.strip() else {})
        except LoopwrightError as error:
            _log.error("a stop asked for on ROS: %s", error)
            self._say(self._asked, {"stop": robot, "refused": str(error)})

    def _say(self, publisher: Any, plain: Mapping[str, Any]) -> None:
        publisher.publish(self._bridge.text(json.dumps(plain, ensure_ascii=False)))
