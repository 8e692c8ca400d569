"""The fleet over MCP, driven by the SDK's own client over HTTP and over stdio."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from toy_robots import go, ring
from wires_fleet import OpenFleet, open_fleet

from loopwright.robot.access import AccessRole
from loopwright.robot.logic import conditions
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Parameter, SkillContract, SkillSet
from loopwright.robot.wires.patience import Patience
from loopwright.robot.wires.tools import Caller, tools_of

T = TypeVar("T")

SEES = {
    "task_result",
    "task_list",
    "task_show",
    "events",
    "robots",
    "memory_list",
    "memory_where",
}
OPERATES = {
    "task_ask",
    "task_cancel",
    "task_pause",
    "task_resume",
    "stop",
    "skill_go",
    "skill_ring",
}
TOOLS: dict[AccessRole, set[str]] = {
    "observe": SEES,
    "train": SEES,
    "operate": SEES | OPERATES,
    "resume": SEES | {"release"},
}
EXAMPLES: dict[str, dict[str, Any]] = {
    "task_ask": {"instruction": "ring north"},
    "task_result": {"task": "t-none"},
    "task_show": {"task": "t-none"},
    "task_cancel": {"task": "t-none"},
    "task_pause": {"task": "t-none"},
    "task_resume": {"task": "t-none"},
    "memory_where": {"thing": "red-cube"},
    "skill_go": {"start": "north", "goal": "south"},
    "skill_ring": {"bell": "north"},
    "release": {"by": "ann", "signature": "s"},
}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[OpenFleet]:
    with open_fleet(tmp_path) as fleet:
        yield fleet


def through(fleet: OpenFleet, role: AccessRole | None, act: Callable[[Client], Awaitable[T]]) -> T:
    headers = {"Authorization": f"Bearer {fleet.access.tokens[role]}"} if role else {}

    async def drive() -> T:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=30.0) as http,
            Client(streamable_http_client(f"{fleet.server.url}/mcp", http_client=http)) as client,
        ):
            return await act(client)

    return asyncio.run(drive())


def call(client: Client, name: str, **arguments: Any) -> Awaitable[Any]:
    return client.call_tool(name, arguments)


def test_skills_are_tools_with_types_and_promises(fleet: OpenFleet) -> None:
    async def act(client: Client) -> Any:
        return {tool.name: tool for tool in (await client.list_tools()).tools}

    tools = through(fleet, "operate", act)
    go = tools["skill_go"]
    assert set(go.input_schema["required"]) == {"start", "goal"}
    assert go.input_schema["additionalProperties"] is False
    assert go.input_schema["properties"]["robot"]["enum"] == ["r1"]
    assert "Requires: at(?robot, ?start)" in go.description
    assert "Ensures: at(?robot, ?goal), not at(?robot, ?start)" in go.description


def test_each_robot_is_asked_for_what_it_promises_itself(tmp_path: Path) -> None:
    stays = replace(go.contract, ensures=conditions("at(?robot, ?goal)"))
    louder = replace(ring.contract, parameters=(Parameter(name="tower", kind="place"),), ensures=())
    second = SkillSet(replace(go, contract=stays), replace(ring, contract=louder))

    async def act(client: Client) -> Any:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        return tools, [
            await call(client, "skill_go", start="north", goal="south", robot=robot)
            for robot in ("r2", "r1")
        ]

    with open_fleet(tmp_path, second=second) as fleet:
        start = conditions("at(r1, north)", "at(r2, north)")
        fleet.runner.world.apply("at the beginning", "start", start)
        fleet.memory.take(fleet.runner.look())
        tools, driven = through(fleet, "operate", act)
    for done in driven:
        assert done.structured_content["outcome"] == "succeeded", done.structured_content
    told = tools["skill_go"].description
    assert told.count("Requires:") == 2
    assert "Ensures: at(?robot, ?goal). At most 30 s. Robots: r2." in told
    assert set(tools["skill_ring"].input_schema["required"]) == {"bell"}
    assert set(tools["skill_ring_of_r2"].input_schema["required"]) == {"tower"}


def test_a_call_is_written_down_in_the_order_of_its_parameters() -> None:
    letters = "qwertyuiop"
    contract = SkillContract(
        name="spell", parameters=tuple(Parameter(name=n, kind="text") for n in letters)
    )
    said: list[str] = []

    class Desk:
        def skills(self) -> dict[str, dict[str, SkillContract]]:
            return {"spell": {"r1": contract}}

        def ask(self, instruction: str, **rest: Any) -> str:
            said.append(instruction)
            return "t-1"

        def awaited(self, task: str) -> dict[str, Any]:
            return {"status": "ended", "outcome": "succeeded"}

    desk: Any = Desk()
    given = {name: name.upper() for name in sorted(letters)}
    asyncio.run(tools_of(desk)["skill_spell"].call(Caller(desk, Patience(), "ann"), given))
    assert said == ["spell(Q, W, E, R, T, Y, U, I, O, P)"]


def test_a_stop_is_told_although_the_tools_of_the_fleet_cannot_be_listed(fleet: OpenFleet) -> None:
    def press() -> None:
        through(fleet, "operate", lambda client: call(client, "stop"))

    with fleet.held():
        presser = threading.Thread(target=press)
        presser.start()
        until_s = time.monotonic() + 10.0
        while not fleet.runner.latched:
            assert time.monotonic() < until_s
            time.sleep(0.01)
    presser.join()


@pytest.mark.parametrize(
    "arguments",
    [
        '{"instruction": "ring \\ud800"}',
        '{"instruction": "ring north", "deadline_s": 1e999}',
        '{"graph": {"steps": [{"id": "\\udfff"}]}, "instruction": "x"}',
    ],
)
def test_what_cannot_be_written_down_does_not_come_in(fleet: OpenFleet, arguments: str) -> None:
    call_of = '{"name": "task_ask", "arguments": %s}' % arguments  # noqa: UP031 - it is JSON
    body = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": %s}' % call_of  # noqa: UP031
    head = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    with fleet.client("operate") as client:
        answer = client.post("/mcp", content=body, headers=head)
    assert answer.status_code in (200, 400)
    assert "error" in answer.text
    assert not fleet.coordinator.look_at(lambda s: s.tasks)
    assert fleet.coordinator.failure is None


def test_a_client_asks_calls_a_skill_and_looks(fleet: OpenFleet) -> None:
    async def act(client: Client) -> list[Any]:
        asked = await call(client, "task_ask", instruction="ring south", wait_s=20)
        task = asked.structured_content["id"]
        return [
            asked,
            await call(client, "events", task=task),
            await call(client, "skill_ring", bell="north", robot="r1"),
            await call(client, "task_list"),
            await call(client, "memory_where", thing="red-cube"),
            await call(client, "events", limit=500),
        ]

    seen = Sighting(
        entity="red-cube", by="camera-1", time_s=time.time(), pose=(1, 2, 3, 1, 0, 0, 0)
    )
    fleet.memory.take((seen,))
    asked, of_one, rung, listed, where, events = through(fleet, "operate", act)
    for done in (asked, rung):
        assert not done.is_error
        assert done.structured_content["outcome"] == "succeeded"
    assert [t["by"] for t in listed.structured_content["tasks"]] == ["operate over mcp"] * 2
    assert where.structured_content["where"]["seen_by"] == "camera-1"
    assert [name for _, name in fleet.runner.world.acts] == ["ring", "ring"]
    assert events.structured_content["events"][-1]["kind"] == "task-ended"
    assert [event["kind"] for event in of_one.structured_content["events"]] == [
        "task-asked",
        "task-planned",
        "intent-issued",
        "intent-started",
        "intent-ended",
        "task-ended",
    ]


def test_a_lying_skill_is_an_error_to_the_client(fleet: OpenFleet) -> None:
    fleet.runner.mood = "lies"
    result = through(fleet, "operate", lambda c: call(c, "skill_ring", bell="north"))
    assert result.is_error
    assert result.structured_content["outcome"] == "failed"
    assert "not as it should be" in result.structured_content["reason"]


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("skill_ring", {}, "lacks ['bell']"),
        ("skill_ring", {"bell": 7}, "is no string"),
        ("skill_ring", {"bell": "north", "loud": True}, "has no ['loud']"),
        ("skill_ring", {"bell": "north", "robot": "r9"}, "is none of ['r1']"),
        ("skill_ring", {"bell": "nowhere"}, "does not exist"),
        ("skill_go", {"start": "north", "goal": "south"}, "although not at(r1, north)"),
        ("task_ask", {"instruction": "ring north", "wait_s": 1e9}, "out of its range"),
        ("task_show", {"task": "t-none"}, "unknown task"),
        ("stop", {"robot": "r9"}, "unknown robot"),
        ("fly", {}, "there is no tool"),
    ],
)
def test_a_wrong_call_moves_nothing_and_says_why(
    fleet: OpenFleet, name: str, arguments: dict[str, Any], error: str
) -> None:
    result = through(fleet, "operate", lambda c: c.call_tool(name, arguments))
    assert result.is_error
    assert error in result.structured_content["message"]
    assert not fleet.runner.world.acts
    assert not fleet.coordinator.look_at(lambda s: s.tasks or s.stops)


@pytest.mark.parametrize("role", ["observe", "train", "operate", "resume"])
def test_a_role_sees_and_calls_its_own_tools_only(fleet: OpenFleet, role: AccessRole) -> None:
    async def act(client: Client) -> tuple[set[str], dict[str, Any]]:
        names = {t.name for t in (await client.list_tools()).tools}
        foreign = sorted({n for own in TOOLS.values() for n in own} - TOOLS[role])
        return names, {n: await client.call_tool(n, EXAMPLES.get(n, {})) for n in foreign}

    names, refused = through(fleet, role, act)
    assert names == TOOLS[role]
    assert all(
        r.is_error and r.structured_content["error"] == "not-allowed" for r in refused.values()
    )
    assert not fleet.coordinator.look_at(lambda s: s.tasks or s.stops)


def test_without_a_token_no_client_comes_in(fleet: OpenFleet) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        through(fleet, None, lambda c: c.list_tools())
    assert caught.group_contains(MCPError, match="error response", depth=None)


def stdio(fleet: OpenFleet, token: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "loopwright.robot.wires.mcp_stdio", fleet.server.url],
        env={"LOOPWRIGHT_TOKEN": token},
    )


def test_a_client_drives_the_fleet_over_stdio_with_its_own_role(fleet: OpenFleet) -> None:
    async def drive() -> tuple[set[str], Any, Any]:
        async with Client(stdio(fleet, fleet.access.tokens["operate"])) as client:
            rung = await call(client, "skill_ring", bell="north")
        async with Client(stdio(fleet, fleet.access.tokens["observe"])) as client:
            names = {t.name for t in (await client.list_tools()).tools}
            return names, rung, await call(client, "stop")

    names, rung, refused = asyncio.run(drive())
    assert rung.structured_content["outcome"] == "succeeded"
    assert names == TOOLS["observe"]
    assert refused.is_error
    assert not fleet.coordinator.look_at(lambda s: s.stops)


@pytest.mark.parametrize(
    ("address", "token", "code", "says"),
    [
        (None, "x" * 40, 2, "usage: LOOPWRIGHT_TOKEN=TOKEN python -m"),
        ("FLEET", "", 2, "usage: LOOPWRIGHT_TOKEN=TOKEN python -m"),
        ("FLEET", "x" * 40, 1, "knows no such LOOPWRIGHT_TOKEN"),
        ("http://127.0.0.1:9", "x" * 40, 1, "no fleet answers at http://127.0.0.1:9"),
        ("fleet", "x" * 40, 1, "no fleet answers at fleet"),
    ],
)
def test_a_client_that_starts_it_wrong_is_told_in_words(
    fleet: OpenFleet, address: str | None, token: str, code: int, says: str
) -> None:
    arguments = [] if address is None else [address.replace("FLEET", fleet.server.url)]
    ended = subprocess.run(
        [sys.executable, "-m", "loopwright.robot.wires.mcp_stdio", *arguments],
        env={**os.environ, "LOOPWRIGHT_TOKEN": token},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_client_of_a_fleet_that_ended_hears_so(fleet: OpenFleet) -> None:
    async def drive() -> None:
        async with Client(stdio(fleet, fleet.access.tokens["operate"])) as client:
            await client.list_tools()
            fleet.server.close()
            for ask in (client.list_tools, lambda: client.call_tool("robots")):
                with pytest.raises(MCPError, match="no fleet answers"):
                    await ask()

    asyncio.run(drive())
