"""Digests: SHA-256 of bytes, of files, and of plain data in one canonical form."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""Plain data: what survives a trip through a JSON file unchanged (tuples return as lists)."""

_BLOCK_BYTES = 1 << 20


def canonical_json(value: Json) -> bytes:
    """Return the one byte string that stands for ``value``.

    Keys are sorted, separators are tight, text is UTF-8, floats are Python's shortest repr.

    Raises:
        ValueError: A float is NaN or infinite (they have no JSON form), or a key is no string.
    """
    _refuse_non_json(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _refuse_non_json(value: Json, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}; plain data holds finite numbers only")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys of plain data are strings")
            _refuse_non_json(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _refuse_non_json(item, f"{where}[{index}]")


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Json) -> str:
    """Return the SHA-256 of the canonical form of ``value``."""
    return digest_bytes(canonical_json(value))


def digest_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes."""
    hasher = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hasher.update(block)
    return hasher.hexdigest()


def digest_tree(root: str | os.PathLike[str], suffix: str = "") -> str:
    """Return a digest over the relative names and bytes of the files below ``root``.

    Args:
        root: A folder.
        suffix: Count only files whose name ends so (``".py"`` for a code digest).
    """
    root = Path(root)
    files = sorted(p for p in root.rglob(f"*{suffix}") if p.is_file())
    return digest_json({p.relative_to(root).as_posix(): digest_file(p) for p in files})


def folder_manifest(files: Mapping[str, str]) -> dict[str, Json]:
    """Return the plain data whose digest is the digest of a folder (file name to digest)."""
    return {"folder": dict(files)}
