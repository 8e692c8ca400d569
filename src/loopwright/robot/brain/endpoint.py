"""A language model as a planner: any OpenAI-compatible endpoint, never believed unchecked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loopwright.core.errors import InvalidConfig, LoopwrightError, MissingExtra
from loopwright.robot.brain.language.meaning import goal_of
from loopwright.robot.brain.plan_json import SCHEMA, graph_from, json_in
from loopwright.robot.brain.symbolic import plan_for
from loopwright.robot.brain.validate import check_graph
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.knowledge import NoPlan, Problem
from loopwright.robot.logic import Symbols, unmet
from loopwright.robot.memory.things import Things
from loopwright.robot.task import Step, TaskGraph

_RULES = """You plan for a team of robots. Reply with one JSON object and nothing else:
{"goal": [facts that must hold in the end], "steps": [{"id", "robot", "skill", "values", "after"}]}
"after" lists the ids of steps that must be done before; steps without an order run side by side.
A step may begin only when every fact its skill requires holds, by what holds now and what the
steps before it ensure. Use only robots, skills and things that are listed. If the instruction is
ambiguous, impossible or unsafe, reply {"goal": [], "steps": [], "refusal": "why"}."""


class EndpointUnreachable(LoopwrightError):
    """The planning endpoint did not answer, or not as such an endpoint does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where a model listens."""

    base_url: str
    """``"http://127.0.0.1:8000/v1"``."""
    model: str
    key: str | None = None
    timeout_s: float = 60.0
    attempts: int = 2
    """How often it is asked: again with what was wrong."""

    def __post_init__(self) -> None:
        """Refuse an address that is none."""
        if not self.base_url.startswith(("http://", "https://")):
            raise InvalidConfig(
                f"base_url is {self.base_url!r}; expected http://... or https://..."
            )
        if self.attempts < 1 or self.timeout_s <= 0:
            raise InvalidConfig(f"attempts {self.attempts}, timeout_s {self.timeout_s}")


class EndpointBrain:
    """Asks a model for the graph; validates it; has a failed one repaired in symbols."""

    name = "endpoint"

    def __init__(self, endpoint: Endpoint, things: Things) -> None:
        """Prepare to ask.

        Raises:
            MissingExtra: httpx is not installed.
        """
        try:
            import httpx
        except ImportError as error:
            raise MissingExtra("httpx", "robot", "planning with an endpoint") from error
        self._endpoint, self._things, self._http = endpoint, things, httpx
        head = {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        self._client = httpx.Client(timeout=endpoint.timeout_s, headers=head)

    def plan(self, problem: Problem) -> TaskGraph:
        """Return a graph that the model proposed and that holds, or one that was repaired.

        Raises:
            NoPlan: The model refused, or neither its plan nor a repair holds.
            EndpointUnreachable: It could not be asked.
        """
        now = problem.memory.symbols()
        asked = [
            {"role": "system", "content": _RULES},
            {"role": "user", "content": self._question(problem, now)},
        ]
        graph: TaskGraph | None = None
        wrong = ""
        for _ in range(self._endpoint.attempts):
            reply = self._ask(asked)
            try:
                graph = self._read(reply, problem)
                check_graph(graph, problem.robots, self._things, now)
                return graph
            except NoPlan as error:
                wrong = str(error)
                if wrong.startswith("refused: "):
                    raise
                asked += [
                    {"role": "assistant", "content": reply},
                    {"role": "user", "content": f"That plan does not hold: {wrong}. Correct it."},
                ]
        if graph is not None and graph.goal and unmet(graph.goal, now):
            repaired = plan_for(graph.goal, problem.robots, self._things, now)
            return replace(repaired, reading=f"repaired, because {wrong}")
        raise NoPlan(f"the model's plan does not hold: {wrong}")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _question(self, problem: Problem, now: Symbols) -> str:
        """Return everything that a plan may rest on, as JSON."""
        return json.dumps(
            {
                "instruction": problem.instruction,
                "goal_understood_before": [str(c) for c in problem.goal],
                "why_a_new_plan": problem.reason,
                "robots": {r.name: _contracts(r) for r in problem.robots.values()},
                "things": {t.name: {"kind": t.kind, **dict(t.properties)} for t in self._things},
                "holds_now": sorted(map(str, now.true)),
            },
            ensure_ascii=False,
        )

    def _ask(self, asked: list[dict[str, str]]) -> str:
        body = {
            "model": self._endpoint.model,
            "messages": asked,
            "temperature": 0.0,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "plan", "schema": SCHEMA},
            },
        }
        address = f"{self._endpoint.base_url.rstrip('/')}/chat/completions"
        try:
            answer = self._client.post(address, json=body)
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"])
        except (self._http.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise EndpointUnreachable(
                f"{address} gave no plan: {type(error).__name__}: {error}; "
                "is the server up, and the model's name right?"
            ) from error

    def _read(self, reply: str, problem: Problem) -> TaskGraph:
        data = json_in(reply)
        if refusal := data.get("refusal"):
            raise NoPlan(f"refused: {refusal}")
        now = problem.memory.symbols()
        return graph_from(
            {**data, "goal": data.get("goal") or [str(c) for c in problem.goal]},
            problem.robots,
            now,
            self._ground,
        )

    def _ground(self, text: str, robot: RobotState, state: Symbols) -> tuple[Step, ...]:
        """Return what one robot does about a subtask in words."""
        goal = goal_of(text, self._things, state)
        found = plan_for(goal, {robot.name: robot}, self._things, state)
        return tuple(found.step(identity) for identity in found.order())


def _contracts(robot: RobotState) -> dict[str, Mapping[str, Any]]:
    return {
        c.name: {
            "does": c.summary,
            "values": {p.name: p.kind for p in c.parameters},
            "requires": [str(x) for x in c.requires],
            "ensures": [str(x) for x in c.ensures],
        }
        for c in robot.skills.values()
    }
