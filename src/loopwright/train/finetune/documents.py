"""From conversations to tokens, and which of them the model has to learn to say.

A chat template may mark what the assistant says. Where it does not, the marks are found by
rendering: what the text gains between "the turns so far, and now the assistant" and "the turns so
far and the reply" is the reply, with whatever ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loopwright.models.language import LanguageModel, Message

_MARK = "{% generation"
_REPLY = "assistant"

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """The tokens of a conversation."""

    tokens: tuple[int, ...]
    learned: tuple[bool, ...]
    """Which tokens the model shall learn to say after those before them; never the first."""

    @property
    def num_learned(self) -> int:
        """How many tokens are to be learned."""
        return sum(self.learned)


def documents_of(model: LanguageModel, messages: Sequence[Message]) -> list[Document]:
    """Return a conversation as the model reads it, with every reply to be learned.

    It is one document, or one for each reply where the template shows earlier turns differently
    once later ones follow (some leave out what was thought).

    Raises:
        InvalidConfig: There is no chat template, or it refuses the conversation.
    """
    template = model.chat_template or ""
    if _MARK in template or _MARK.replace("{%", "{%-") in template:
        return [_marked(model, messages)]
    whole = model.render(messages, reply=False)
    parts = [
        _reply_span(model, messages[:i], message)
        for i, message in enumerate(messages)
        if message["role"] == _REPLY
    ]
    if all(whole.startswith(text) for text, _ in parts):
        return [_document(model, whole, [span for _, span in parts])]
    return [_document(model, text, [span]) for text, span in parts]


def reply_document(model: LanguageModel, prompt: Sequence[Message], reply: str) -> Document:
    """Return a prompt and a reply to it, of which only the reply counts."""
    text, span = _reply_span(model, prompt, {"role": _REPLY, "content": reply})
    return _document(model, text, [span])


def _reply_span(
    model: LanguageModel, before: Sequence[Message], reply: Message
) -> tuple[str, Span]:
    """Return the text up to and with a reply, and where in it the reply stands."""
    text = model.render([*before, reply], reply=False)
    asked = model.render(before, reply=True)
    begin = next((i for i, (a, b) in enumerate(zip(asked, text)) if a != b), len(asked))  # noqa: B905
    return text, (begin, len(text))


def _document(model: LanguageModel, text: str, spans: Sequence[Span]) -> Document:
    encoded = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    tokens, places = encoded["input_ids"], encoded["offset_mapping"]
    learned = [False] * len(tokens)
    for begin, end in spans:
        # A token that begins before the reply does is one that the model never sees when asked.
        inside = [i for i, (a, b) in enumerate(places) if begin <= a < b <= end and i > 0]
        for i in _up_to_the_end(model, tokens, inside):
            learned[i] = True
    return Document(tokens=tuple(tokens), learned=tuple(learned))


def _up_to_the_end(model: LanguageModel, tokens: Sequence[int], inside: list[int]) -> list[int]:
    """Leave out what a template writes after the token that ends the reply: nobody reads it."""
    ends = [i for i in inside if tokens[i] in model.end_tokens]
    return [i for i in inside if i <= ends[-1]] if ends else inside


def _marked(model: LanguageModel, messages: Sequence[Message]) -> Document:
    encoded: Any = model.tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    learned = tuple(bool(mark) and i > 0 for i, mark in enumerate(encoded["assistant_masks"]))
    return Document(tokens=tuple(encoded["input_ids"]), learned=learned)
