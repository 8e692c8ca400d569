"""RoboOS's skill files as skills of ours, unchanged.

A skill file is an MCP server with one tool a skill. It promises nothing that could be observed, so
the outcome of its skills is unknown at best, unless the caller says what they ensure. What a tool
answers in words is kept as its reason and never makes a success.

A skill file knows no cancel and no stop. To cut one short its process is ended, and the next call
starts another. That keeps its code from commanding anything more; what the hardware was told before
must be stopped by what watches the hardware.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import ContractError, InvalidConfig, MissingExtra
from loopwright.robot.logic import conditions
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import (
    Hands,
    Motion,
    Parameter,
    ParameterKind,
    Skill,
    SkillContract,
    SkillError,
    SkillSet,
)

if TYPE_CHECKING:
    from mcp import Client, types

_LOOK_AGAIN_S = 0.005
_SAID_CHARACTERS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What a file does not say of one of its skills."""

    requires: tuple[str, ...] = ()
    ensures: tuple[str, ...] = ()
    """Such as ``"on(?object, ?affordance)"``; parameters are those of the tool."""
    resources: tuple[str, ...] = ()
    longest_s: float = 60.0
    repeatable: bool = False
    kinds: Mapping[str, ParameterKind] = field(default_factory=dict)
    """What a text parameter names (``{"target": "place"}``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SkillFile:
    """A skill file, and how to run it."""

    path: Path
    promises: Mapping[str, Promise] = field(default_factory=dict)
    """By name of the tool."""
    python: str = sys.executable
    """The interpreter that has what the file imports, and Loopwright."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the process gets beside PATH, HOME and the like; nothing else of ours is handed on."""
    starts_within_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a file that is not there."""
        if not self.path.is_file():
            raise InvalidConfig(f"{self.path} is no skill file")


class SkillFileDied(ContractError):
    """The process of a skill file ended by itself, or never began to serve."""


def _look_nowhere() -> tuple[Sighting, ...]:
    return ()


def _release_never(by: str, signature: str) -> None:
    raise SkillError("nobody was named who may release a stop of this robot")


class SkillFileRunner:
    """Runs the skills of a file; a :class:`~loopwright.robot.agent.agent.Runner`."""

    def __init__(
        self,
        file: SkillFile,
        *,
        look: Callable[[], tuple[Sighting, ...]] = _look_nowhere,
        check_release: Callable[[str, str], None] = _release_never,
    ) -> None:
        """Start the file and ask what it can.

        Args:
            file: Which, and how.
            look: What sees the world around the robot; its sightings are by the robot, by name.
            check_release: Raises unless a stop may be released, given who and a signature.

        Raises:
            SkillFileDied: It does not start, or does not serve.
            InvalidConfig: A tool takes what no skill can be given, or a promise fits no tool.
            MissingExtra: The MCP SDK is not installed.
        """
        self._look, self._check_release = look, check_release
        self._child = _Child(file)
        self._stopped: str | None = None
        try:
            tools = self._child.tools()
            self._tools = {_title(name): tool for name, tool in tools.items()}
            if unknown := sorted(set(file.promises) - set(tools)):
                raise InvalidConfig(f"{file.path} has no tools {unknown}; it has {sorted(tools)}")
            self.skills = SkillSet(
                *(
                    Skill(_contract(tool, file.promises.get(name, Promise())), _no_body)
                    for name, tool in tools.items()
                )
            )
            """The skills, with contracts; their bodies are the tools, which only this runs."""
        except BaseException:
            self._child.close()
            raise

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        """Call the tool of a skill, to its end or until ``cancelled`` is set."""
        if self._stopped is not None:
            return "stopped", self._stopped
        tool = self._tools[order.skill]
        call = self._child.call(tool.name, _arguments(tool, order.values))
        while not concurrent.futures.wait([call], timeout=_LOOK_AGAIN_S).done:
            if cancelled.is_set():
                self._child.kill()
                call.cancel()
                return "cancelled", "cut short; the process of the skill file was ended"
        try:
            result = call.result()
        except SkillFileDied as error:
            if self._stopped is not None:
                return "stopped", self._stopped
            return "crashed", str(error)
        said = _said(result)
        return (
            ("gave-up", said or "the tool says it failed")
            if result.is_error
            else (
                "finished",
                said,
            )
        )

    def look(self) -> tuple[Sighting, ...]:
        """Return what is seen around the robot."""
        return self._look()

    def stop(self, reason: str) -> None:
        """End the process of the file, and run nothing until the stop is released."""
        self._stopped = reason
        self._child.kill()

    def held(self) -> str | None:
        """Return why nothing is run; None if it is."""
        return self._stopped

    def release(self, by: str, signature: str) -> None:
        """Release the stop if it may be."""
        self._check_release(by, signature)
        self._stopped = None

    def close(self) -> None:
        """End the process; idempotent."""
        self._child.close()


class _Child:
    """The process of a skill file, started whenever it is needed, and a loop that talks to it."""

    def __init__(self, file: SkillFile) -> None:
        _library()
        self._file = file
        self._folder = tempfile.TemporaryDirectory(prefix="roboskill-")
        self._pid_file = Path(self._folder.name) / "pid"
        self._log = Path(self._folder.name) / "stderr"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="roboskill")
        self._thread.daemon = True
        self._thread.start()
        self._session: _Session | None = None
        self._closed = False

    def tools(self) -> dict[str, types.Tool]:
        """Return the tools by name."""

        async def ask() -> dict[str, types.Tool]:
            client = await self._client()
            return {tool.name: tool for tool in (await client.list_tools()).tools}

        return self._begin(ask()).result()

    def call(
        self, tool: str, arguments: Mapping[str, Any]
    ) -> concurrent.futures.Future[types.CallToolResult]:
        """Begin a call; the future raises SkillFileDied if the process ends before the call."""

        async def ask() -> types.CallToolResult:
            client = await self._client()
            return await client.call_tool(tool, dict(arguments))

        return self._begin(ask())

    def kill(self) -> None:
        """End the process and its children now; the next call starts another."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._pid_file.read_text())
            self._pid_file.unlink()
            # The SDK gives the child a process group of its own; never end ours.
            own_group = os.getpgid(pid) == pid
            (os.killpg if own_group else os.kill)(pid, signal.SIGKILL)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._forget)

    def close(self) -> None:
        """End process and loop; idempotent."""
        if self._closed:
            return
        self._closed = True
        self.kill()
        self._begin(self._leave()).result(timeout=20.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5.0)
        self._loop.close()
        self._folder.cleanup()

    def _begin(self, asking: Any) -> concurrent.futures.Future[Any]:
        async def guarded() -> Any:
            from mcp import MCPError

            try:
                return await asking
            except (MCPError, OSError, EOFError) as error:
                self._forget()
                raise SkillFileDied(f"{self._file.path.name}: {error}; {self._last_words()}") from (
                    error
                )

        return asyncio.run_coroutine_threadsafe(guarded(), self._loop)

    async def _client(self) -> Client:
        if self._session is None or self._session.over.is_set():
            await self._leave()
            self._session = _Session(self._file, self._pid_file, self._log)
        return await self._session.client(self._last_words)

    def _forget(self) -> None:
        if self._session is not None:
            self._session.over.set()

    async def _leave(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.end()

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return f"its last words: {lines[-1][:_SAID_CHARACTERS]}" if lines else "it said nothing"


class _Session:
    """One life of the process; everything here runs in the loop."""

    def __init__(self, file: SkillFile, pid_file: Path, log: Path) -> None:
        self.over = asyncio.Event()
        self._file, self._pid_file, self._log = file, pid_file, log
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live())

    async def client(self, last_words: Callable[[], str]) -> Client:
        try:
            async with asyncio.timeout(self._file.starts_within_s):
                return await asyncio.shield(self._opened)
        except TimeoutError as error:
            self.over.set()
            raise SkillFileDied(
                f"{self._file.path.name} does not serve after {self._file.starts_within_s:g} s; "
                f"{last_words()}"
            ) from error

    async def end(self) -> None:
        self.over.set()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await self._task

    async def _live(self) -> None:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        parameters = StdioServerParameters(
            command=self._file.python,
            args=[
                "-m",
                "loopwright.robot.wires.roboskill_child",
                str(self._file.path.resolve()),
                str(self._pid_file),
            ],
            env=dict(self._file.environment),
            cwd=self._file.path.resolve().parent,
        )
        try:
            with self._log.open("w") as log:
                transport = stdio_client(parameters, errlog=log)
                async with Client(transport, mode="legacy") as client:
                    self._opened.set_result(client)
                    await self.over.wait()
        except Exception as error:  # noqa: BLE001 - groups of whatever the SDK raises
            if not self._opened.done():
                self._opened.set_exception(OSError(f"it does not serve ({error})"))
        finally:
            self.over.set()


