"""What a policy asked for, however odd: never trusted, never refused, never long."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

EXCERPT_BYTES = 256
"""A malformed request is recorded up to here."""

_FLOAT64 = np.dtype("<f8")
_SHOWN = 16


class Form(IntEnum):
    """How a request is recorded; the number is what the black box keeps."""

    NUMBERS = 0
    """N numbers: in the field ``requested``."""
    NONE = 1
    """There was none."""
    BYTES = 2
    """Bytes, as they came."""
    ARRAY = 3
    """An array of another shape or type: both in words, a line feed, and its bytes."""
    WORDS = 4
    """Anything else, in words."""


def as_command(value: object, shape: tuple[int]) -> bytes | None:
    """Return N real numbers as float64 bytes, or None if it is something else."""
    # A subclass may bring code of its own.
    if type(value) is not np.ndarray or value.shape != shape:
        return None
    if value.dtype == _FLOAT64:
        return value.tobytes()
    if value.dtype.kind not in "fiu" or value.dtype.itemsize > 8:
        return None
    return value.astype(_FLOAT64).tobytes()


def excerpt(request: object) -> tuple[Form, bytes, int]:
    """Return how a malformed request is recorded: its form, an excerpt, and the whole length.

    Nothing of the request is called: objects of unknown types are only named.
    """
    if request is None:
        return Form.NONE, b"", 0
    if type(request) in (bytes, bytearray):
        return Form.BYTES, bytes(request[:EXCERPT_BYTES]), len(request)  # type: ignore[index]
    if type(request) is np.ndarray:
        return _array(request)
    words = _words(request, depth=2).encode(errors="backslashreplace")
    return Form.WORDS, words[:EXCERPT_BYTES], len(words)


def _array(request: np.ndarray) -> tuple[Form, bytes, int]:
    said = f"{request.dtype.str} {request.shape}\n".encode()
    # The references of an array of objects say nothing outside this process.
    begin = b"" if request.dtype.hasobject else request.reshape(-1)[:EXCERPT_BYTES].tobytes()
    return Form.ARRAY, (said + begin)[:EXCERPT_BYTES], len(said) + request.nbytes


def _words(value: object, *, depth: int) -> str:
    """Say what a value is, without running code that came with it."""
    if type(value) in (bool, int, float, type(None)):
        return repr(value) if type(value) is not int or value.bit_length() < 1000 else "<int>"
    if type(value) is str:
        return repr(value[: EXCERPT_BYTES * 2])
    if type(value) in (list, tuple) and depth:
        items = [_words(item, depth=depth - 1) for item in value[:_SHOWN]]  # type: ignore[index]
        more = f", ... {len(value)} items" if len(value) > _SHOWN else ""  # type: ignore[arg-type]
        return f"{type(value).__name__}({', '.join(items)}{more})"
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
