"""Requests for text: what is asked of a language model, and its answers in OpenAI's forms."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from loopwright.models.deploy.serve.fields import Fields, check_text
from loopwright.models.deploy.serve.refusal import Refused
from loopwright.models.language import LanguageModel, Message, Piece, Sampling

MOST_CHOICES: Final = 16
MOST_PROMPTS: Final = 64
_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_CHAT_TOKENS, _COMPLETION_TOKENS, _MOST_TOKENS = 1024, 16, 1 << 20
_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "echo": (False,),
    "suffix": ("",),
    "best_of": (1,),
    "audio": (),
    "modalities": (["text"],),
}
"""Fields that would change the answer, and the values that do not."""

Prompt = str | list[int] | list[Message]
"""A text, its tokens, or a conversation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechAsk:
    """What a request for text asks."""

    prompts: Sequence[Prompt]
    sampling: Sampling
    choices: int
    streams: bool
    counts_usage: bool
    """Whether a stream ends with a count of its tokens."""


@dataclass(frozen=True, slots=True)
class Said:
    """One step of one answer."""

    choice: int
    piece: Piece
    prompt_tokens: int
    """Of all prompts of the request."""


def read_chat(fields: Fields) -> SpeechAsk:
    """Read the body of ``/v1/chat/completions``.

    Raises:
        Refused: A field is missing, wrong, or not supported.
    """
    messages = [_message(m, i) for i, m in enumerate(_messages(fields))]
    return _read(fields, [messages], _CHAT_TOKENS)


def read_completion(fields: Fields) -> SpeechAsk:
    """Read the body of ``/v1/completions``.

    Raises:
        Refused: A field is missing, wrong, or not supported.
    """
    return _read(fields, _prompts(fields.any("prompt")), _COMPLETION_TOKENS)


def _read(fields: Fields, prompts: Sequence[Prompt], usual_tokens: int) -> SpeechAsk:
    fields.refuse(_NEUTRAL)
    limit = "max_completion_tokens"
    if fields.any(limit) is None:
        limit = "max_tokens"
    seed = fields.seed()
    options = fields.any("stream_options")
    if options is not None and not isinstance(options, dict):
        raise Refused("stream_options is no object", field="stream_options", code="invalid_value")
    return SpeechAsk(
        prompts=prompts,
        sampling=Sampling(
            max_tokens=fields.whole(limit, usual_tokens, low=1, high=_MOST_TOKENS),
            temperature=fields.number("temperature", 1.0, low=0, high=2),
            # OpenAI allows 0, which leaves the likeliest token.
            top_p=max(1e-6, fields.number("top_p", 1.0, low=0, high=1)),
            stop=fields.texts("stop", most=4),
            seed=secrets.randbits(62) if seed is None else seed,
        ),
        choices=fields.whole("n", 1, low=1, high=MOST_CHOICES),
        streams=fields.flag("stream"),
        counts_usage=Fields(options or {}).flag("include_usage"),
    )


def _messages(fields: Fields) -> list[Any]:
    messages = fields.any("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages must be a list of at least one message", field="messages")
    return messages


def _message(message: Any, index: int) -> Message:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or message.get("role") not in list(_ROLES):
        raise Refused(f"{where} must be an object with a role of {', '.join(_ROLES)}", field=where)
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [
        p.get("text") if isinstance(p, dict) and p.get("type") == "text" else None for p in parts
    ]
    if not all(isinstance(text, str) for text in texts):
        raise Refused(
            f"{where}.content must be text; this model reads nothing else", field=f"{where}.content"
        )
    joined = check_text("".join(map(str, texts)), f"{where}.content")
    return {"role": _ROLES[message["role"]], "content": joined}


def _prompts(found: Any) -> list[Prompt]:
    wrong = Refused(
        f"prompt must be a text, a list of tokens, or a list of at most {MOST_PROMPTS} of either",
        field="prompt",
    )
    if isinstance(found, str):
        return [check_text(found, "prompt")]
    if not isinstance(found, list) or not found:
        raise wrong
    if _are_tokens(found):
        return [found]
    if len(found) > MOST_PROMPTS:
        raise wrong
    for each in found:
        if isinstance(each, str):
            check_text(each, "prompt")
        elif not _are_tokens(each):
            raise wrong
    return found


