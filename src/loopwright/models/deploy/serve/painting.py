"""Requests for pictures and about pictures: what is asked, and the work of it."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from loopwright.models.deploy.pictures import read_picture
from loopwright.models.deploy.serve.fields import Fields
from loopwright.models.deploy.serve.refusal import Refused
from loopwright.models.wudao.sample import Prompt, TextPictureModel

MOST_PICTURES: Final = 10
_MOST_TRIES: Final = 16
_LARGEST_PX: Final = 1024
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_NEUTRAL: Final = {
    "response_format": ("b64_json",),
    "output_format": ("png",),
    "stream": (False,),
    "partial_images": (0,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureAsk:
    """What a request for pictures asks."""

    prompt: Prompt
    count: int
    factor: int
    """Pixels that each painted pixel becomes, along each side."""
    tries: int
    seed: int


def read_painting(fields: Fields, model: TextPictureModel) -> PictureAsk:
    """Read the body of ``/v1/images/generations``.

    Raises:
        Refused: A field is missing, wrong, or not supported.
        UnknownName: The model was never shown the language or style.
    """
    fields.refuse(_NEUTRAL)
    text = fields.text("prompt")
    if not text.strip():
        raise Refused("prompt is empty; expected what to paint", field="prompt")
    usual = Prompt(text)
    prompt = Prompt(
        text, fields.text("language", usual.language), fields.text("style", usual.style)
    )
    for name in (prompt.language, prompt.style):
        model.words.tag(name)
    seed = fields.seed()
    return PictureAsk(
        prompt=prompt,
        count=fields.whole("n", 1, low=1, high=MOST_PICTURES),
        factor=_factor(fields.text("size", "auto"), model.pictures.config.px),
        tries=fields.whole("tries", 1, low=1, high=_MOST_TRIES),
        seed=secrets.randbits(62) if seed is None else seed,
    )


def _factor(size: str, px: int) -> int:
    if size == "auto":
        return 1
    found = _SIZE.fullmatch(size)
    sides = {int(side) for side in found.groups()} if found else {0}
    side = sides.pop()
    if sides or side % px or not px <= side <= _LARGEST_PX:
        raise Refused(
            f"size must be 'auto' or a square whose side is a multiple of {px} up to "
            f"{_LARGEST_PX}, such as '{8 * px}x{8 * px}': the model paints {px} x {px} pixels",
            field="size",
            code="invalid_value",
        )
    return side // px


def paint(model: TextPictureModel, ask: PictureAsk) -> Iterator[np.ndarray]:
    """Yield pictures, uint8 ``(H, W, 3)``; each has a seed of its own, however many there are."""
    for number in range(ask.count):
        seed = (ask.seed + number) % (1 << 63)
        yield model.paint([ask.prompt], seed=seed, tries=ask.tries)[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionAsk:
    """A picture to write about."""

    file: bytes
    language: str


def read_caption(fields: Fields, model: TextPictureModel) -> CaptionAsk:
    """Read the body of ``/v1/chat/completions`` for a model that writes about pictures.

    The last picture of the conversation counts; texts are allowed and say nothing to it.

    Raises:
        Refused: There is no picture, or it cannot be read.
        UnknownName: The model was never shown the language.
    """
    fields.refuse({"n": (1,), "tools": ([],), "response_format": ({"type": "text"},)})
    messages = fields.any("messages")
    parts = (
        [part for message in messages for part in _parts(message)]
        if isinstance(messages, list)
        else []
    )
    urls = [p.get("image_url") for p in parts if p.get("type") == "image_url"]
    if not urls:
        raise Refused(
            "this model writes about pictures: expected a part of the type image_url in messages",
            field="messages",
        )
    language = fields.text("language", "en")
    model.words.tag(language)
    url = urls[-1].get("url") if isinstance(urls[-1], dict) else urls[-1]
    return CaptionAsk(file=_data_of(url), language=language)


def _parts(message: Any) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _data_of(url: object) -> bytes:
    if not isinstance(url, str) or not url.startswith("data:image/") or ";base64," not in url:
        raise Refused(
            "image_url must be a data: URL of a picture (data:image/png;base64,...); "
            "nothing is fetched",
            field="messages",
            code="invalid_image_url",
        )
    try:
        return base64.b64decode(url.partition(";base64,")[2], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(
            f"image_url is no base64: {error}", field="messages", code="invalid_image_url"
        ) from error


def caption(model: TextPictureModel, ask: CaptionAsk) -> Iterator[str]:
    """Yield the text about a picture.

    Raises:
        InvalidConfig: The picture is damaged or too large.
    """
    image_HWC = read_picture(ask.file, model.pictures.config.px)
    yield model.write(image_HWC[None], language=ask.language)[0]
