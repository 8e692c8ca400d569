"""Assurance cases as text: claims, why they are believed, and what would show them wrong.

A case is a TOML file in the elements of the Goal Structuring Notation. Goals are supported by
strategies, goals and solutions; every leaf is a *solution*, which carries digests of registered
statements (its evidence) and *indicators*: metrics over the register with a threshold. Evidence
that is missing, suspended or expired and an indicator beyond its threshold turn a solution red,
and with it everything it supports, up to the root::

    root = "G1"

    [goal.G1]
    text = "The arm keeps its limits"
    supported_by = ["E1"]

    [solution.E1]
    text = "Campaign of 70 episodes"
    evidence = ["<digest of the certificate>"]
    indicators = [{ metric = "count", kind = "occurrence/v1", within_days = 90, at_most = 0 }]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.safety.directive.orders import SUSPENSION
from loopwright.safety.directive.standing import orders_in_force
from loopwright.safety.entry import Entry
from loopwright.safety.register import Register

Element = Literal["goal", "strategy", "solution", "context"]
"""``context`` says under what circumstances; it supports nothing and is always green."""
ELEMENTS: tuple[Element, ...] = get_args(Element)

Metric = Literal["count", "latest", "directives-in-force"]
"""``count``: entries of a kind. ``latest``: a number in the last entry of a kind.
``directives-in-force``: directives that are not over."""

_S_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Indicator:
    """A metric over the register, and the threshold beyond which the claim does not hold."""

    metric: Metric
    kind: str = ""
    """Of statement; not for ``directives-in-force``."""
    where: Mapping[str, Json] = field(default_factory=dict)
    """Fields of the predicate (dots go inside) to the value they must have."""
    field: str = ""
    """Of ``latest``: the field of the predicate that holds the number."""
    within_days: float | None = None
    """Count only what was registered so recently."""
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        """Refuse an indicator that could not break, or means nothing."""
        if self.metric not in get_args(Metric):
            raise UnknownName("metric", str(self.metric), get_args(Metric))
        if self.at_most is None and self.at_least is None:
            raise InvalidConfig("an indicator needs at_most or at_least; else it cannot break")
        if (self.metric != "directives-in-force") != bool(self.kind):
            raise InvalidConfig(f"metric {self.metric!r} with the kind {self.kind!r}")
        if (self.metric == "latest") != bool(self.field):
            raise InvalidConfig("a field belongs to the metric 'latest', which needs one")

    def problem(self, register: Register, now_s: float) -> str:
        """Return how it is broken; empty if it holds."""
        value = self._value(register, now_s)
        name = " ".join(filter(None, (self.metric, self.kind, self.field)))
        if value is None:
            return f"{name}: nothing to measure"
        if self.at_most is not None and value > self.at_most:
            return f"{name} is {value:g}, at most {self.at_most:g} was claimed"
        if self.at_least is not None and value < self.at_least:
            return f"{name} is {value:g}, at least {self.at_least:g} was claimed"
        return ""

    def _value(self, register: Register, now_s: float) -> float | None:
        if self.metric == "directives-in-force":
            return float(len(orders_in_force(register.urgent()).orders))
        found = [entry for entry in register.statements(self.kind) if self._counts(entry, now_s)]
        if self.metric == "count":
            return float(len(found))
        value = _inside(found[-1].statement.predicate, self.field) if found else None
        return float(value) if isinstance(value, (int, float)) else None

    def _counts(self, entry: Entry, now_s: float) -> bool:
        recent = self.within_days is None or entry.time_s >= now_s - self.within_days * _S_PER_DAY
        said = entry.statement.predicate
        return recent and all(_inside(said, name) == value for name, value in self.where.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """An element of a case."""

    id: str
    element: Element
    text: str
    supported_by: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    """Digests of registered statements."""
    indicators: tuple[Indicator, ...] = ()

    def __post_init__(self) -> None:
        """Refuse leaves that support nothing by anything, and claims dressed as evidence."""
        if not self.text.strip():
            raise InvalidConfig(f"{self.id} says nothing; give it a text")
        if self.element == "solution":
            if self.supported_by or not self.evidence or not self.indicators:
                raise InvalidConfig(
                    f"solution {self.id} needs evidence and indicators, and is supported by nothing"
                )
        elif self.evidence or self.indicators:
            raise InvalidConfig(f"{self.id} is a {self.element}; evidence belongs to solutions")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An element, and whether it holds."""

    node: Node
    depth: int
    """0 for the root."""
    problems: tuple[str, ...]
    """Its own; what is red below it comes on top."""
    red: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An assurance case."""

    root: str
    nodes: Mapping[str, Node]

    def __post_init__(self) -> None:
        """Refuse a case that is no tree below its root.

        Raises:
            UnknownName: An element names one that does not exist.
            InvalidConfig: There is a circle, an element supports two others, or none.
        """
        seen: list[str] = []
        waiting = [self.root]
        while waiting:
            name = waiting.pop()
            if name not in self.nodes:
                raise UnknownName("element of the case", name, self.nodes)
            if name in seen:
                raise InvalidConfig(f"{name} is in two places of the case, or below itself")
            seen.append(name)
            waiting += self.nodes[name].supported_by
        if idle := sorted(set(self.nodes) - set(seen)):
            raise InvalidConfig(f"{', '.join(idle)} support nothing below {self.root}")
        if self.nodes[self.root].element != "goal":
            raise InvalidConfig(f"the root {self.root} is no goal")

    @classmethod
    def read(cls, path: Path) -> Case:
        """Read a case file.

        Raises:
            DamagedData: It is missing, or no TOML.
            InvalidConfig: It is no case.
        """
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedData(f"{path} cannot be read: {error}") from error
        root = data.pop("root", None)
        if not isinstance(root, str):
            raise InvalidConfig(f'{path} names no root; write root = "G1"')
        nodes: dict[str, Node] = {}
        for element, members in data.items():
            if element not in ELEMENTS:
                raise UnknownName("element", element, ELEMENTS)
            for name, said in members.items():
                if name in nodes:
                    raise InvalidConfig(f"{path}: {name} is given twice")
                nodes[name] = _node(name, element, said)
        return cls(root=root, nodes=nodes)

    def judge(self, register: Register, now_s: float) -> tuple[Finding, ...]:
        """Return every element from the root down, each with what holds it up below it.

        Args:
            register: What the evidence and the indicators are looked up in.
            now_s: Seconds since 1970.
        """
        suspended = {
            str(entry.statement.predicate["certificate"])
            for entry in register.statements(SUSPENSION)
        }
        return tuple(self._judge(self.root, 0, register, now_s, suspended))

    def _judge(
        self, name: str, depth: int, register: Register, now_s: float, suspended: set[str]
    ) -> Iterator[Finding]:
        node = self.nodes[name]
        below = [
            list(self._judge(child, depth + 1, register, now_s, suspended))
            for child in node.supported_by
        ]
        problems = list(_evidence_problems(node, register, now_s, suspended))
        problems += filter(None, (item.problem(register, now_s) for item in node.indicators))
        carried = [found[0] for found in below if found[0].node.element != "context"]
        if node.element in ("goal", "strategy") and not carried:
            problems.append("nothing supports it")
        yield Finding(
            node=node,
            depth=depth,
            problems=tuple(problems),
            red=bool(problems) or any(found.red for found in carried),
        )
        for found in below:
            yield from found


def _node(name: str, element: Element, said: Mapping[str, Any]) -> Node:
    known = {item.name for item in fields(Node)} - {"id", "element"}
    for key in said:
        if key not in known:
            raise UnknownName(f"field of {name}", key, known)
    try:
        return Node(
            id=name,
            element=element,
            text=said.get("text", ""),
            supported_by=tuple(said.get("supported_by", ())),
            evidence=tuple(said.get("evidence", ())),
            indicators=tuple(Indicator(**item) for item in said.get("indicators", ())),
        )
    except TypeError as error:
        raise InvalidConfig(f"{name}: {error}") from error


def _evidence_problems(
    node: Node, register: Register, now_s: float, suspended: set[str]
) -> Iterator[str]:
    for digest in node.evidence:
        entry = register.find(digest)
        if entry is None:
            yield f"evidence {digest[:16]} is not registered"
            continue
        if digest in suspended:
            yield f"evidence {digest[:16]} is a certificate that is suspended"
        expires_s = entry.statement.predicate.get("expires_s")
        if isinstance(expires_s, (int, float)) and now_s >= expires_s:
            yield f"evidence {digest[:16]} has expired"


def _inside(said: Mapping[str, Json], name: str) -> Json:
    value: Json = said
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
