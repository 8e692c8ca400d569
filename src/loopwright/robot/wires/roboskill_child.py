"""The process that a RoboOS skill file runs in: ``python -m ... FILE PIDFILE``.

Skill files are written for the first MCP SDK (``from mcp.server.fastmcp import FastMCP``). Here,
and in no other process, a module of that name stands in on top of the present SDK, so that they
run unchanged. Whatever transport a file asks for, it is served on stdio: no port is opened.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError


class FastMCP(MCPServer[Any]):
    """The server class of the first SDK, as far as skill files use it."""

    def __init__(self, name: str | None = None, instructions: str | None = None, **_: Any) -> None:
        """Take a name; settings of transports (host, port, stateless_http) have no use here."""
        super().__init__(name, instructions=instructions)

    async def call_tool(self, *args: Any, **keywords: Any) -> Any:
        """Call a tool; what it raises is told, as the first SDK did."""
        try:
            return await super().call_tool(*args, **keywords)
        except UnexpectedToolError as error:
            raise ToolError(f"{error}: {error.__cause__}") from error

    def run(self, transport: str = "stdio", **_: Any) -> None:
        """Serve on stdio, whatever was asked for."""
        # Until now prints went to stderr; from here on the SDK keeps them off the wire itself.
        sys.stdout = sys.__stdout__
        super().run("stdio")


def run_file(file: Path) -> None:
    """Run a skill file as its own interpreter would."""
    module = ModuleType("mcp.server.fastmcp")
    for name, thing in (("FastMCP", FastMCP), ("Context", Context), ("Image", Image)):
        setattr(module, name, thing)
    sys.modules[module.__name__] = module
    sys.path[0] = str(file.parent)
    sys.argv = [str(file)]
    with contextlib.redirect_stdout(sys.stderr):
        runpy.run_path(str(file), run_name="__main__")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(str(os.getpid()))
    run_file(Path(sys.argv[1]))
