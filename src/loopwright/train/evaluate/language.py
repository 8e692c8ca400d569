"""Tasks for language models: how surprised one is by a text, and whether it answers as expected."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loopwright.core.errors import InvalidConfig
from loopwright.core.words import normal
from loopwright.models.language.candidate import FAMILY
from loopwright.models.language.model import LanguageModel
from loopwright.models.language.sample import Sampling
from loopwright.train.evaluate.task import Item, Metric, Task

PERPLEXITY, CHAT = "perplexity", "chat"

PerplexityTask = Task[LanguageModel, tuple[float, int]]
ChatTask = Task[LanguageModel, str]


def perplexity(path: Path, *, characters: int = 1000) -> PerplexityTask:
    """Return the task to foresee a text file, stretch by stretch.

    ``perplexity`` depends on the tokenizer; ``bits_per_byte`` can be compared between models. A
    stretch is read without what stands before it, and its first token is given, so both are a
    little higher than over one long context.

    Args:
        path: A text in UTF-8.
        characters: Of a stretch, about; it ends where a line ends.

    Raises:
        InvalidConfig: The file cannot be read as text, or is empty.
    """
    stretches = _stretches(_read(path), characters)
    return Task(
        name=PERPLEXITY,
        version=1,
        family=FAMILY,
        items=tuple(
            Item(id=f"{number:06d}", group=f"{number:06d}", text=text)
            for number, text in enumerate(stretches)
        ),
        metrics=(
            Metric(name="perplexity", unit="", of_mean=math.exp, weight="tokens"),
            Metric(name="bits_per_byte", unit="bits a byte", weight="bytes"),
        ),
        ask=_foresee,
        verify=_judge_nats,
        settings={"characters": characters},
        batch=8,
    )


def chat(path: Path, *, max_tokens: int = 64) -> ChatTask:
    """Return the task to give the last reply of each conversation, word for word.

    Each line of the file is ``{"messages": [...]}`` whose last message is the expected reply of the
    assistant, and maybe ``"group"``: what it is about, for the interval. The likeliest tokens are
    taken; case and spaces do not count.

    Args:
        path: JSON lines.
        max_tokens: Longest answer.

    Raises:
        InvalidConfig: A line is no such conversation; it is named.
    """
    lines = [line for line in _read(path).splitlines() if line.strip()]
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0)

    def ask(model: LanguageModel, items: Sequence[Item], seed: int) -> list[str]:
        return [
            model.generate(model.encode_chat(_messages(item)), sampling).text.strip()
            for item in items
        ]

    return Task(
        name=CHAT,
        version=1,
        family=FAMILY,
        items=tuple(_conversation(path, number, line) for number, line in enumerate(lines, 1)),
        metrics=(Metric(name="exact", unit="share"),),
        ask=ask,
        verify=lambda item, said: {"exact": float(normal(said) == normal(item.text))},
        settings={"max_tokens": max_tokens},
        batch=1,
    )


def _foresee(model: LanguageModel, items: Sequence[Item], seed: int) -> list[tuple[float, int]]:
    """Return the nats of each text, and of how many tokens."""
    found: list[tuple[float, int]] = []
    for losses in model.losses([_readable(model, item) for item in items]):
        found.append((float(losses.sum()), len(losses)))
    return found


def _readable(model: LanguageModel, item: Item) -> list[int]:
    tokens = model.encode(item.text)
    most = model.context_tokens
    if most is not None and len(tokens) > most:
        raise InvalidConfig(
            f"stretch {item.id} has {len(tokens)} tokens, the model reads {most}; "
            "choose fewer characters a stretch"
        )
    return tokens


def _judge_nats(item: Item, answer: tuple[float, int]) -> dict[str, float]:
    nats, tokens = answer
    num_bytes = len(item.text.encode())
    return {
        "perplexity": nats / max(1, tokens),
        "tokens": float(tokens),
        "bits_per_byte": nats / math.log(2) / num_bytes,
        "bytes": float(num_bytes),
    }


def _stretches(text: str, characters: int) -> list[str]:
    if characters < 1:
        raise InvalidConfig(f"characters is {characters}; expected at least 1")
    found, current = [], ""
    for line in text.splitlines(keepends=True):
        for begin in range(0, len(line), characters):
            part = line[begin : begin + characters]
            if current and len(current) + len(part) > characters:
                found.append(current)
                current = ""
            current += part
    # A stretch of spaces asks nothing.
    return [stretch for stretch in [*found, current] if stretch.strip()]


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read as text: {error}") from error
    if not text.strip():
        raise InvalidConfig(f"{path} is empty; expected something to ask about")
    return text


def _conversation(path: Path, number: int, line: str) -> Item:
    try:
        data = json.loads(line)
        *before, last = data["messages"]
        if last["role"] != "assistant" or not isinstance(last["content"], str) or not before:
            raise ValueError("the last message is no reply of the assistant to something")
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidConfig(
            f"line {number} of {path} is no conversation to answer ({error}); expected "
            '{"messages": [..., {"role": "assistant", "content": "the expected reply"}]}'
        ) from error
    name = f"{number:06d}"
    return Item(
        id=name,
        group=str(data.get("group", name)),
        text=last["content"],
        facts={"messages": before},
        trace="\n".join(str(message.get("content", "")) for message in (*before, last)),
    )


def _messages(item: Item) -> list[Mapping[str, Any]]:
    messages: Any = item.facts["messages"]
    return list(messages)
