"""A skill file as RoboOS's users write them, for the first MCP SDK; good and bad skills."""

import asyncio
import os
import time

from mcp.server.fastmcp import FastMCP

print("a skill file may print where it likes")  # noqa: T201

mcp = FastMCP("robots", stateless_http=True, host="0.0.0.0", port=8000)


@mcp.tool()
async def navigate_to_target(target: str) -> str:
    """Drive somewhere.
    Args:
        target: String, where to.
    """
    print("driving")  # noqa: T201
    return f"Arrived at {target}."


@mcp.tool()
async def put_down(place: str, object: str = None, height: int = 3) -> tuple[str, dict]:  # noqa: RUF013
    """Put something down."""
    return f"{object} at {place}, {height + 1}", {"position": place}


@mcp.tool()
def break_down(code: int) -> str:
    """Fail as robots do."""
    raise RuntimeError(f"motor fault E{code}")


@mcp.tool()
async def dream(seconds: float) -> str:
    """Wait politely."""
    await asyncio.sleep(seconds)
    return "awake"


@mcp.tool()
async def block(seconds: float) -> str:
    """Hold up the whole process."""
    time.sleep(seconds)
    return "awake"


@mcp.tool()
async def die() -> str:
    """End the process in the middle of a skill."""
    os._exit(3)


@mcp.tool()
async def process() -> str:
    """Tell which process this is."""
    return str(os.getpid())


if __name__ == "__main__":
    mcp.run(transport="streamable-http")
