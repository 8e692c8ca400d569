"""A peer in a process of its own: ``python wires_peer.py ROLE NAME ENDPOINT SECRET FOLDER``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from toy_robots import SKILLS, ToyRunner, ToyWorld

from loopwright.robot import messages as say
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.wires.secret import FleetSecret
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings


def main() -> None:
    role, name, endpoint, secret, folder = sys.argv[1:]
    bus = ZenohBus(
        ZenohSettings(name=name, connect=(endpoint,)), FleetSecret(bytes.fromhex(secret))
    )
    if role == "echo":

        def answer(message: say.Message) -> None:
            if isinstance(message, say.Inquire):
                bus.publish(
                    say.REPORTS,
                    say.Standing(robot=name, intent=message.intent, standing="running"),
                )

        bus.subscribe(say.orders_to(name), answer)
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


main()
