"""Finding tasks: built in, or from the entry points of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata

from loopwright.core.errors import UnknownName
from loopwright.core.stage import resolve_entry
from loopwright.train.evaluate.request import TaskRequest, limited
from loopwright.train.evaluate.task import AnyTask

ENTRY_POINT_GROUP = "loopwright.tasks"

_BUILT_IN = {
    "chat": "loopwright.recipes.tasks:build_chat",
    "emoji.captions": "loopwright.recipes.emoji_tasks:build_captions",
    "emoji.grounding": "loopwright.recipes.emoji_tasks:build_grounding",
    "emoji.paintings": "loopwright.recipes.emoji_tasks:build_paintings",
    "emoji.pictures": "loopwright.recipes.emoji_tasks:build_pictures",
    "perplexity": "loopwright.recipes.tasks:build_perplexity",
}


def task_names() -> list[str]:
    """Return every name that :func:`build_tasks` finds, in order."""
    return sorted({*_BUILT_IN, *(p.name for p in metadata.entry_points(group=ENTRY_POINT_GROUP))})


def build_tasks(name: str, request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return a task once for each of its lists of items.

    Args:
        name: A built-in name, or that of an entry point of the group ``loopwright.tasks``, which
            leads to a :data:`~loopwright.train.evaluate.request.BuildTask`.
        request: Which items.

    Raises:
        UnknownName: There is no such task or list; a near one is suggested.
        InvalidConfig: The task needs something that the request lacks.
    """
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            return point.load()(request)
    if name not in _BUILT_IN:
        raise UnknownName("task", name, task_names())
    return resolve_entry(_BUILT_IN[name])(request)


def build_perplexity(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task to foresee a text file."""
    from loopwright.train.evaluate.language import perplexity  # here: it needs torch

    return {request.file.name: limited(perplexity(request.file), request.limit)}


def build_chat(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task to answer the conversations of a file of JSON lines."""
    from loopwright.train.evaluate.language import chat  # here: it needs torch

    return {request.file.name: limited(chat(request.file), request.limit)}
