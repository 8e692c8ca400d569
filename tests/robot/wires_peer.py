"""A peer in a process of its own: ``python wires_peer.py ROLE NAME ENDPOINT FOLDER``.

In ``FOLDER`` are secret, ring and its key; its log comes there.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from toy_robots import SKILLS, ToyRunner, ToyWorld

from loopwright.robot import messages as say
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.wires.membership import Membership
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings


def main() -> None:
    role, name, endpoint, folder = sys.argv[1:]
    membership = Membership.read(Path(folder), name)
    bus = ZenohBus(ZenohSettings(name=name, connect=(endpoint,)), membership)
    if role == "echo":

        def answer(message: say.Message) -> None:
            if isinstance(message, say.Inquire):
                bus.publish(
                    say.REPORTS,
                    say.Standing(robot=name, intent=message.intent, standing="running"),
                )

        bus.subscribe(say.orders_to(name), answer)
    elif role == "traitor":
        betray(bus, name)
    else:
        runner = ToyRunner(name, ToyWorld(), lasts_s=60.0 if role == "slow-robot" else 0.0)
        Agent(
            robot=name,
            parts=frozenset({"arm", "base"}),
            skills=SKILLS,
            runner=runner,
            log=IntentLog(Path(folder) / f"{name}.log"),
            bus=bus,
        ).start()
    threading.Event().wait()


def betray(bus: ZenohBus, name: str) -> NoReturn:
    """Say again and again what is the coordinator's or r2's to say, and one honest word."""
    order = say.RunSkill(
        coordinator_epoch=1,
        robot_epoch=1,
        intent="i-1",
        trace="",
        skill="ring",
        values={},
        longest_s=1.0,
    )
    ended = say.Ended(robot="r2", intent="i-1", claim="finished", reason="", lasted_s=1.0)
    while True:
        bus.publish(say.orders_to("r2"), order)
        bus.publish(say.orders_to("r2"), ended)
        bus.publish(say.ALL_ROBOTS, say.Release(by="coordinator", signature="[]"))
        bus.publish(say.ALL_ROBOTS, say.Stop(by="r2"))
        bus.publish(say.COORDINATOR, say.CoordinatorPulse(epoch=99))
        bus.publish(say.REPORTS, ended)
        bus.publish(say.REPORTS, say.Seen(by="r2", sightings=()))
        bus.publish(say.REPORTS, say.CoordinatorPulse(epoch=99))
        pulse = say.RobotPulse(robot=name, incarnation="1", running=(), held="")
        bus.publish(say.REPORTS, pulse)
        time.sleep(0.02)


main()
