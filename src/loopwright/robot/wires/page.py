"""The page that people look at a fleet with: files without a build, a framework or a secret.

Anybody may fetch them; they hold nothing of the fleet. What they show they ask for with the token
that the person gave them, at the same routes as every other program.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = {
    "/": ("page.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/door.js": ("door.js", "text/javascript"),
    "/page/drawing.js": ("drawing.js", "text/javascript"),
    "/page/map.js": ("map.js", "text/javascript"),
    "/page/tasks.js": ("tasks.js", "text/javascript"),
    "/page/journal.js": ("journal.js", "text/javascript"),
}
"""Path to file and type; no other file is ever served."""

_HEADERS = {
    # Nothing but our own files runs or styles; pictures come as blobs, since they take the token.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


def page_routes() -> list[Route]:
    """Return the routes of the page; they ask for no token."""
    return [
        Route(path, _file(name, kind), methods=["GET"], name=f"GET {path} anybody")
        for path, (name, kind) in _FILES.items()
    ]


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    content = resources.files("loopwright.robot.wires").joinpath("page_files", name).read_bytes()

    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=kind, headers=_HEADERS)

    return endpoint
