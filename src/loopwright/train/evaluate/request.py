"""Which items of a task are asked for: what a task plug-in is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.train.evaluate.task import AnyTask

Part = Literal["tune", "report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskRequest:
    """Which items of a task to ask, and of what sort of model."""

    part: Part = "report"
    """``"tune"`` is to choose settings by; figures come from ``"report"`` alone."""
    lists: tuple[str, ...] = ()
    """Names of item lists; all that the task has by default."""
    limit: int | None = None
    """Most items of a list, spread evenly over it."""
    language: str = "en"
    styles: tuple[str, ...] = ("twemoji",)
    """Of drawings."""
    data: str | None = None
    """Path of a file with the items, for tasks that have none of their own."""
    config: Mapping[str, Json] = field(default_factory=dict)
    """The model's configuration, as its candidate states it."""

    def __post_init__(self) -> None:
        """Refuse a list of nothing, and a part that there is not."""
        if self.limit is not None and self.limit < 1:
            raise InvalidConfig(f"limit is {self.limit}; expected at least 1")
        if self.part not in get_args(Part):
            raise InvalidConfig(f"part is {self.part!r}; expected 'tune' or 'report'")

    @property
    def file(self) -> Path:
        """The file with the items.

        Raises:
            InvalidConfig: None was named.
        """
        if self.data is None:
            raise InvalidConfig("this task asks about a file of yours; name it with --data")
        return Path(self.data)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskRequest:
        """Read what :meth:`to_json` wrote."""
        return cls(**{**data, "lists": tuple(data["lists"]), "styles": tuple(data["styles"])})


BuildTask = Callable[[TaskRequest], Mapping[str, AnyTask]]
"""A task plug-in, found by entry point ``loopwright.tasks``: returns the task once for each list of
items, by the list's name."""


def limited(task: AnyTask, limit: int | None) -> AnyTask:
    """Return a task with at most so many of its items, spread evenly over them."""
    count = len(task.items)
    if limit is None or count <= limit:
        return task
    return replace(task, items=tuple(task.items[i * count // limit] for i in range(limit)))
