"""The fleet over HTTP: RoboOS's routes, and those that RoboOS lacks.

Every route stands behind the gate, with the role that it takes written beside it; only the page
that people look at the fleet with is open, and empty without a token. There is no CORS header, so a
page of another origin reads nothing; loopback is the default (see ``serve``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from loopwright.core.errors import (
    InvalidConfig,
    LoopwrightError,
    MissingExtra,
    SafetyError,
    StorageError,
    UnknownName,
    Untrusted,
    UsageError,
    WorkspaceBusy,
)
from loopwright.robot.access import Access, AccessRole, NotAllowedHere
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.journal.journal import Journal
from loopwright.robot.knowledge import NoPicture, NoPlan
from loopwright.robot.wires.desk import Cameras, Desk, StopButton, Whereabouts
from loopwright.robot.wires.publication import Publication

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import BaseRoute, Route

    from loopwright.robot.wires.gate import Gate, role_of
    from loopwright.robot.wires.page import page_routes
    from loopwright.robot.wires.patience import Patience
    from loopwright.robot.wires.requests import body_of, query_of
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "starlette", "robot", "the HTTP interface") from error

LONGEST_WAIT_S = 60.0
"""How long a result may be waited for in one request."""
PLAN_WITHIN_S = 20.0
"""How long ``publish_task`` waits for a plan, as RoboOS does."""
_BEAT_S = 10.0
"""How often an event stream says that it lives, so that dead connections are noticed."""
_STATUSES = ("planning", "running", "paused", "cancelling", "ended")

Act = Callable[["Door", Request, AccessRole], Awaitable[Response]]


def make_app(
    coordinator: Coordinator,
    memory: Whereabouts,
    access: Access,
    journal: Journal,
    *,
    mcp: bool = True,
    button: StopButton | None = None,
    cameras: Cameras | None = None,
) -> Starlette:
    """Return the application.

    Args:
        coordinator: At work already.
        memory: Where things are.
        access: The tokens.
        journal: What the coordinator writes; only read here.
        mcp: Whether the tools of :mod:`loopwright.robot.wires.mcp_server` are at ``/mcp``.
        button: What a stop presses, if more than the coordinator (the line of the guards), and
            what checks a release; without one every release is refused.
        cameras: What there is to be seen.

    Raises:
        MissingExtra: The MCP SDK is not installed.
    """
    door = Door(Desk(coordinator, memory, journal, button=button, cameras=cameras), access)
    page = page_routes()
    routes: list[BaseRoute] = [*page, *(door.route(*row) for row in _ROUTES)]
    enter: Callable[[], contextlib.AbstractAsyncContextManager[None]] = contextlib.nullcontext
    if mcp:
        from loopwright.robot.wires.mcp_server import mount

        mounted, enter = mount(door.desk, access, door.patience)
        routes.append(mounted)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with enter():
            yield

    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, access=access, open_paths=frozenset(r.path for r in page))],
        exception_handlers={
            LoopwrightError: _say_ours,
            HTTPException: _say_http,
            Exception: _say_broken,
        },
        lifespan=lifespan,
    )
    app.state.end_streams = door.patience.end
    return app


class Door:
    """What the routes hold in common."""

    def __init__(self, desk: Desk, access: Access) -> None:
        """Open before a desk."""
        self.desk, self.access = desk, access
        self.patience = Patience()

    def route(self, method: str, path: str, role: AccessRole, act: Act) -> Route:
        """Return a route that asks for a role before it acts."""

        async def endpoint(request: Request) -> Response:
            return await act(self, request, role_of(request.scope, self.access, role))

        return Route(path, endpoint, methods=[method], name=f"{method} {path} {role}")


# RoboOS's routes ---------------------------------------------------------------------------------


async def _publish_task(door: Door, request: Request, role: AccessRole) -> Response:
    given = await body_of(
        request,
        {"task": (str, list), "refresh": (bool, str), "task_id": (str, type(None))},
        required=("task",),
    )
    wanted = given["task"] if isinstance(given["task"], list) else [given["task"]]
    if not wanted or not all(isinstance(text, str) and text.strip() for text in wanted):
        raise HTTPException(400, "'task' is a text, or a list of texts that are not empty")
    publication = Publication(door.desk, role, given.get("task_id"))
    await run_in_threadpool(publication.ask, wanted)
    await door.patience.until(publication.is_planned, PLAN_WITHIN_S)
    code, answer = await run_in_threadpool(publication.answer)
    return JSONResponse(answer, status_code=code)


async def _publish_task_lives(door: Door, request: Request, role: AccessRole) -> Response:
    door.desk.check_directed()
    return JSONResponse({"statis": "success"})  # as RoboOS spells it


async def _robot_status(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse(await run_in_threadpool(door.desk.roboos_robots))


async def _system_status(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse({"cpu_load": _cpu_load(), "memory_usage": _memory_usage()})


def _cpu_load() -> float:
    """Return how busy the machine was in the last minute, in percent of its cores."""
    return round(min(100.0, 100.0 * os.getloadavg()[0] / (os.cpu_count() or 1)), 1)


def _memory_usage() -> float:
    """Return how much of the memory is in use, in percent."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in lines)}
    return round(100.0 * (1.0 - kib["MemAvailable"] / kib["MemTotal"]), 1)


