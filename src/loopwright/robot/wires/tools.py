"""The tools of a fleet: what an MCP client may call, with the role that each takes.

Skills become tools of their own, with their typed parameters, and what they require and ensure in
the description. Calling one makes a task of one step, so it is journalled, observed and judged as
any other; the text of a robot never makes a success.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool

from loopwright.core.errors import InvalidConfig
from loopwright.robot.access import AccessRole
from loopwright.robot.logic import Condition
from loopwright.robot.skill import Parameter, SkillContract
from loopwright.robot.wires.desk import Desk
from loopwright.robot.wires.patience import Patience
from loopwright.robot.wires.plain import check_plain
from loopwright.robot.wires.views import Plain

LONGEST_WAIT_S = 60.0
"""How long one call may wait for a task."""
SKILL_PREFIX = "skill_"

Act = Callable[["Caller", Plain], Awaitable[Plain]]

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "object": (dict,),
}
_TEXT: Plain = {"type": "string"}
_TASK: Plain = {"type": "string", "description": "id of a task"}
_ROBOT: Plain = {"type": "string", "description": "name of a robot; leave out for all"}
_WAIT: Plain = {
    "type": "number",
    "minimum": 0,
    "maximum": LONGEST_WAIT_S,
    "description": "seconds to wait for the end of the task",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they reach."""

    desk: Desk
    patience: Patience
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetTool:
    """One tool."""

    name: str
    role: AccessRole
    description: str
    properties: Mapping[str, Plain]
    act: Act
    required: tuple[str, ...] = ()
    judged: bool = False
    """Whether the outcome of a task is what the call is about: anything but success is an error."""

    @property
    def schema(self) -> Plain:
        """The JSON schema of the arguments."""
        return {
            "type": "object",
            "additionalProperties": False,
            "properties": dict(self.properties),
            "required": list(self.required),
        }

    async def call(self, caller: Caller, arguments: Mapping[str, Any]) -> Plain:
        """Check the arguments and act.

        Raises:
            InvalidConfig: An argument is missing, unknown or unfit, or could not be written down.
        """
        check_plain(dict(arguments))
        self._check(arguments)
        return await self.act(caller, dict(arguments))

    def _check(self, arguments: Mapping[str, Any]) -> None:
        known = sorted(self.properties)
        if unknown := sorted(set(arguments) - set(known)):
            raise InvalidConfig(f"{self.name} has no {unknown}; it takes {known}")
        if missing := sorted(set(self.required) - set(arguments)):
            raise InvalidConfig(f"{self.name} lacks {missing}")
        for name, value in arguments.items():
            wanted = self.properties[name]
            if type(value) not in _JSON_TYPES[wanted["type"]]:
                raise InvalidConfig(f"{self.name}: {name}={value!r} is no {wanted['type']}")
            if "enum" in wanted and value not in wanted["enum"]:
                raise InvalidConfig(f"{self.name}: {name}={value!r} is none of {wanted['enum']}")
            if not wanted.get("minimum", value) <= value <= wanted.get("maximum", value):
                raise InvalidConfig(f"{self.name}: {name}={value!r} is out of its range")


def tools_of(desk: Desk) -> dict[str, FleetTool]:
    """Return all tools by name: the fixed ones, and the skills of the robots at work now."""
    skills = [tool for name, has in desk.skills().items() for tool in _skill_tools(name, has)]
    return {**FIXED, **{tool.name: tool for tool in skills}}


# Skills ------------------------------------------------------------------------------------------

Contracts = Mapping[str, SkillContract]
"""Robots that have a skill, each with what it promises itself."""


def _skill_tools(name: str, contracts: Contracts) -> list[FleetTool]:
    """Return the tools of a skill: one, unless robots take other parameters for that name."""
    alike: dict[tuple[Parameter, ...], dict[str, SkillContract]] = {}
    for robot, contract in contracts.items():
        alike.setdefault(contract.parameters, {})[robot] = contract
    first, *others = alike.values()
    title = f"{SKILL_PREFIX}{name}"
    return [
        _skill_tool(title, first),
        *(_skill_tool(f"{title}_of_{next(iter(other))}", other) for other in others),
    ]


