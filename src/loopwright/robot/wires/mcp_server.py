"""The fleet over MCP: the tools of a fleet at ``/mcp``, behind the same gate as every route.

A client sees only the tools that its role may call. Every call stands for itself (stateless), so a
restart of the server breaks no session.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from loopwright.core.errors import LoopwrightError, MissingExtra
from loopwright.robot.access import Access, AccessRole, NotAllowedHere
from loopwright.robot.wires.desk import Desk
from loopwright.robot.wires.gate import role_of
from loopwright.robot.wires.patience import Patience
from loopwright.robot.wires.tools import FIXED, Caller, FleetTool, tools_of
from loopwright.robot.wires.views import Plain

try:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import (
        StreamableHTTPASGIApp,
        StreamableHTTPSessionManager,
    )
except ModuleNotFoundError as error:
    raise MissingExtra("mcp", "robot", "the MCP server") from error

PATH = "/mcp"
_INSTRUCTIONS = (
    "Tools of a fleet of robots. Ask in words with task_ask, or call a skill_ tool. An outcome is "
    "succeeded only if the world was observed to be as promised; unknown means nobody could see."
)


def mount(
    desk: Desk, access: Access, patience: Patience
) -> tuple[Route, Callable[[], AbstractAsyncContextManager[None]]]:
    """Return the route of the MCP server, and what to run it within."""
    manager = StreamableHTTPSessionManager(
        app=make_server(desk, access, patience), json_response=True, stateless=True
    )
    return Route(PATH, StreamableHTTPASGIApp(manager), name=f"* {PATH} observe"), manager.run


def make_server(desk: Desk, access: Access, patience: Patience) -> Server[Any]:
    """Return the server; requests must have come through the gate."""

    def may(context: Any, wanted: AccessRole) -> AccessRole:
        return role_of(context.request.scope, access, wanted)

    async def list_tools(context: Any, _: Any) -> types.ListToolsResult:
        known = await run_in_threadpool(tools_of, desk)
        return types.ListToolsResult(
            tools=[_announced(t) for t in known.values() if _allowed(may, context, t)]
        )

    async def call_tool(context: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = FIXED.get(call.name)
            if tool is None:
                tool = (await run_in_threadpool(tools_of, desk)).get(call.name)
            if tool is None:
                may(context, "observe")
                return _error("unknown", f"there is no tool {call.name!r}")
            caller = Caller(desk, patience, f"{may(context, tool.role)} over mcp")
            return _answer(tool, await tool.call(caller, call.arguments or {}))
        except NotAllowedHere as error:
            return _error("not-allowed", str(error))
        except LoopwrightError as error:
            return _error(type(error).__name__, str(error))

    return Server(
        "loopwright",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _allowed(may: Callable[[Any, AccessRole], AccessRole], context: Any, tool: FleetTool) -> bool:
    try:
        may(context, tool.role)
    except NotAllowedHere:
        return False
    return True


def _announced(tool: FleetTool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema,
        annotations=types.ToolAnnotations(read_only_hint=tool.role == "observe"),
    )


def _answer(tool: FleetTool, data: Plain) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(data, ensure_ascii=False))],
        structured_content=data,
        # A client that looks at nothing else must not take a failure for a success.
        is_error=tool.judged and data["status"] == "ended" and data["outcome"] != "succeeded",
    )


def _error(name: str, message: str) -> types.CallToolResult:
    data = {"error": name, "message": message}
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=json.dumps(data, ensure_ascii=False))],
        structured_content=data,
        is_error=True,
    )
