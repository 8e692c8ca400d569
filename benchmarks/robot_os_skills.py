"""The no-op skill of a robot of RoboOS, served as RoboOS asks for; run by RoboOS's own Python.

::

    python robot_os_skills.py ROBOT PORT LOG
"""

import os
import sys
import time

from mcp.server.fastmcp import FastMCP  # pyright: ignore[reportAttributeAccessIssue] - the first SDK

ROBOT, PORT, LOG = sys.argv[1:]
mcp = FastMCP(name="robots", stateless_http=True, host="127.0.0.1", port=int(PORT))
log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@mcp.tool()
async def carry(box: str, goal: str) -> tuple[str, dict]:
    """Carry a box of an errand to a table.

    Args:
        box: String, Represents the box.
        goal: String, Represents the table that it is brought to.
    """
    began_s = time.monotonic()
    os.write(log, f"{ROBOT} {box} {goal} {began_s!r} {time.monotonic()!r}\n".encode())
    return f"{box} was brought to {goal}.", {}


if __name__ == "__main__":
    mcp.run(transport="streamable-http")