def _library() -> None:
    try:
        import mcp  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("mcp", "robot", "running a skill file") from error


def _title(tool: str) -> str:
    return tool.replace("_", "-")


def _contract(tool: types.Tool, promise: Promise) -> SkillContract:
    return SkillContract(
        name=_title(tool.name),
        summary=(tool.description or "").strip().split("\n")[0],
        parameters=tuple(
            Parameter(name=name, kind=_kind(tool.name, name, schema, promise))
            for name, schema in tool.input_schema.get("properties", {}).items()
        ),
        requires=conditions(*promise.requires),
        ensures=conditions(*promise.ensures),
        resources=promise.resources,
        longest_s=promise.longest_s,
        repeatable=promise.repeatable,
    )


def _kind(tool: str, name: str, schema: Mapping[str, Any], promise: Promise) -> ParameterKind:
    types_ = _types(schema)
    if types_ & {"number", "integer"}:
        return "number"
    if "string" in types_:
        return promise.kinds.get(name, "text")
    raise InvalidConfig(
        f"tool {tool!r}: {name!r} is {sorted(types_) or 'untyped'}; skills take texts and numbers"
    )


def _types(schema: Mapping[str, Any]) -> set[str]:
    options = schema.get("anyOf", (schema,))
    return {str(option.get("type")) for option in options} - {"null", "None"}


def _arguments(tool: types.Tool, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the tool is called with; an empty text stands for what may be left out."""
    needed = set(tool.input_schema.get("required", ()))
    schemas = tool.input_schema.get("properties", {})
    given = {k: v for k, v in values.items() if k in needed or v != ""}
    whole = {k for k, v in given.items() if isinstance(v, float) and v.is_integer()}
    return {
        k: int(v) if k in whole and "number" not in _types(schemas[k]) else v
        for k, v in given.items()
    }


def _said(result: types.CallToolResult) -> str:
    texts = [getattr(part, "text", "") for part in result.content]
    return " ".join(t for t in texts if t)[:_SAID_CHARACTERS]


def _no_body(hands: Hands, **values: object) -> Motion:
    raise SkillError("the body of this skill is a tool of a skill file; run it with its runner")
    yield None  # pragma: no cover - makes this a generator, as bodies are
