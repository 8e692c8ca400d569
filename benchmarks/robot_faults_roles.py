"""The processes of ``robot_faults``: ``robot_faults_roles ROLE FOLDER [NAME]``.

World, bus, coordinator, and one process a robot; each is what the product gives, with nothing
beside it but a way to be asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.robot_faults_world import (
    WorldRunner,
    end_with_parent,
    serve_world,
    skills_of,
    things,
)
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.brain.default import SymbolicBrain
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.journal.journal import Journal
from loopwright.robot.memory.memory import Memory
from loopwright.robot.wires.membership import Membership
from loopwright.robot.wires.zenoh_bus import ZenohBus, ZenohSettings


def main() -> None:
    role, folder = sys.argv[1], Path(sys.argv[2])
    end_with_parent()
    ports = json.loads((folder / "ports.json").read_text())
    if role == "world":
        serve_world(folder / "world.sock")
    elif role == "bus":
        asyncio.run(relay(ports["bus"], ports["coordinator"]))
    elif role == "coordinator":
        coordinate(folder, ports["coordinator"])
    else:
        serve_robot(folder, sys.argv[3], ports["bus"])


async def relay(listen: int, to: int) -> None:
    """Be the bus: carry bytes between the robots and the coordinator, and know nothing of them."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", to)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    server = await asyncio.start_server(connected, "127.0.0.1", listen)
    await server.serve_forever()


def coordinate(folder: Path, port: int) -> None:
    """Be the brain: coordinator, journal, memory and planner; tasks are asked for on a socket."""
    bus = ZenohBus(
        ZenohSettings(name="coordinator", listen=f"tcp/127.0.0.1:{port}", gossip=False),
        Membership.read(folder, "coordinator"),
    )
    world = things()
    coordinator = Coordinator(
        journal=Journal(folder / "journal.db"),
        memory=Memory(folder / "memory.db", world),
        brain=SymbolicBrain(world),
        bus=bus,
    )
    coordinator.start()

    class Asked(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                task = coordinator.ask(json.loads(line)["instruction"], by="judge")
                self.wfile.write(json.dumps(task).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def service_actions(self) -> None:
            if coordinator.failure is not None:
                print(f"the coordinator failed: {coordinator.failure!r}", file=sys.stderr)
                os._exit(1)

    path = folder / "coordinator.sock"
    path.unlink(missing_ok=True)
    with Server(str(path), Asked) as server:
        server.serve_forever(poll_interval=0.5)


def serve_robot(folder: Path, robot: str, port: int) -> None:
    """Be one robot."""
    bus = ZenohBus(
        ZenohSettings(name=robot, connect=(f"tcp/127.0.0.1:{port}",), gossip=False),
        Membership.read(folder, robot),
    )
    skills, parts = skills_of(robot)
    agent: Any = Agent(
        robot=robot,
        parts=parts,
        skills=skills,
        runner=WorldRunner(robot, folder / "world.sock"),
        log=IntentLog(folder / f"{robot}.log"),
        bus=bus,
    )
    agent.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
