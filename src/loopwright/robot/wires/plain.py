"""Plain data from outside: what a journal can hold, and every reader of it can read."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from loopwright.core.errors import InvalidConfig


def read_plain(text: str | bytes) -> Any:
    """Read JSON.

    Raises:
        InvalidConfig: It is none, or holds a text that is no UTF-8 or a number that is not finite.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidConfig(f"this is no JSON: {error}") from error
    check_plain(data)
    return data


def check_plain(data: Any) -> None:
    """Refuse what looks like JSON and could not be written down.

    One half of a surrogate pair is a text to Python and to nobody else; ``1e999`` is infinite.

    Raises:
        InvalidConfig: Such a text or number is somewhere in it.
    """
    left = [data]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str):
            _check_text(item)
        elif isinstance(item, (int, float)):
            _check_number(item)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidConfig(f"{text[:60]!a} is no text: {error.reason}") from error


def _check_number(number: float) -> None:
    try:
        finite = math.isfinite(number)
    except OverflowError:  # an integer that no float reaches
        finite = False
    if not finite:
        raise InvalidConfig("a number is not finite, or larger than any float")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")
