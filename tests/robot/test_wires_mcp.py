"""The fleet over MCP, driven by the SDK's own client over HTTP and over stdio."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from wires_fleet import OpenFleet, open_fleet

from loopwright.robot.access import AccessRole
from loopwright.robot.sighting import Sighting

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
