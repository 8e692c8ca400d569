"""One robot with RoboOS's skill file, driven by curl and by the SDK's own client, by role."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from toy_robots import ToyBrain, ToyWorld
from wires_fleet import PlacesAndFacts

from loopwright.robot.access import Access, AccessRole
from loopwright.robot.agent.agent import Agent
from loopwright.robot.agent.intents import IntentLog
from loopwright.robot.bus import LocalBus
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.coordinator.moves import Rules
from loopwright.robot.journal.journal import Journal
from loopwright.robot.logic import conditions
from loopwright.robot.wires.http import make_app
from loopwright.robot.wires.roboskill import Promise, SkillFile, SkillFileRunner
from loopwright.robot.wires.serve import serve

FILE = Path(__file__).with_name("wires_skill_file.py")
TO_THE_DOOR = {
    "instruction": "to the door",
    "graph": {
        "goal": ["at(r1, door)"],
        "steps": [
            {"id": "s", "skill": "navigate-to-target", "robot": "r1", "values": {"target": "door"}}
        ],
    },
}


@dataclass
class FileFleet:
    url: str
    access: Access
    world: ToyWorld
    coordinator: Coordinator

    def curl(self, role: AccessRole | None, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the status and what was said."""
        command = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", f"{self.url}{path}"]
        if role:
            command += ["-H", f"Authorization: Bearer {self.access.tokens[role]}"]
        if body is not None:
            command += ["-d", json.dumps(body)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(said)

    def tool(self, role: AccessRole, name: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.access.tokens[role]}"}

        async def drive() -> Any:
            async with (
                httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
                Client(streamable_http_client(f"{self.url}/mcp", http_client=http)) as client,
            ):
                return await client.call_tool(name, arguments)

        return asyncio.run(drive())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileFleet]:
    folder = tmp_path_factory.mktemp("file-fleet")
    with ExitStack() as stack:
        bus, journal, world = LocalBus(), Journal(folder / "journal.db"), ToyWorld()
        memory = PlacesAndFacts(folder / "memory.db")
        coordinator = Coordinator(
            journal=journal,
            memory=memory,
            brain=ToyBrain(),
            bus=bus,
            rules=Rules(patience_s=0.3, grace_s=0.5, attempts=1, plans=1),
        )
        promise = Promise(ensures=("at(?robot, ?target)",))
        runner = SkillFileRunner(
            SkillFile(path=FILE, promises={"navigate_to_target": promise}),
            look=lambda: world.sightings("r1"),
        )
        stack.callback(runner.close)
        agent = Agent(
            robot="r1",
            parts=frozenset({"base"}),
            skills=runner.skills,
            runner=runner,
            log=IntentLog(folder / "r1.log"),
            bus=bus,
        )
        coordinator.start()
        stack.callback(coordinator.close)
        agent.start()
        stack.callback(agent.close)
        until_s = time.monotonic() + 10.0
        while not coordinator.look_at(lambda s: s.robots):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        access = Access.create(folder / "tokens.json")
        server = stack.enter_context(serve(make_app(coordinator, memory, access, journal)))
        yield FileFleet(server.url, access, world, coordinator)


@pytest.mark.parametrize(("where", "outcome"), [("door", "succeeded"), ("bench", "failed")])
def test_curl_has_a_skill_file_run_and_hears_what_the_world_says(
    fleet: FileFleet, where: str, outcome: str
) -> None:
    fleet.world.true = {c.fact for c in conditions(f"at(r1, {where})")}
    status, asked = fleet.curl("operate", "/tasks", TO_THE_DOOR)
    assert status == 201
    status, result = fleet.curl("observe", f"/tasks/{asked['task']}/result?wait_s=20")
    assert (status, result["outcome"]) == (200, outcome)
    _, task = fleet.curl("observe", f"/tasks/{asked['task']}")
    assert [a["claim"] for a in task["attempts"]] == ["finished"]


@pytest.mark.parametrize(("where", "outcome"), [("door", "succeeded"), ("bench", "failed")])
def test_an_mcp_client_calls_the_tool_of_a_skill_file_through_the_fleet(
    fleet: FileFleet, where: str, outcome: str
) -> None:
    fleet.world.true = {c.fact for c in conditions(f"at(r1, {where})")}
    answer = fleet.tool("operate", "skill_navigate-to-target", target="door")
    assert answer.structured_content["outcome"] == outcome
    assert answer.is_error is (outcome != "succeeded")


@pytest.mark.parametrize(
    ("role", "status"), [(None, 401), ("observe", 403), ("train", 403), ("resume", 403)]
)
def test_curl_with_no_token_or_the_wrong_role_moves_and_stops_nothing(
    fleet: FileFleet, role: AccessRole | None, status: int
) -> None:
    before = fleet.coordinator.look_at(lambda s: (len(s.tasks), dict(s.stops)))
    for path, body in (
        ("/tasks", TO_THE_DOOR),
        ("/publish_task", {"task": "ring north"}),
        ("/stop", {}),
    ):
        assert fleet.curl(role, path, body)[0] == status
    if role:
        answer = fleet.tool(role, "skill_navigate-to-target", target="door")
        assert answer.structured_content["error"] == "not-allowed"
    assert fleet.coordinator.look_at(lambda s: (len(s.tasks), dict(s.stops))) == before
