"""A language model with its tokenizer and chat template, behind one small object.

Shapes: B rows, T tokens, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from loopwright.core.errors import InvalidConfig
from loopwright.models.language.sample import (
    Detokeniser,
    Generation,
    Piece,
    Sampling,
    StopWatch,
    draw,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Message = Mapping[str, Any]
"""``{"role": "user", "content": "..."}``; more keys reach the chat template."""


class LanguageModel:
    """A causal language model. Nothing in it changes when it is used, so threads may share it."""

    def __init__(
        self, module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, digest: str
    ) -> None:
        """Take a network and what turns text into its tokens.

        Args:
            module: The network, in evaluation mode.
            tokenizer: Its tokenizer, with a chat template or without.
            digest: Of the folder that they come from.
        """
        self.module, self.tokenizer, self.digest = module, tokenizer, digest

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.module.device

    @property
    def chat_template(self) -> str | None:
        """The Jinja template that lays out conversations, if there is one."""
        template = self.tokenizer.chat_template
        return template.get("default") if isinstance(template, dict) else template

    @property
    def context_tokens(self) -> int | None:
        """Tokens that fit, answer included; None where the architecture sets no limit."""
        text_config = self.module.config.get_text_config()
        return getattr(text_config, "max_position_embeddings", None)

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """Tokens that end an answer."""
        named = getattr(self.module.generation_config, "eos_token_id", None)
        listed = named if isinstance(named, list) else [named]
        return frozenset(t for t in [*listed, self.tokenizer.eos_token_id] if t is not None)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, with the special tokens that its tokenizer adds."""
        return self._known(self.tokenizer.encode(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        text = self.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def render(self, messages: Sequence[Message], *, reply: bool = True) -> str:
        """Return a conversation as the one text that the model reads.

        Args:
            messages: Its turns.
            reply: Whether to open the turn of the assistant at the end.

        Raises:
            InvalidConfig: There is no chat template, or it refuses the conversation.
        """
        from jinja2 import TemplateError

        if self.chat_template is None:
            raise InvalidConfig(
                "this model has no chat template; use encode for plain text, or give it one "
                "(tokenizer.chat_template)"
            )
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=reply,
            )
        except (TemplateError, KeyError, TypeError) as error:
            raise InvalidConfig(
                f"the chat template refuses the conversation: {error}; its roles are "
                f"{[message.get('role') for message in messages]}"
            ) from error
        assert isinstance(text, str)
        return text

    def encode_chat(self, messages: Sequence[Message], *, reply: bool = True) -> list[int]:
        """Return the tokens of a conversation; see :meth:`render`."""
        # The template writes the special tokens itself.
        text = self.render(messages, reply=reply)
        return self._known(self.tokenizer.encode(text, add_special_tokens=False))

    @torch.inference_mode()
    def logits(self, tokens_BT: Tensor) -> Tensor:
        """Return what follows each token, float32 ``(B, T, V)``, before the softmax."""
        return self.module(input_ids=tokens_BT.to(self.device), use_cache=False).logits.float()

    @torch.inference_mode()
    def losses(self, rows: Sequence[Sequence[int]], *, batch: int = 8) -> list[Tensor]:
        """Return the nats of every token of each row but its first, float32 ``(T - 1,)`` each.

        Args:
            rows: Tokens of at least one each; rows do not see each other.
            batch: Rows that are computed together.
        """
        found: list[Tensor] = []
        for begin in range(0, len(rows), batch):
            some = rows[begin : begin + batch]
            # What is put behind a row cannot be seen from inside it, so no mask is needed.
            tokens_BT = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row, dtype=torch.long) for row in some], batch_first=True
            )
            logits_BTV = self.logits(tokens_BT)[:, :-1]
            nats_BT = F.cross_entropy(
                logits_BTV.transpose(1, 2), tokens_BT[:, 1:].to(self.device), reduction="none"
            )
            found += [nats_BT[i, : len(row) - 1].cpu() for i, row in enumerate(some)]
        return found

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> Generation:
        """Return the answer to a prompt (from :meth:`encode` or :meth:`encode_chat`)."""
        return Generation.gather(list(self.stream(prompt, sampling)))

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """Yield the answer to a prompt token by token.

        Raises:
            InvalidConfig: The prompt is empty or leaves no room for an answer.
        """
        room = self._room(prompt, sampling)
        random = torch.Generator().manual_seed(sampling.seed % (1 << 63))
        speak, watch = Detokeniser(self.decode), StopWatch(sampling.stop)
        new, cache = list(prompt), None
        for left in range(room - 1, -1, -1):
            logits_V, cache = self._continue(new, cache)
            token = draw(logits_V, sampling, random)
            ended = token in self.end_tokens
            last = ended or left == 0
            text = "" if ended else speak.push(token)
            text, stopped = watch.push(text + (speak.rest() if last else ""), last=last)
            finish = "stop" if ended or stopped else "length" if last else None
            log_probability = float(logits_V.log_softmax(dim=-1)[token])
            yield Piece(text=text, token=token, log_probability=log_probability, finish=finish)
            if finish is not None:
                return
            new = [token] if self._caches else [*new, token]

    @torch.inference_mode()
    def _continue(self, new: Sequence[int], cache: Any) -> tuple[Tensor, Any]:
        """Read some more tokens; return what may follow ``(V,)`` and the longer cache."""
        tokens_BT = torch.tensor([list(new)], device=self.device)
        past = {"past_key_values": cache} if self._caches else {}
        out = self.module(input_ids=tokens_BT, use_cache=self._caches, **past, **self._last_only)
        return out.logits[0, -1].float().cpu(), out.past_key_values if self._caches else None

    @cached_property
    def _caches(self) -> bool:
        """Whether the network keeps the past as keys and values; one with a state does not."""
        return "past_key_values" in self._arguments

    @cached_property
    def _last_only(self) -> dict[str, int]:
        """What to tell the network so that it scores the last token only, if it can."""
        return {"logits_to_keep": 1} if "logits_to_keep" in self._arguments else {}

    @cached_property
    def _arguments(self) -> frozenset[str]:
        module: Any = self.module
        # An adapter that is not merged hides what the network below it understands.
        plain = module.get_base_model() if hasattr(module, "get_base_model") else module
        return frozenset(inspect.signature(plain.forward).parameters)

    def _known(self, tokens: list[int]) -> list[int]:
        """Return tokens, all of which the network has a place for."""
        embedding: Any = self.module.get_input_embeddings()
        places = embedding.weight.shape[0]
        for token in tokens:
            if token >= places:
                raise InvalidConfig(
                    f"the tokenizer writes {self.tokenizer.decode([token])!r} as token {token}, "
                    f"but the network knows only {places}; it was added without a place"
                )
        return tokens

    def _room(self, prompt: Sequence[int], sampling: Sampling) -> int:
        if not prompt:
            raise InvalidConfig("the prompt is empty; expected at least one token")
        if self.context_tokens is None:
            return sampling.max_tokens
        room = self.context_tokens - len(prompt)
        if room < 1:
            raise InvalidConfig(
                f"the prompt has {len(prompt)} tokens, but the model holds {self.context_tokens} "
                "with the answer; shorten it"
            )
        return min(room, sampling.max_tokens)