# Tasks -------------------------------------------------------------------------------------------


async def _ask(door: Door, request: Request, role: AccessRole) -> Response:
    given = await body_of(
        request,
        {
            "instruction": str,
            "graph": (dict, type(None)),
            "deadline_s": (int, float, type(None)),  # seconds from now
        },
    )
    instruction = given.get("instruction", "").strip()
    graph = given.get("graph")
    if not instruction and graph is None:
        raise HTTPException(400, "say what is wanted: an 'instruction', a 'graph', or both")
    task = await run_in_threadpool(
        door.desk.ask,
        instruction or "as the graph says",
        by=f"{role} over http",
        graph=graph,
        deadline_s=given.get("deadline_s"),
    )
    return JSONResponse({"task": task}, status_code=201, headers={"Location": f"/tasks/{task}"})


async def _tasks(door: Door, request: Request, role: AccessRole) -> Response:
    given = query_of(request, {"status": str, "limit": int})
    if given.get("status", "ended") not in _STATUSES:
        raise HTTPException(400, f"status={given['status']!r}; known: {list(_STATUSES)}")
    if not 1 <= given.get("limit", 1) <= 1000:
        raise HTTPException(400, f"limit={given['limit']} is not between 1 and 1000")
    return JSONResponse({"tasks": await run_in_threadpool(partial(door.desk.tasks, **given))})


