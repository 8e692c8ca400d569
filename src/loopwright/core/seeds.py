"""Seeds: every random stream is derived by name from one root, never shared, never global."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(root: int, *names: str | int) -> int:
    """Return a 63-bit seed for the stream ``names`` below ``root``.

    Streams with different names are independent for all practical purposes (SHA-256), and adding
    a stream never changes another one.
    """
    text = "/".join([str(int(root)), *(str(n) for n in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(root: int, *names: str | int) -> np.random.Generator:
    """Return NumPy's generator for the stream ``names`` below ``root``."""
    return np.random.default_rng(derive_seed(root, *names))
