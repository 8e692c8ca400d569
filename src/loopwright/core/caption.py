"""Writing as acting: a text about a picture is written in one action, its UTF-8 bytes.

What writes, what shows the picture, and what judges agree on this interface alone.

Shapes: S side of the picture in pixels, A = 128 numbers of a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, VectorSpec

PICTURE: Final = "picture"
"""Name of the camera that looks at the picture."""
TEXT_BYTES: Final = 128
"""Longest text, in bytes of UTF-8; a shorter one is followed by zeros."""


def caption_interface(side_px: int) -> Interface:
    """Return the interface of a picture that is written about: the picture in, a text out."""
    names = byte_names()
    return Interface(
        cameras=(CameraSpec(name=PICTURE, height_px=side_px, width_px=side_px),),
        proprio=VectorSpec(names=("texts_written",), units=("1",), low=(0.0,), high=(1.0,)),
        action=VectorSpec(
            names=names,
            units=("1",) * len(names),
            low=(0.0,) * len(names),
            high=(255.0,) * len(names),
        ),
        rate_hz=1.0,
    )


def byte_names() -> tuple[str, ...]:
    """Return the names of the bytes of a text in order: ``byte_0, byte_1 ...``."""
    return tuple(f"byte_{place}" for place in range(TEXT_BYTES))


def action_of(text: str) -> np.ndarray:
    """Return the action that writes a text, float32 ``(1, A)`` in 0..255.

    What is beyond 128 bytes is left out, and no letter is cut in two.
    """
    whole = text.encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore").encode()
    action = np.zeros((1, TEXT_BYTES), dtype=np.float32)
    action[0, : len(whole)] = np.frombuffer(whole, dtype=np.uint8)
    return action


def text_of(numbers: np.ndarray) -> str:
    """Return the text that an action ``(A,)`` in 0..255 writes.

    Raises:
        InvalidConfig: Its bytes are no text.
    """
    if numbers.shape != (TEXT_BYTES,) or not np.all((numbers >= 0) & (numbers <= 255)):
        raise InvalidConfig(f"a text is {TEXT_BYTES} numbers from 0 to 255")
    written = np.round(numbers).astype(np.uint8).tobytes().rstrip(b"\0")
    try:
        return written.decode()
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"the bytes are no UTF-8: {error}") from error


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """In which language a picture is to be named, as it stands in an instruction."""

    language: str

    def to_instruction(self) -> str:
        """Return ``"caption (en)"``."""
        return f"caption ({self.language})"

    @classmethod
    def from_instruction(cls, instruction: str) -> CaptionRequest:
        """Read what :meth:`to_instruction` wrote.

        Raises:
            InvalidConfig: It asks for something else.
        """
        language = instruction.removeprefix("caption (").removesuffix(")")
        if not language or cls(language).to_instruction() != instruction:
            raise InvalidConfig(
                f"the instruction {instruction!r} asks for no caption; expected "
                "'caption (LANGUAGE)'"
            )
        return cls(language)