async def _task(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse(await run_in_threadpool(door.desk.task, request.path_params["task"]))


async def _result(door: Door, request: Request, role: AccessRole) -> Response:
    wait_s = query_of(request, {"wait_s": float}).get("wait_s", 0.0)
    if not 0.0 <= wait_s <= LONGEST_WAIT_S:
        raise HTTPException(400, f"wait_s={wait_s:g} is not between 0 and {LONGEST_WAIT_S:g}")
    task = request.path_params["task"]
    await door.patience.until(lambda: door.desk.awaited(task)["status"] == "ended", wait_s)
    stands = await run_in_threadpool(door.desk.awaited, task)
    return JSONResponse(stands, status_code=200 if stands["status"] == "ended" else 202)


async def _change(name: str, door: Door, request: Request, role: AccessRole) -> Response:
    await body_of(request, {})
    change = partial(getattr(door.desk, name), request.path_params["task"], by=f"{role} over http")
    return JSONResponse(await run_in_threadpool(change))


# The fleet ---------------------------------------------------------------------------------------


async def _robots(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse(await run_in_threadpool(door.desk.robots))


async def _stop(door: Door, request: Request, role: AccessRole) -> Response:
    given = await body_of(request, {"robot": (str, type(None))})
    stop = partial(door.desk.stop, given.get("robot"), by=f"{role} over http")
    return JSONResponse(await door.patience.urgently(stop))


async def _release(door: Door, request: Request, role: AccessRole) -> Response:
    given = await body_of(
        request,
        {"robot": (str, type(None)), "by": str, "signature": str},
        required=("by", "signature"),
    )
    robot, by, signature = given.get("robot"), given["by"], given["signature"]
    release = partial(door.desk.release, robot, by=by, signature=signature)
    return JSONResponse(await run_in_threadpool(release))


async def _things(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse({"things": await run_in_threadpool(door.desk.things)})


async def _thing(door: Door, request: Request, role: AccessRole) -> Response:
    at_s = query_of(request, {"at_s": float}).get("at_s")
    look = partial(door.desk.thing, request.path_params["thing"], at_s=at_s)
    return JSONResponse(await run_in_threadpool(look))


# What people look at ------------------------------------------------------------------------------


async def _fleet(door: Door, request: Request, role: AccessRole) -> Response:
    seen = await run_in_threadpool(door.desk.glance)
    return JSONResponse({**seen, "role": role, "may": list(door.access.rights(role))})


async def _cameras(door: Door, request: Request, role: AccessRole) -> Response:
    return JSONResponse({"cameras": list(door.desk.cameras())})


async def _picture(door: Door, request: Request, role: AccessRole) -> Response:
    look = partial(door.desk.picture, request.path_params["camera"])
    return Response(
        await door.patience.unhurriedly(look),
        media_type="image/jpeg",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


# Events ------------------------------------------------------------------------------------------


async def _events(door: Door, request: Request, role: AccessRole) -> Response:
    since = query_of(request, {"since": int}).get("since")
    last = request.headers.get("last-event-id")
    if last is not None:
        try:
            since = int(last)
        except ValueError as error:
            raise HTTPException(400, f"Last-Event-ID {last!r} is no number") from error
    begin = await run_in_threadpool(door.desk.newest) if since is None else since
    return StreamingResponse(
        _stream(door, request, begin),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _stream(door: Door, request: Request, since: int) -> AsyncIterator[str]:
    yield ": the journal, one event each\n\n"
    while not door.patience.over:
        await door.patience.until(lambda known=since: door.desk.newest() > known, _BEAT_S)
        if await request.is_disconnected():
            return
        found = await run_in_threadpool(door.desk.events, since=since)
        if not found:
            yield ": still here\n\n"
        for event in found:
            since = event["number"]
            yield f"id: {since}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"


# Errors ------------------------------------------------------------------------------------------

_CODES: tuple[tuple[type[LoopwrightError], int, str], ...] = (
    (NotAllowedHere, 403, "not-allowed"),
    (UnknownName, 404, "unknown"),
    (NoPlan, 422, "refused"),
    (InvalidConfig, 400, "invalid"),
    (UsageError, 400, "invalid"),
    (Untrusted, 403, "untrusted"),
    (SafetyError, 409, "still-stopped"),
    (NoPicture, 503, "no-picture"),
    (StorageError, 503, "not-written"),
    (WorkspaceBusy, 503, "busy"),
    (LoopwrightError, 500, "failed"),
)


async def _say_ours(request: Request, error: Exception) -> Response:
    code, name = next((c, n) for kind, c, n in _CODES if isinstance(error, kind))
    return JSONResponse({"error": name, "message": str(error)}, status_code=code)


async def _say_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    names = {400: "invalid", 404: "unknown", 405: "wrong-method", 413: "too-large"}
    return JSONResponse(
        {"error": names.get(error.status_code, "failed"), "message": error.detail},
        status_code=error.status_code,
        headers=error.headers,
    )


async def _say_broken(request: Request, error: Exception) -> Response:
    message = f"{type(error).__name__}; the server's log says more"
    return JSONResponse({"error": "broken", "message": message}, status_code=500)


_ROUTES: tuple[tuple[str, str, AccessRole, Act], ...] = (
    ("POST", "/publish_task", "operate", _publish_task),
    ("GET", "/publish_task", "observe", _publish_task_lives),
    ("GET", "/robot_status", "observe", _robot_status),
    ("GET", "/system_status", "observe", _system_status),
    ("POST", "/tasks", "operate", _ask),
    ("GET", "/tasks", "observe", _tasks),
    ("GET", "/tasks/{task}", "observe", _task),
    ("GET", "/tasks/{task}/result", "observe", _result),
    ("POST", "/tasks/{task}/cancel", "operate", partial(_change, "cancel")),
    ("POST", "/tasks/{task}/pause", "operate", partial(_change, "pause")),
    ("POST", "/tasks/{task}/resume", "operate", partial(_change, "resume")),
    ("GET", "/robots", "observe", _robots),
    ("GET", "/fleet", "observe", _fleet),
    ("GET", "/cameras", "observe", _cameras),
    ("GET", "/cameras/{camera}", "observe", _picture),
    ("GET", "/memory", "observe", _things),
    ("GET", "/memory/{thing}", "observe", _thing),
    ("GET", "/events", "observe", _events),
    ("POST", "/stop", "operate", _stop),
    ("POST", "/release", "resume", _release),
)