def _skill_tool(title: str, contracts: Contracts) -> FleetTool:
    parameters = next(iter(contracts.values())).parameters
    properties = {
        p.name: {
            "type": "number" if p.kind == "number" else "string",
            "description": "a number" if p.kind == "number" else f"name of: {p.kind}",
        }
        for p in parameters
    }
    robot = {"type": "string", "enum": list(contracts), "description": "who does it"}
    return FleetTool(
        name=title,
        role="operate",
        description=_described(contracts),
        # A parameter may be called like one of ours; then it is the parameter.
        properties={"robot": robot, "wait_s": _WAIT, **properties},
        required=tuple(p.name for p in parameters),
        judged=True,
        act=partial(_run_skill, contracts),
    )


def _described(contracts: Contracts) -> str:
    promises: dict[str, list[str]] = {}
    for robot, contract in contracts.items():
        promises.setdefault(_promise(contract), []).append(robot)
    first = next(iter(contracts.values()))
    told = (f"{promise} Robots: {', '.join(robots)}." for promise, robots in promises.items())
    return " ".join((first.summary or first.name, *told))


def _promise(contract: SkillContract) -> str:
    requires = ", ".join(map(str, contract.requires)) or "nothing"
    ensures = ", ".join(map(str, contract.ensures)) or (
        "nothing that could be observed, so the outcome is unknown at best"
    )
    return f"Requires: {requires}. Ensures: {ensures}. At most {contract.longest_s:g} s."


async def _run_skill(contracts: Contracts, caller: Caller, given: Plain) -> Plain:
    own = [p.name for p in next(iter(contracts.values())).parameters]
    values = {name: given[name] for name in own}
    robot = given.get("robot") if "robot" not in own else None
    robot = robot or (next(iter(contracts)) if len(contracts) == 1 else None)
    able = {robot: contracts[robot]} if robot else contracts
    names = {k: str(v) for k, v in values.items()} | ({"robot": robot} if robot else {})
    name = next(iter(able.values())).name
    graph = {
        "steps": [{"id": "s1", "skill": name, "values": values, "robot": robot}],
        "goal": [str(condition) for condition in _ensured_by_all(able, names)],
        "reading": f"{name} as called",
    }
    said = f"{name}({', '.join(map(str, values.values()))})"
    task = await run_in_threadpool(caller.desk.ask, said, by=caller.by, graph=graph)
    wait_s = given.get("wait_s", LONGEST_WAIT_S) if "wait_s" not in own else LONGEST_WAIT_S
    return await _ended(caller, task, wait_s)


def _ensured_by_all(contracts: Contracts, names: Mapping[str, str]) -> list[Condition]:
    """Return what holds afterwards whoever does it; what depends on that is no goal."""
    first, *others = ([c.bind(names) for c in known.ensures] for known in contracts.values())
    return [c for c in first if not c.fact.free and all(c in other for other in others)]


# Tasks -------------------------------------------------------------------------------------------


async def _ask(caller: Caller, given: Plain) -> Plain:
    task = await run_in_threadpool(
        caller.desk.ask,
        given["instruction"],
        by=caller.by,
        graph=given.get("graph"),
        deadline_s=given.get("deadline_s"),
    )
    return await _ended(caller, task, given.get("wait_s", 0.0))


async def _result(caller: Caller, given: Plain) -> Plain:
    return await _ended(caller, given["task"], given.get("wait_s", 0.0))


async def _ended(caller: Caller, task: str, wait_s: float) -> Plain:
    await caller.patience.until(lambda: caller.desk.awaited(task)["status"] == "ended", wait_s)
    return await run_in_threadpool(caller.desk.awaited, task)


async def _tasks(caller: Caller, given: Plain) -> Plain:
    return {"tasks": await run_in_threadpool(partial(caller.desk.tasks, **given))}


async def _task(caller: Caller, given: Plain) -> Plain:
    return await run_in_threadpool(caller.desk.task, given["task"])


async def _change(name: str, caller: Caller, given: Plain) -> Plain:
    return await run_in_threadpool(getattr(caller.desk, name), given["task"], by=caller.by)


async def _events(caller: Caller, given: Plain) -> Plain:
    read = partial(
        caller.desk.events,
        since=given.get("since", 0),
        limit=given.get("limit", 100),
        task=given.get("task"),
    )
    return {"events": await run_in_threadpool(read)}


# Fleet and memory --------------------------------------------------------------------------------


