"""Texts as tokens: byte-pair pieces of words, learned from the texts themselves.

Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (2016), by the
library tokenizers. The first numbers are marks: they frame texts and pictures and name languages
and styles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import DamagedData, UnknownName

FILE: Final = "words.json"
UNKNOWN, PAD, BEGIN, PICTURE, END = range(5)
_MARKS: Final = ("<unknown>", "<pad>", "<begin>", "<picture>", "<end>")


class Words:
    """Texts to tokens and back."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Wrap a trained tokenizer; see :meth:`learn` and :meth:`load`."""
        # A mark that somebody writes is text: it must not end a sentence or begin a picture.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str], *, tags: Sequence[str], size: int) -> Words:
        """Learn the pieces that shorten ``texts`` best.

        Args:
            texts: In any languages.
            tags: Names of the languages and styles that get a mark of their own.
            size: Most tokens of the vocabulary.
        """
        tokenizer = Tokenizer(models.BPE(unk_token=_MARKS[UNKNOWN]))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
        )
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[*_MARKS, *map(_mark, tags)],
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, folder: Path) -> Words:
        """Read what :meth:`save` wrote.

        Raises:
            DamagedData: The file is missing or no tokenizer.
        """
        path = folder / FILE
        try:
            return cls(Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises nothing narrower
            raise DamagedData(f"{path} cannot be read: {error}; train the model again") from error

    def save(self, folder: Path) -> None:
        """Write the tokenizer into a folder."""
        (folder / FILE).write_text(self._tokenizer.to_str(), encoding="utf-8")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides which tokens a text becomes."""
        return digest_bytes(self._tokenizer.to_str().encode())

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self._tokenizer.get_vocab_size()

    def tag(self, name: str) -> int:
        """Return the mark of a language or style.

        Raises:
            UnknownName: The model was never shown it.
        """
        found = self._tokenizer.token_to_id(_mark(name))
        if found is None:
            raise UnknownName("language or style", name, self.tags())
        return found

    def tags(self) -> list[str]:
        """Return the names that have a mark, sorted."""
        marks = [t for t in self._tokenizer.get_vocab() if t.startswith("<") and t.endswith(">")]
        return sorted(mark[1:-1] for mark in marks if mark not in _MARKS)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without marks."""
        return self._tokenizer.encode(text).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; marks are left out."""
        return self._tokenizer.decode(list(tokens)).strip()


def _mark(name: str) -> str:
    return f"<{name}>"
