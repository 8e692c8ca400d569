"""What every request passes first: is it meant for this server, and may it ask?"""

from __future__ import annotations

import hmac
import time
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopwright.models.deploy.serve.metrics import Metrics
from loopwright.models.deploy.serve.refusal import Refused

OPEN: Final = "/health"
"""Answers without a token, for what watches whether the server lives."""
ROUTES: Final = (
    OPEN,
    "/metrics",
    "/v1/models",
    "/v1/completions",
    "/v1/chat/completions",
    "/v1/images/generations",
)


class Guard:
    """Checks host and token, and counts the answers."""

    def __init__(
        self, app: ASGIApp, *, token: str | None, hosts: Collection[str] | None, metrics: Metrics
    ) -> None:
        """Stand in front of an application.

        Args:
            app: What answers.
            token: What a client must know, if anything.
            hosts: Names under which the server may be asked; None for any. A page of another
                site that makes its own name point here is refused by it.
            metrics: Where answers are counted.
        """
        self._app, self._hosts, self._metrics = app, hosts, metrics
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = time.monotonic(), 499

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if (refusal := self._refusal(scope)) is not None:
                answer = JSONResponse(refusal.to_json(), refusal.status, refusal.headers)
                await answer(scope, receive, noting)
            else:
                await self._app(scope, receive, noting)
        except Exception:
            status = 500
            raise
        finally:
            self._metrics.answered(_route(scope["path"]), status, time.monotonic() - began_s)

    def _refusal(self, scope: Scope) -> Refused | None:
        headers = Headers(scope=scope)
        host = _without_port(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return Refused("this server is not asked under that name", status=421)
        if self._token is None or scope["path"] == OPEN:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Compared in constant time: how long it takes must not say how much of it is right.
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() == "bearer" and right:
            return None
        return Refused(
            "the token is missing or wrong; expected 'Authorization: Bearer TOKEN'",
            status=401,
            code="invalid_api_key",
        )


def _route(path: str) -> str:
    if path.startswith("/v1/models/"):
        return "/v1/models"
    return path if path in ROUTES else "other"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).strip("[]").lower()
