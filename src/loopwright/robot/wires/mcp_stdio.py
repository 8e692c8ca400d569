"""The MCP server of a fleet over stdio, for clients that start their servers themselves.

``LOOPWRIGHT_TOKEN=... python -m loopwright.robot.wires.mcp_stdio http://127.0.0.1:8700`` hands on
what it reads to the server at ``/mcp``; it may do what the token may, and nothing without one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.core.errors import InvalidConfig, MissingExtra

TOKEN_VARIABLE = "LOOPWRIGHT_TOKEN"


async def hand_on(url: str, token: str) -> None:
    """Serve stdin and stdout until the client closes them.

    Raises:
        MissingExtra: The MCP SDK is not installed.
    """
    try:
        import httpx2
        from mcp import Client, types
        from mcp.client.streamable_http import streamable_http_client
        from mcp.server.lowlevel import Server
        from mcp.server.stdio import stdio_server
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "mcp", "robot", "the MCP server") from error
    headers = {"Authorization": f"Bearer {token}"}
    # A call may wait for a task; how long is said in the call.
    async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(90.0)) as http:
        transport = streamable_http_client(f"{url.rstrip('/')}/mcp", http_client=http)
        async with Client(transport) as fleet:

            async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
                return await fleet.list_tools(cache_mode="bypass")

            async def call_tool(_: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
                return await fleet.call_tool(call.name, call.arguments or {})

            server: Server[Any] = Server(
                "loopwright", on_list_tools=list_tools, on_call_tool=call_tool
            )
            async with stdio_server() as (reading, writing):
                await server.run(reading, writing, server.create_initialization_options())


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Read address and token, and hand on.

    Raises:
        InvalidConfig: One of them is missing.
    """
    if len(arguments) != 1 or not environment.get(TOKEN_VARIABLE):
        raise InvalidConfig(
            f"give the address of the fleet (http://127.0.0.1:8700) and {TOKEN_VARIABLE}"
        )
    asyncio.run(hand_on(arguments[0], environment[TOKEN_VARIABLE]))


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