def _are_tokens(found: Any) -> bool:
    return (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(t, int) and not isinstance(t, bool) for t in found)
    )


def speak(model: LanguageModel, ask: SpeechAsk) -> Iterator[Said]:
    """Yield the answers to a request, choice after choice, token by token.

    Raises:
        Refused: A prompt is empty, too long, or holds tokens that there are not. This is known
            before the first item.
        InvalidConfig: The chat template refuses the conversation; known before the first item.
    """
    prompts = [_tokens(model, prompt) for prompt in ask.prompts]
    total = sum(map(len, prompts))
    for number, prompt in enumerate(prompts):
        for choice in range(ask.choices):
            sampling = ask.sampling
            index = number * ask.choices + choice
            if index:
                sampling = replace(sampling, seed=sampling.seed + index)
            for piece in model.stream(prompt, sampling):
                yield Said(index, piece, total)


def _tokens(model: LanguageModel, prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        tokens = model.encode(prompt)
    elif prompt and isinstance(prompt[0], int):
        tokens = _known([t for t in prompt if isinstance(t, int)], model)
    else:
        tokens = model.encode_chat([m for m in prompt if isinstance(m, Mapping)])
    if not tokens:
        raise Refused("the prompt is empty; expected at least one token", field="prompt")
    most = model.context_tokens
    if most is not None and len(tokens) >= most:
        raise Refused(
            f"the prompt has {len(tokens)} tokens, but the model holds {most} with the answer",
            code="context_length_exceeded",
        )
    return tokens


def _known(tokens: list[int], model: LanguageModel) -> list[int]:
    places = int(model.module.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    if not all(0 <= token < places for token in tokens):
        raise Refused(f"prompt holds tokens outside 0 to {places - 1}", field="prompt")
    return tokens


@dataclass(slots=True)
class Usage:
    """How many tokens a request took."""

    prompt: int = 0
    completion: int = 0

    def add(self, said: Said) -> None:
        """Count one step."""
        self.prompt = said.prompt_tokens
        self.completion += 1

    def to_json(self) -> dict[str, int]:
        """Return the counts as OpenAI names them."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass(frozen=True, slots=True)
class Form:
    """How answers to one request are laid out."""

    chat: bool
    model: str
    fingerprint: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_s: int = field(default_factory=lambda: int(time.time()))

    def whole(self, texts: Mapping[int, str], ends: Mapping[int, str], usage: Usage) -> dict:
        """Return a whole answer.

        Args:
            texts: Of every choice.
            ends: Why each ended.
            usage: Tokens taken.
        """
        choices = []
        for index in sorted(texts):
            said = {"message": {"role": "assistant", "content": texts[index], "refusal": None}}
            content = said if self.chat else {"text": texts[index]}
            choices.append(
                {"index": index, **content, "logprobs": None, "finish_reason": ends[index]}
            )
        return self._framed(choices, chunk=False) | {"usage": usage.to_json()}

    def opening(self, index: int) -> dict:
        """Return the chunk that opens a choice of a chat."""
        return self._chunk(index, {"delta": {"role": "assistant", "content": ""}}, None)

    def piece(self, index: int, text: str) -> dict:
        """Return the chunk that adds some text."""
        return self._chunk(
            index, {"delta": {"content": text}} if self.chat else {"text": text}, None
        )

    def ending(self, index: int, finish: str) -> dict:
        """Return the chunk that ends a choice."""
        return self._chunk(index, {"delta": {}} if self.chat else {"text": ""}, finish)

    def counted(self, usage: Usage) -> dict:
        """Return the last chunk, which has no choices."""
        return self._framed([], chunk=True) | {"usage": usage.to_json()}

    def _chunk(self, index: int, content: dict, finish: str | None) -> dict:
        choice = {"index": index, **content, "logprobs": None, "finish_reason": finish}
        return self._framed([choice], chunk=True)

    def _framed(self, choices: list[dict], *, chunk: bool) -> dict[str, Any]:
        kind = "chat.completion" + (".chunk" if chunk else "") if self.chat else "text_completion"
        return {
            "id": ("chatcmpl-" if self.chat else "cmpl-") + self.id,
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        }
