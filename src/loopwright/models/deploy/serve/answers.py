"""From the outcomes of work to answers, as long as somebody is there to hear them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from loopwright.core.errors import LoopwrightError
from loopwright.models.deploy.serve.refusal import Refused
from loopwright.models.deploy.serve.worker import Task

T = TypeVar("T")
BODY_WITHIN_S = 30.0


class ClientGone(Refused):
    """The client went away; nobody will read this."""

    def __init__(self) -> None:
        """Take the status that servers log for it."""
        super().__init__("the client went away", status=499)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        Refused: It is too large, comes too slowly, or is not said to be JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Pages of other sites may send plain forms to any address without being asked.
        raise Refused(
            f"the content type is {kind or 'missing'!r}; expected application/json", status=415
        )
    too_large = Refused(f"the body is larger than {most_bytes} bytes", status=413)
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > most_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            async for part in request.stream():
                body += part
                if len(body) > most_bytes:
                    raise too_large
    except TimeoutError as error:
        raise Refused("the body did not come in time", status=408) from error
    return bytes(body)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T], task: Task[Any]) -> T:
    """Wait for something; stop the task when the client goes away first.

    Raises:
        ClientGone: It did.
    """
    waiting = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        task.cancel()
        raise ClientGone
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        waiting.cancel()
        leaving.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def every(task: Task[T]) -> list[T]:
    """Return all outcomes of a task."""
    return [await task.first(), *[outcome async for outcome in task.rest()]]


class EventStream(StreamingResponse):
    """Server-sent events, one JSON object each, with ``[DONE]`` behind the last."""

    def __init__(self, objects: AsyncIterator[dict[str, Any]], closed: Callable[[], None]) -> None:
        """Take what to send.

        Args:
            objects: What to send; an error in between is sent and ends it.
            closed: Called in the end, whether all was sent or the client went away.
        """
        super().__init__(
            _events(objects),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end or until the client is gone."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()


async def _events(objects: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    try:
        async for each in objects:
            yield f"data: {json.dumps(each, ensure_ascii=False)}\n\n"
    except LoopwrightError as error:
        refused = error if isinstance(error, Refused) else Refused(str(error), status=500)
        yield f"data: {json.dumps(refused.to_json())}\n\n"
        return
    yield "data: [DONE]\n\n"
