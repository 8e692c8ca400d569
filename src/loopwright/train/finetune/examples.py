"""Reading examples: JSON lines, each checked, each problem told with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from loopwright.core.errors import UsageError
from loopwright.models.language import Message

_SHOWN_PROBLEMS = 5
_REPLY = "assistant"

Example = TypeVar("Example", "Conversation", "Pair")


class InvalidExamples(UsageError):
    """Lines of a data file are not what is expected; the message names lines and problems."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """Turns of which those of the assistant are to be imitated."""

    messages: tuple[Message, ...]
    line: int
    """Where it stands in its file, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two replies to one prompt, the first of which is better."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    line: int


def read_conversations(path: Path) -> list[Conversation]:
    """Read ``{"messages": [{"role": ..., "content": ...}, ...]}`` lines; other keys are ignored.

    Raises:
        InvalidExamples: A line is something else, or there is none.
    """
    return _read(path, _conversation)


def read_pairs(path: Path) -> list[Pair]:
    """Read ``{"prompt": ..., "chosen": ..., "rejected": ...}`` lines.

    The prompt is what a user says, or a list of messages; the replies are texts.

    Raises:
        InvalidExamples: A line is something else, or there is none.
    """
    return _read(path, _pair)


def _read(path: Path, parse: Callable[[dict[str, Any], int], Example]) -> list[Example]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InvalidExamples(f"{path} cannot be read: {error.strerror or error}") from error
    examples: list[Example] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            examples.append(parse(_object(line), number))
        except _Problem as problem:
            problems.append(f"line {number}: {problem}")
    if problems:
        more = len(problems) - _SHOWN_PROBLEMS
        shown = problems[:_SHOWN_PROBLEMS] + ([f"and {more} more lines"] if more > 0 else [])
        raise InvalidExamples("\n  ".join([f"{path} cannot be learned from:", *shown]))
    if not examples:
        raise InvalidExamples(f"{path} holds no example; expected one JSON object a line")
    return examples


class _Problem(Exception):
    """What is wrong with one line."""


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _Problem(f"this is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _Problem(f"this is a JSON {type(found).__name__}; expected an object {{...}}")
    return found


def _conversation(found: dict[str, Any], line: int) -> Conversation:
    messages = _messages(found.get("messages"), "messages")
    replies = [i for i, message in enumerate(messages) if message["role"] == _REPLY]
    if not replies:
        raise _Problem(f"no message has the role {_REPLY!r}; there is no reply to learn")
    if replies[0] == 0:
        raise _Problem(f"the first message is a reply; expected another role before {_REPLY!r}")
    return Conversation(messages=messages, line=line)


def _pair(found: dict[str, Any], line: int) -> Pair:
    prompt = found.get("prompt")
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    for name in ("chosen", "rejected"):
        if not isinstance(found.get(name), str) or not found[name]:
            raise _Problem(f"{name!r} is {_seen(found.get(name))}; expected a text")
    if found["chosen"] == found["rejected"]:
        raise _Problem("'chosen' and 'rejected' are the same; there is nothing to prefer")
    return Pair(
        prompt=_messages(prompt, "prompt"),
        chosen=found["chosen"],
        rejected=found["rejected"],
        line=line,
    )


def _messages(found: object, name: str) -> tuple[Message, ...]:
    if not isinstance(found, list) or not found:
        raise _Problem(
            f"{name!r} is {_seen(found)}; expected a list of "
            '{"role": "user", "content": "..."} objects'
        )
    for number, message in enumerate(found):
        if not isinstance(message, dict):
            raise _Problem(f"{name}[{number}] is {_seen(message)}; expected an object")
        for key in ("role", "content"):
            if not isinstance(message.get(key), str):
                raise _Problem(
                    f"{name}[{number}][{key!r}] is {_seen(message.get(key))}; expected a text"
                )
    return tuple(found)


def _seen(value: object) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
