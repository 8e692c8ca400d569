"""Clocks of an investigation: what is due when, and whether it was done.

The table is ``clocks.toml``, or a file of the site in its form.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from loopwright.core.errors import InvalidConfig, UnknownName

Harm = Literal["none", "damage", "serious", "death", "widespread"]
"""What came of it: nothing, damage to things, a serious incident, a death, or harm to
infrastructure or to many."""
HARMS: tuple[Harm, ...] = get_args(Harm)

StageName = Literal["opened", "notified", "preliminary", "interim", "update", "final"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""``final`` is the finding that closes it."""

DAY_S = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Clock:
    """One row of the table."""

    name: str
    days: float
    done_by: tuple[StageName, ...]
    source: str
    date: str
    """When the source was read."""
    harm: tuple[Harm, ...] = ()
    """Runs only for these; empty: always."""
    yearly: bool = False
    """Due again at every anniversary, until the final one."""

    def __post_init__(self) -> None:
        """Refuse a clock that never rings, nobody can stop, or nobody stands behind."""
        if not self.days > 0 or not self.source.strip():
            raise InvalidConfig(f"clock {self.name!r} needs days above 0 and a source")
        for stage in self.done_by:
            if stage not in STAGES:
                raise UnknownName("stage of an investigation", stage, STAGES)
        for harm in self.harm:
            if harm not in HARMS:
                raise UnknownName("harm", harm, HARMS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """Something that is or was due."""

    name: str
    due_s: float
    """Seconds since 1970."""
    done_s: float | None
    """When it was done; None if it was not."""
    source: str

    def state(self, now_s: float) -> Literal["done", "done late", "running", "overdue"]:
        """Return how it stands."""
        if self.done_s is not None:
            return "done" if self.done_s <= self.due_s else "done late"
        return "running" if now_s <= self.due_s else "overdue"


def read_clocks(path: Path | None = None) -> tuple[Clock, ...]:
    """Read a table of clocks; the built-in one by default.

    Raises:
        InvalidConfig: It is none.
    """
    try:
        table = tomllib.loads(path.read_text() if path else _built_in())
        return tuple(
            Clock(
                name=name,
                days=float(row["days"]),
                done_by=tuple(row["done_by"]),
                source=str(row["source"]),
                date=str(row["date"]),
                harm=tuple(row.get("harm", ())),
                yearly=bool(row.get("yearly", False)),
            )
            for name, row in table.items()
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidConfig(f"{path or 'clocks.toml'} is no table of clocks: {error}") from error


def dues(
    clocks: Iterable[Clock],
    opened_s: float,
    done: Iterable[tuple[StageName, float]],
    harm: Harm,
    now_s: float,
) -> tuple[Due, ...]:
    """Return everything that was due until now, and the next of each clock.

    Args:
        clocks: The table.
        opened_s: Seconds since 1970.
        done: Stages with their times, in order.
        harm: What is known to have come of it.
        now_s: Seconds since 1970.
    """
    stages = tuple(done)
    return tuple(
        due
        for clock in clocks
        if not clock.harm or harm in clock.harm
        for due in _dues_of(clock, opened_s, stages, now_s)
    )


def _dues_of(
    clock: Clock, opened_s: float, stages: tuple[tuple[StageName, float], ...], now_s: float
) -> Iterator[Due]:
    done = sorted(time_s for stage, time_s in stages if stage in clock.done_by)
    closed_s = min((time_s for stage, time_s in stages if stage == "final"), default=None)
    begin_s, due_s = opened_s, opened_s + clock.days * DAY_S
    while True:
        # An interim statement is good for the year it is made in.
        since_s = begin_s if clock.yearly else opened_s
        first = next((time_s for time_s in done if time_s >= since_s), None)
        yield Due(name=clock.name, due_s=due_s, done_s=first, source=clock.source)
        if not clock.yearly or now_s <= due_s or (closed_s is not None and closed_s <= due_s):
            return
        begin_s, due_s = due_s, due_s + clock.days * DAY_S


def _built_in() -> str:
    return resources.files("loopwright.safety.occurrence").joinpath("clocks.toml").read_text()
