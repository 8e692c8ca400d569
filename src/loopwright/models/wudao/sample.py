"""Painting and writing with a trained model.

Shapes: B batch, T tokens of a prompt, N codes of a picture, H and W pixels, V words, C codes.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Generic, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.core.seeds import generator
from loopwright.models.layers.cache import Cache
from loopwright.models.layers.packed import check_bits, pack_layers
from loopwright.models.wudao.config import PictureConfig, WudaoConfig
from loopwright.models.wudao.model import Wudao
from loopwright.models.wudao.ports import CodeTokenizer, PictureTokenizer
from loopwright.models.wudao.sequences import Pair, batch, paint, paint_prompt, write
from loopwright.models.wudao.words import BEGIN, END, PICTURE, Words

FAMILY: Final = "wudao"
WEIGHTS: Final = "weights.safetensors"
PACKED_BITS: Final = "packed_bits"
"""Of a candidate whose weights are kept in few bits; the pictures' tokenizer never is."""
UNPACKED: Final = ("word_head", "router.score")
_TOKENIZER, _MODEL = "pictures.", "model."


@dataclass(frozen=True, kw_only=True, slots=True)
class Painting:
    """How pictures are drawn at random."""

    temperature: float = 0.15
    """0 takes the likeliest code; 1 draws as the model believes."""
    guidance: float = 1.5
    """How far to go beyond what the text alone asks for: 1 is the model as it is."""
    likeliest: int = 50
    """How many of the likeliest codes may be drawn."""

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        # So written that what is no number is refused.
        if not (0 <= self.temperature < math.inf and self.likeliest >= 1):
            raise InvalidConfig(
                f"temperature {self.temperature} and likeliest {self.likeliest}; "
                "expected a finite number of at least 0, and at least 1"
            )
        if not math.isfinite(self.guidance):
            raise InvalidConfig(f"guidance is {self.guidance}; expected a finite number")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is to be painted."""

    text: str
    language: str = "en"
    style: str = "twemoji"


TokenizerT = TypeVar("TokenizerT", bound=CodeTokenizer)


class TokenModel(Generic[TokenizerT]):
    """A trained model with its tokenizers: makes codes from words, and words from codes.

    What codes stand for is the business of the tokenizer alone.
    """

    family: ClassVar[str]
    """Of its candidates."""

    def __init__(self, model: Wudao, pictures: TokenizerT, words: Words) -> None:
        """Join the three parts; :meth:`load` reads them from a candidate."""
        self.model, self.pictures, self.words = model.eval(), pictures.eval(), words

    @staticmethod
    def tokenizer(config: WudaoConfig) -> TokenizerT:
        """Return the tokenizer of a configuration, untrained.

        Raises:
            InvalidConfig: Its codes stand for something else.
        """
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path, candidate: Candidate | None = None) -> Self:
        """Read a candidate of this family.

        Raises:
            DamagedData: A file is missing, damaged, or does not fit the configuration.
            UnsafeCandidate: The folder holds what no candidate may hold.
        """
        candidate = candidate or Candidate.open(folder)
        if candidate.family != cls.family:
            raise InvalidConfig(
                f"{folder} is a candidate of the family {candidate.family!r}, expected "
                f"{cls.family!r}"
            )
        said = dict(candidate.config)
        bits = said.pop(PACKED_BITS, None)
        try:
            config = WudaoConfig.from_json(said)
        except InvalidConfig as error:
            raise DamagedData(
                f"{folder / MANIFEST_NAME} does not describe a model over texts and codes: "
                f"{error}; train it again"
            ) from error
        model, pictures = Wudao(config), cls.tokenizer(config)
        if bits is not None:
            pack_layers(model, check_bits(bits), keep=UNPACKED)
        try:
            tensors = load_file(folder / WEIGHTS)
            pictures.load_state_dict(_below(tensors, _TOKENIZER))
            model.load_state_dict(_below(tensors, _MODEL))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise DamagedData(
                f"{folder / WEIGHTS} does not hold this model: {error}; train it again"
            ) from error
        return cls(model, pictures, Words.load(folder))

    def save(self, folder: Path) -> None:
        """Write weights and tokenizer into a folder that is sealed afterwards."""
        tensors = {_TOKENIZER + k: v for k, v in self.pictures.state_dict().items()}
        tensors |= {_MODEL + k: v for k, v in self.model.state_dict().items()}
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / WEIGHTS)
        self.words.save(folder)

    @torch.no_grad()
    def encode(self, image_BHWC: np.ndarray) -> np.ndarray:
        """Return the codes of uint8 pictures, or what else there is, int64 ``(B, N)``."""
        parts = [
            self.pictures.encode(torch.from_numpy(np.ascontiguousarray(image)).to(self._device))
            for image in np.array_split(image_BHWC, max(1, len(image_BHWC) // 256))
        ]
        return torch.cat(parts).cpu().numpy()

    @torch.no_grad()
    def decode(self, code_BN: np.ndarray) -> np.ndarray:
        """Return the pictures of codes, uint8 ``(B, H, W, 3)``, or what else they stand for."""
        return self.pictures.decode(torch.from_numpy(code_BN).to(self._device)).cpu().numpy()

    @torch.no_grad()
    def paint(
        self, prompts: Sequence[Prompt], *, seed: int, how: Painting | None = None, tries: int = 1
    ) -> np.ndarray:
        """Paint a picture of each prompt, uint8 ``(B, H, W, 3)``.

        What else is painted at the same time and in which order changes no picture, but for
        rounding.

        Args:
            prompts: B of them. One that comes again is painted differently.
            seed: Fixes what is drawn at random.
            how: Temperature and guidance.
            tries: Pictures to paint for each prompt; the one whose text the model itself finds
                likeliest is kept.

        Raises:
            UnknownName: The model was never shown a language or style.
        """
        how = how or Painting()
        count = self.model.config.pictures.tokens
        chances = [_chances(prompts, count, seed, number) for number in range(tries)]
        drawn = [self._paint_codes(prompts, how, chance_BN) for chance_BN in chances]
        if tries == 1:
            return self.decode(drawn[0])
        nats_KB = np.stack([self.text_nats(prompts, code_BN) for code_BN in drawn])
        best_B = nats_KB.argmin(axis=0)
        return self.decode(np.stack(drawn)[best_B, np.arange(len(prompts))])

    @torch.no_grad()
    def write(self, image_BHWC: np.ndarray, *, language: str = "en") -> list[str]:
        """Return the likeliest text about each uint8 picture."""
        texts: list[str] = []
        if not len(image_BHWC):
            return texts
        for code_BN in np.array_split(self.encode(image_BHWC), max(1, len(image_BHWC) // 128)):
            texts += self._write(code_BN, language)
        return texts

    @torch.no_grad()
    def text_nats(self, prompts: Sequence[Prompt], code_BN: np.ndarray) -> np.ndarray:
        """Return how unlikely each text is for its picture, float ``(B,)``, in nats a token."""
        framed = [write(pair, self.words.size) for pair in self._pairs(prompts, code_BN)]
        return self._nats(framed, paints=False)

    @torch.no_grad()
    def code_nats(
        self, prompts: Sequence[Prompt], code_BN: np.ndarray, *, without_text: bool = False
    ) -> np.ndarray:
        """Return how unlikely each picture is for its text, float ``(B,)``, in nats a code.

        The difference to ``without_text`` is what the text is worth.
        """
        framed = [
            paint(pair, self.words.size, drop_text=without_text)
            for pair in self._pairs(prompts, code_BN)
        ]
        return self._nats(framed, paints=True)

    @property
    def _device(self) -> torch.device:
        return self.model.place_ND.device

    def _pairs(self, prompts: Sequence[Prompt], code_BN: np.ndarray) -> Iterator[Pair]:
        for prompt, code_N in zip(prompts, code_BN, strict=True):
            yield Pair(
                self._text(prompt.text),
                code_N,
                self.words.tag(prompt.language),
                self.words.tag(prompt.style),
            )

    def _text(self, text: str) -> list[int]:
        return self.words.encode(text)[: self.model.config.text_tokens]

    def _nats(self, framed: Sequence[tuple[list[int], int]], *, paints: bool) -> np.ndarray:
        codes = self.model.config.pictures.tokens
        found = batch(framed, [paints] * len(framed), codes=codes)
        token_BT, place_BT = found.token_BT.to(self._device), found.place_BT.to(self._device)
        follows_BT = torch.zeros_like(token_BT[:, 1:], dtype=torch.bool)
        for row, (tokens, first) in enumerate(framed):
            # Of a text, all that follows the language's mark; of a picture, its codes.
            begin, end = (first, first + codes) if paints else (first + codes + 1, len(tokens))
            follows_BT[row, begin - 1 : end - 1] = True
        none_BT = torch.zeros_like(follows_BT)
        with self._precision():
            score_codes, score_words = self.model(
                token_BT[:, :-1],
                place_BT[:, :-1],
                follows_BT if paints else none_BT,
                none_BT if paints else follows_BT,
            )
        score_M, base = (score_codes, self.words.size) if paints else (score_words, 0)
        nats_M = F.cross_entropy(score_M, token_BT[:, 1:][follows_BT] - base, reduction="none")
        total_BT = torch.zeros(follows_BT.shape, device=nats_M.device)
        total_BT[follows_BT] = nats_M
        return (total_BT.sum(dim=1) / follows_BT.sum(dim=1)).cpu().numpy()

    def _paint_codes(
        self, prompts: Sequence[Prompt], how: Painting, chance_BN: Tensor
    ) -> np.ndarray:
        """Paint prompts of equal length together: then no row needs to be filled up."""
        texts = [self._text(prompt.text) for prompt in prompts]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            groups[len(text)].append(row)
        code_BN = np.zeros((len(prompts), self.model.config.pictures.tokens), dtype=np.int64)
        for rows in groups.values():
            asked, plain = [], []
            for row in rows:
                language = self.words.tag(prompts[row].language)
                style = self.words.tag(prompts[row].style)
                asked.append(paint_prompt(texts[row], language=language, style=style))
                plain.append(paint_prompt([], language=language, style=style))
            with self._precision():
                code_BN[rows] = self._paint_group(asked, plain, how, chance_BN[rows])
        return code_BN

    def _paint_group(
        self,
        asked: list[list[int]],
        plain: list[list[int]],
        how: Painting,
        chance_BN: Tensor,
    ) -> np.ndarray:
        count = self.model.config.pictures.tokens
        guided = _Reader(self.model, asked, count, self._dtype)
        free = _Reader(self.model, plain, count, self._dtype) if how.guidance != 1 else None
        codes: list[Tensor] = []
        for place in range(1, count + 1):
            score_BC = self.model.codes(guided.x_BD).float()
            if free is not None:
                plain_BC = self.model.codes(free.x_BD).float()
                score_BC = plain_BC + how.guidance * (score_BC - plain_BC)
            code_B = _drawn(score_BC, how, chance_BN[:, place - 1])
            codes.append(code_B)
            for reader in (guided, free):
                if reader is not None and place < count:
                    reader.read(code_B + self.words.size, place)
        return torch.stack(codes, dim=1).cpu().numpy()

    def _write(self, code_BN: np.ndarray, language: str) -> list[str]:
        mark, words = self.words.tag(language), self.words.size
        prompts = [[BEGIN, PICTURE, *(codes + words).tolist(), mark] for codes in code_BN]
        most = self.model.config.text_tokens
        with self._precision():
            reader = _Reader(self.model, prompts, most + 1, self._dtype, first_code=2)
            texts: list[list[int]] = [[] for _ in prompts]
            ended_B = torch.zeros(len(prompts), dtype=torch.bool, device=self._device)
            for _ in range(most):
                word_B = self.model.words(reader.x_BD).argmax(dim=-1)
                ended_B |= word_B == END
                if ended_B.all():
                    break
                for row in (~ended_B).nonzero()[:, 0].tolist():
                    texts[row].append(int(word_B[row]))
                reader.read(word_B, 0)
        return [self.words.decode(text) for text in texts]

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self._device.type != "cpu" else torch.float32

    def _precision(self) -> AbstractContextManager[object]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


class TextPictureModel(TokenModel[PictureTokenizer]):
    """Paints from words, writes about pictures."""

    family = FAMILY

    @staticmethod
    def tokenizer(config: WudaoConfig) -> PictureTokenizer:
        """Return the tokenizer of pictures of a configuration, untrained.

        Raises:
            InvalidConfig: Its codes stand for something else.
        """
        if not isinstance(config.pictures, PictureConfig):
            raise InvalidConfig(
                f"the codes stand for {type(config.pictures).__name__}, not for pictures"
            )
        return PictureTokenizer(config.pictures)

    def encode(self, image_BHWC: np.ndarray) -> np.ndarray:
        """Return the codes of uint8 pictures, int64 ``(B, N)``.

        Raises:
            InvalidConfig: They are no such pictures, or none of the model's side.
        """
        px = self.pictures.config.px
        if image_BHWC.dtype != np.uint8 or image_BHWC.shape[1:] != (px, px, 3):
            raise InvalidConfig(
                f"pictures are {image_BHWC.dtype} of the shape {image_BHWC.shape}; this model "
                f"looks at uint8 of the shape (any, {px}, {px}, 3)"
            )
        if not len(image_BHWC):
            return np.zeros((0, self.pictures.config.tokens), dtype=np.int64)
        return super().encode(image_BHWC)


class _Reader:
    """Prompts of equal length, read once; then token by token."""

    def __init__(
        self,
        model: Wudao,
        prompts: list[list[int]],
        room: int,
        dtype: torch.dtype,
        first_code: int | None = None,
    ) -> None:
        device = model.place_ND.device
        token_BT = torch.tensor(prompts, device=device)
        place_BT = torch.zeros_like(token_BT)
        if first_code is not None:
            codes = model.config.pictures.tokens
            place_BT[:, first_code : first_code + codes] = torch.arange(1, codes + 1, device=device)
        self._model = model
        self._cache: Cache = model.backbone.make_cache(
            batch=len(prompts), capacity=token_BT.shape[1] + room, dtype=dtype
        )
        self.x_BD = model.contextual(token_BT, place_BT, cache=self._cache)[:, -1]
        """What the model makes of the newest token of each row."""

    def read(self, token_B: Tensor, place: int) -> None:
        """Read one more token of each row; ``place`` is 0 for words."""
        place_B1 = torch.full((len(token_B), 1), place, device=token_B.device)
        self.x_BD = self._model.contextual(token_B[:, None], place_B1, cache=self._cache)[:, -1]


def _chances(prompts: Sequence[Prompt], count: int, seed: int, number: int) -> Tensor:
    """Return what decides each code of each picture, float64 ``(B, N)`` from 0 to below 1.

    It hangs on the prompt itself and on how often the same one stood before it, never on the row.
    """
    before: Counter[Prompt] = Counter()
    rows = []
    for prompt in prompts:
        names = (prompt.text, prompt.language, prompt.style, before[prompt], number)
        rows.append(generator(seed, "paint", *names).random(count))
        before[prompt] += 1
    return torch.from_numpy(np.array(rows).reshape(len(prompts), count))


def _drawn(score_BC: Tensor, how: Painting, chance_B: Tensor) -> Tensor:
    if how.temperature == 0:
        return score_BC.argmax(dim=-1)
    best_BK, code_BK = score_BC.topk(min(how.likeliest, score_BC.shape[-1]), dim=-1)
    # Drawn on the CPU: the same seed then gives the same picture wherever the model runs.
    share_BK = (best_BK / how.temperature).softmax(dim=-1).cpu()
    reached_BK = share_BK.double().cumsum(dim=-1)
    chosen_B1 = torch.searchsorted(reached_BK, chance_B[:, None] * reached_BK[:, -1:], right=True)
    return code_BK.gather(-1, chosen_B1.to(score_BC.device))[:, 0]


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
