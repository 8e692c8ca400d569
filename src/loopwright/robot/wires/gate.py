"""The gate before every HTTP route: without a token of the fleet, nothing of it is answered."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from loopwright.robot.access import Access, AccessRole, NotAllowedHere

_TOKEN = "loopwright.token"


class Gate:
    """Lets through who bears a token of any role; what the role may do is asked for each act."""

    def __init__(self, app: ASGIApp, access: Access, open_paths: frozenset[str]) -> None:
        """Stand before an application.

        Args:
            app: What is behind the gate.
            access: The tokens.
            open_paths: What anybody may fetch: the empty page, which holds nothing of the fleet.
        """
        self._app, self._access, self._open_paths = app, access, open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to strangers, and hand everybody else on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["path"] in self._open_paths and scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        token = _bearer(Headers(scope=scope).get("authorization", ""))
        try:
            self._access.require(token, "observe")
        except NotAllowedHere as error:
            answer = JSONResponse(
                {"error": "not-allowed", "message": str(error)},
                status_code=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
            await answer(scope, receive, send)
            return
        scope[_TOKEN] = token
        await self._app(scope, receive, send)


def role_of(scope: Any, access: Access, wanted: AccessRole) -> AccessRole:
    """Return the role of whoever came through the gate, if it may do what is wanted.

    Raises:
        NotAllowedHere: It may not, or did not come through the gate.
    """
    return access.require(scope.get(_TOKEN), wanted)


def _bearer(header: str) -> str | None:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
