"""What text-picture models are asked about the emoji, by the frozen lists of the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.scenarios.emoji.corpus import Emoji, load_emoji
from loopwright.scenarios.emoji.splits import KINDS, load_splits
from loopwright.train.evaluate.pictures import captions, grounding_gap, paintings, reconstructions
from loopwright.train.evaluate.request import TaskRequest, limited
from loopwright.train.evaluate.task import AnyTask

_OfRows = Callable[[Emoji, np.ndarray], AnyTask]


def build_captions(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task to name pictures, for each kind of list."""
    return _each_list(request, lambda emoji, rows: captions(emoji, rows, request.language))


def build_paintings(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task to paint names, for each kind of list."""
    return _each_list(request, lambda emoji, rows: paintings(emoji, rows, request.language))


def build_grounding(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task that asks what names are worth to who paints, for each kind of list."""
    return _each_list(request, lambda emoji, rows: grounding_gap(emoji, rows, request.language))


def build_pictures(request: TaskRequest) -> Mapping[str, AnyTask]:
    """Return the task to bring pictures back from their codes, for each kind of list."""
    return _each_list(request, reconstructions)


def _each_list(request: TaskRequest, of_rows: _OfRows) -> Mapping[str, AnyTask]:
    """Build the task for every list that is asked for; lists that are empty here are left out."""
    splits, emoji = load_splits(), load_emoji(_px(request), request.styles)
    tasks: dict[str, AnyTask] = {}
    for kind in request.lists or KINDS:
        # An unknown kind is refused there, with what there is.
        rows = splits.rows(emoji, kind, request.part, request.language)  # type: ignore[arg-type]
        if len(rows):
            tasks[kind] = limited(of_rows(emoji, rows), request.limit)
    if not tasks:
        raise InvalidConfig(
            f"the lists {list(request.lists)} are empty for the styles {list(request.styles)} and "
            f"the language {request.language!r}; more than one style has the list 'style', "
            "another language than 'en' the list 'language'"
        )
    return tasks


def _px(request: TaskRequest) -> int:
    pictures: Any = request.config.get("pictures")
    if not isinstance(pictures, Mapping) or "px" not in pictures:
        raise InvalidConfig(
            "this task asks text-picture models; the model's configuration states no side of "
            "pictures (pictures.px)"
        )
    return int(pictures["px"])
