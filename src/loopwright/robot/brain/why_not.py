"""Why there is no plan: what a goal would need, and nobody at work can bring about.

Everything that could ever hold is found by letting skills only add facts (the delete relaxation
of Bonet & Geffner 2001). A goal that is not even among that is followed back to the first thing
that is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from loopwright.robot.brain.symbols import KINDS, kinds_of
from loopwright.robot.journal.fold import RobotState
from loopwright.robot.logic import Condition, Fact, Symbols
from loopwright.robot.memory.things import Things
from loopwright.robot.skill import SkillContract

_MOST_WAYS = 50_000
"""With more ways than this to call skills, nothing is explained."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One call of a skill."""

    robot: str
    skill: str
    needs: frozenset[Fact]
    brings: frozenset[Fact]


def why_not(
    goal: tuple[Condition, ...],
    robots: Mapping[str, RobotState],
    things: Things,
    start: Symbols,
) -> str:
    """Return what is missing for a goal, in words; empty if no single thing is.

    Args:
        goal: What was to hold in the end.
        robots: Those at work, with their skills.
        things: What there is.
        start: What holds now.
    """
    ways = list(_ways(robots, things))
    if len(ways) > _MOST_WAYS:
        return ""
    possible = set(start.true)
    left = ways
    while new := [way for way in left if way.needs <= possible]:
        possible |= {fact for way in new for fact in way.brings}
        left = [way for way in left if not way.needs <= possible]
    wanted = sorted(c.fact for c in goal if c.holds and c.fact not in possible)
    return "; ".join(_missing(fact, ways, possible, robots, frozenset()) for fact in wanted)


def _missing(
    fact: Fact,
    ways: list[_Way],
    possible: set[Fact],
    robots: Mapping[str, RobotState],
    asked: frozenset[Fact],
) -> str:
    """Return the first thing that is missing for a fact; ``asked`` are those it is missing for."""
    asked |= {fact}

    def far(way: _Way) -> tuple[int, int, str, str]:
        lacking = way.needs - possible
        # That a table stands elsewhere is no more the reason than that a robot cannot come.
        fixed = sum(not robots.keys() & set(f.args) for f in lacking)
        return fixed, len(lacking), way.robot, way.skill

    bringing = [w for w in ways if fact in w.brings and not (w.needs - possible) & asked]
    if bringing:
        nearest = min(bringing, key=far)
        deeper = _missing(min(nearest.needs - possible), ways, possible, robots, asked)
        return f"for {fact} {nearest.robot} would have to {nearest.skill}, and {deeper}"
    able = [
        f"{name} can {', '.join(sorted(robots[name].skills)) or 'nothing'}"
        for name in fact.args
        if name in robots
    ]
    who = f" ({'; '.join(able)})" if able else ""
    return f"nobody at work can bring about {fact}{who}"


def _ways(robots: Mapping[str, RobotState], things: Things) -> Iterator[_Way]:
    for robot in robots.values():
        for contract in robot.skills.values():
            if any(p.kind in ("number", "text") for p in contract.parameters):
                continue
            for values in _values(contract, things):
                bound = contract.bound(robot.name, values)
                yield _Way(
                    robot.name,
                    contract.name,
                    frozenset(c.fact for c in bound.requires if c.holds),
                    frozenset(c.fact for c in bound.ensures if c.holds),
                )


def _values(contract: SkillContract, things: Things) -> Iterator[dict[str, str]]:
    """Yield every way to name a skill's parameters that its conditions allow by their kinds."""
    names = [p.name for p in contract.parameters]
    fitting = []
    for name in names:
        kinds = {
            kind
            for c in (*contract.requires, *contract.ensures)
            for argument, kind in zip(c.fact.args, KINDS.get(c.fact.name, ()), strict=False)
            if argument == f"?{name}"
        }
        fitting.append([t.name for t in things if kinds <= kinds_of(t)])
    for chosen in product(*fitting):
        yield dict(zip(names, chosen, strict=True))
