"""Drawing text from a language model: one token at a time, with a cache of the past.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from loopwright.core.errors import InvalidConfig

Finish = Literal["stop", "length"]
"""Why a text ends: an end token or a stop string came; or there was no more room."""

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to draw. The same seed on the same machine gives the same text."""

    max_tokens: int = 256
    temperature: float = 1.0
    """0 always takes the likeliest token."""
    top_p: float = 1.0
    """Draw among the likeliest tokens that together have this probability."""
    top_k: int = 0
    """Draw among this many likeliest tokens; 0 among all."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are no part of it."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.max_tokens < 1:
            raise InvalidConfig(f"max_tokens is {self.max_tokens}; expected at least 1")
        if not (0.0 <= self.temperature < math.inf):
            raise InvalidConfig(f"temperature is {self.temperature}; expected 0 or more")
        if not 0.0 < self.top_p <= 1.0:
            raise InvalidConfig(f"top_p is {self.top_p}; expected above 0 and at most 1")
        if self.top_k < 0:
            raise InvalidConfig(f"top_k is {self.top_k}; expected at least 0")
        if "" in self.stop:
            raise InvalidConfig("a stop text is empty; expected at least one character")


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What one step of a stream adds."""

    text: str
    """Empty while a character, or what may be a stop text, is not complete yet."""
    token: int
    log_probability: float
    """Of the token, in nats, before temperature and cuts."""
    finish: Finish | None = None
    """Set on the last piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """A whole answer."""

    text: str
    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    """Of each token, in nats, before temperature and cuts."""
    finish: Finish

    @classmethod
    def gather(cls, pieces: Sequence[Piece]) -> Generation:
        """Join the pieces of a stream that has ended."""
        return cls(
            text="".join(piece.text for piece in pieces),
            tokens=tuple(piece.token for piece in pieces),
            log_probabilities=tuple(piece.log_probability for piece in pieces),
            finish=pieces[-1].finish or "length",
        )


def draw(logits_V: Tensor, sampling: Sampling, random: torch.Generator) -> int:
    """Return the next token.

    Args:
        logits_V: On the CPU, float32.
        sampling: How to draw.
        random: Where chance comes from; unused at temperature 0.
    """
    if sampling.temperature == 0.0:
        return int(logits_V.argmax())
    kept = min(sampling.top_k or logits_V.numel(), logits_V.numel())
    scaled_K, token_K = (logits_V / sampling.temperature).topk(kept)
    share_K = scaled_K.softmax(dim=-1)
    # A token is cut when those before it already have the mass; the likeliest one never is.
    share_K = share_K.masked_fill(share_K.cumsum(dim=-1) - share_K >= sampling.top_p, 0.0)
    share_K[0] = share_K[0].clamp_min(torch.finfo(share_K.dtype).tiny)
    return int(token_K[torch.multinomial(share_K, 1, generator=random)])


class Detokeniser:
    """Turns tokens into text as they come; a character made of several tokens is kept whole."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        """Start with no text.

        Args:
            decode: Text of a run of tokens.
        """
        self._decode = decode
        self._recent: list[int] = []
        """The tokens since the last but one moment at which the text was complete."""
        self._said = 0
        """How many of them are part of text that was returned."""

    def push(self, token: int) -> str:
        """Return the text that is complete with this token."""
        self._recent.append(token)
        text = self.rest()
        if text.endswith(_UNFINISHED):
            return ""
        self._recent = self._recent[self._said :]
        self._said = len(self._recent)
        return text

    def rest(self) -> str:
        """Return the text that has not been returned yet, complete or not."""
        # Decoded with the tokens before it, because what a token says may depend on them.
        before = self._decode(self._recent[: self._said])
        return self._decode(self._recent)[len(before) :]


class StopWatch:
    """Finds stop texts in a stream and holds back what may be the beginning of one."""

    def __init__(self, stop: Sequence[str]) -> None:
        """Watch for any of ``stop``."""
        self._stop = stop
        self._held = ""

    def push(self, text: str, *, last: bool = False) -> tuple[str, bool]:
        """Return the text that can be shown now, and whether a stop text has come."""
        self._held += text
        found = [place for stop in self._stop if (place := self._held.find(stop)) >= 0]
        if found:
            return self._held[: min(found)], True
        keep = 0 if last else max((self._overlap(stop) for stop in self._stop), default=0)
        shown, self._held = (
            self._held[: len(self._held) - keep],
            self._held[len(self._held) - keep :],
        )
        return shown, False

    def _overlap(self, stop: str) -> int:
        """Return how many characters at the end may be the beginning of ``stop``."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
