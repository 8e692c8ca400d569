"""The MCP server of a fleet over stdio, for clients that start their servers themselves.

``LOOPWRIGHT_TOKEN=... python -m loopwright.robot.wires.mcp_stdio http://127.0.0.1:8700`` hands on
what it reads to the server at ``/mcp``; it may do what the token may, and nothing without one.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import LoopwrightError, MissingExtra
from loopwright.robot.access import NotAllowedHere

if TYPE_CHECKING:
    from mcp import Client

TOKEN_VARIABLE = "LOOPWRIGHT_TOKEN"
_WITHIN_S = 90.0
"""Longer than a call may wait for a task, which is said in the call."""
_LOOKS_WITHIN_S = 5.0


class FleetUnreachable(LoopwrightError):
    """No fleet answers at the address, or it answers no longer."""


async def hand_on(url: str, token: str) -> None:
    """Serve stdin and stdout until the client closes them.

    Raises:
        FleetUnreachable: No fleet answers there.
        NotAllowedHere: The fleet does not know the token.
        MissingExtra: The MCP SDK is not installed.
    """
    try:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "mcp", "robot", "the MCP server") from error
    headers = {"Authorization": f"Bearer {token}"}
    timeout = httpx2.Timeout(_WITHIN_S)
    async with httpx2.AsyncClient(headers=headers, timeout=timeout) as http:

        async def look() -> None:
            # The SDK's client waits on and on for a server that is gone, or knows it not.
            try:
                answer = await http.get(f"{url}/cameras", timeout=_LOOKS_WITHIN_S)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                why = str(error) or type(error).__name__
                raise FleetUnreachable(f"no fleet answers at {url}: {why}") from error
            if answer.status_code == 401:
                raise NotAllowedHere(f"the fleet at {url} knows no such {TOKEN_VARIABLE}")
            if answer.status_code != 200:
                raise FleetUnreachable(f"{url} answers {answer.status_code}, as no fleet does")

        await look()
        transport = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(transport, read_timeout_seconds=_WITHIN_S) as fleet:
            await _serve_stdio(fleet, look)


async def _serve_stdio(fleet: Client, look: Callable[[], Awaitable[None]]) -> None:
    from mcp import MCPError, types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server

    async def see_to_it() -> None:
        try:
            await look()
        except LoopwrightError as error:
            raise MCPError(types.INTERNAL_ERROR, str(error)) from error

    async def list_tools(_: Any, __: Any) -> types.ListToolsResult:
        await see_to_it()
        return await fleet.list_tools(cache_mode="bypass")

    async def call_tool(_: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        await see_to_it()
        return await fleet.call_tool(call.name, call.arguments or {})

    server: Server[Any] = Server("loopwright", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Read address and token, and hand on; what goes wrong is one line on stderr.

    Returns:
        The exit code: 0 done, 1 it failed, 2 it was started wrong.
    """
    token = environment.get(TOKEN_VARIABLE, "").strip()
    if len(arguments) != 1 or not token:
        _complain(
            f"usage: {TOKEN_VARIABLE}=TOKEN python -m loopwright.robot.wires.mcp_stdio ADDRESS\n"
            "The address is what `loopwright up` prints (http://127.0.0.1:8700); the tokens are "
            "in access.json of the fleet's folder, one for each role."
        )
        return 2
    try:
        asyncio.run(hand_on(arguments[0].rstrip("/"), token))
    except LoopwrightError as error:
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # stdout is the client's


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