async def _robots(caller: Caller, given: Plain) -> Plain:
    return await run_in_threadpool(caller.desk.robots)


async def _things(caller: Caller, given: Plain) -> Plain:
    return {"things": await run_in_threadpool(caller.desk.things)}


async def _thing(caller: Caller, given: Plain) -> Plain:
    return await run_in_threadpool(caller.desk.thing, given["thing"], at_s=given.get("at_s"))


async def _stop(caller: Caller, given: Plain) -> Plain:
    return await caller.patience.urgently(
        partial(caller.desk.stop, given.get("robot"), by=caller.by)
    )


async def _release(caller: Caller, given: Plain) -> Plain:
    release = partial(
        caller.desk.release, given.get("robot"), by=given["by"], signature=given["signature"]
    )
    return await run_in_threadpool(release)


_STATUS: Plain = {
    "type": "string",
    "enum": ["planning", "running", "paused", "cancelling", "ended"],
}
_LIMIT: Plain = {"type": "integer", "minimum": 1, "maximum": 500}

_TOOLS = (
    FleetTool(
        name="task_ask",
        role="operate",
        description="Ask the fleet for something in words; it plans, acts, observes and reports.",
        properties={
            "instruction": _TEXT,
            "graph": {"type": "object", "description": "steps and goal; leave out to have it plan"},
            "deadline_s": {
                "type": "number",
                "exclusiveMinimum": 0,
                "description": "seconds from now until it should be over; if it will not, or was "
                "not, that is said, and it goes on",
            },
            "wait_s": _WAIT,
        },
        required=("instruction",),
        judged=True,
        act=_ask,
    ),
    FleetTool(
        name="task_result",
        role="observe",
        description="How a task ended (succeeded, failed or unknown, and why), or how it stands.",
        properties={"task": _TASK, "wait_s": _WAIT},
        required=("task",),
        judged=True,
        act=_result,
    ),
    FleetTool(
        name="task_list",
        role="observe",
        description="The newest tasks.",
        properties={"status": _STATUS, "limit": _LIMIT},
        act=_tasks,
    ),
    FleetTool(
        name="task_show",
        role="observe",
        description="All there is to say of a task: its graph, every attempt, and why.",
        properties={"task": _TASK},
        required=("task",),
        act=_task,
    ),
    *(
        FleetTool(
            name=f"task_{name}",
            role="operate",
            description=description,
            properties={"task": _TASK},
            required=("task",),
            act=partial(_change, name),
        )
        for name, description in (
            ("cancel", "Stop a task; running skills stop at once."),
            ("pause", "Begin no further step of a task until it is resumed."),
            ("resume", "Let a paused task go on. This releases no emergency stop."),
        )
    ),
    FleetTool(
        name="events",
        role="observe",
        description="Events of the journal after a number, of all tasks or of one.",
        properties={"since": {"type": "integer", "minimum": 0}, "limit": _LIMIT, "task": _TASK},
        act=_events,
    ),
    FleetTool(
        name="robots",
        role="observe",
        description="All robots: whether they live, are stopped, what they can and what they do.",
        properties={},
        act=_robots,
    ),
    FleetTool(
        name="memory_list",
        role="observe",
        description="Everything that has a name, with where it is believed to be.",
        properties={},
        act=_things,
    ),
    FleetTool(
        name="memory_where",
        role="observe",
        description="Where a thing is, who saw it last and when, how sure that still is, and what "
        "holds of it; with at_s (seconds since 1970) also where it was by then.",
        properties={"thing": _TEXT, "at_s": {"type": "number"}},
        required=("thing",),
        act=_thing,
    ),
    FleetTool(
        name="stop",
        role="operate",
        description="Emergency stop of one robot or of all, latched until a signed release.",
        properties={"robot": _ROBOT},
        act=_stop,
    ),
    FleetTool(
        name="release",
        role="resume",
        description="Release a latched stop; the signature is checked here, and by every robot.",
        properties={"robot": _ROBOT, "by": _TEXT, "signature": _TEXT},
        required=("by", "signature"),
        act=_release,
    ),
)

FIXED: Mapping[str, FleetTool] = {tool.name: tool for tool in _TOOLS}
"""Those that every fleet has: to find one of them, a stop, nothing is asked of the fleet."""
