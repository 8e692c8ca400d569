"""Checkpoints: everything a training run needs to go on, in one file that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from loopwright.core.errors import DamagedData, StorageError

_STATE = "training"
"""The metadata entry that holds all but the tensors, as JSON."""
_DIGEST = "sha256"
"""The metadata entry that holds a digest of that one and of the tensors."""
_KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What the file format calls the types of tensors."""
_REMEDY = "put a copy of it back, or delete it to train from the beginning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A moment of a training run. Tensors are whole, however many processes shared them."""

    step: int
    """Optimiser steps done; the next batch is a function of it."""
    fingerprint: str
    """Digest of what is being trained; a resume must name the same one."""
    identity: str = ""
    """Digest of the part of it that is no setting of the trainer."""
    precision: str = "float32"
    """Of products."""
    tensors: Mapping[str, Tensor]
    """Weights, moments and averages by name."""


def write_atomically(path: Path, *pieces: bytes | memoryview) -> None:
    """Write a file so that any reader, at any moment, finds the old or the new one, whole.

    Raises:
        StorageError: The operating system refused (disk full, read-only).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} could not be written: {error}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint.

    Raises:
        StorageError: The operating system refused.
    """
    state = json.dumps(
        {
            "step": checkpoint.step,
            "fingerprint": checkpoint.fingerprint,
            "identity": checkpoint.identity,
            "precision": checkpoint.precision,
        }
    )
    metadata = {_STATE: state, _DIGEST: _digest(state, checkpoint.tensors)}
    write_atomically(path, *_safetensors(checkpoint.tensors, metadata))


def _digest(state: str, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a checkpoint; the file format has none of its own."""
    hasher = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        value = tensors[name]
        hasher.update(json.dumps([name, _KINDS[value.dtype], list(value.shape)]).encode())
        hasher.update(_bytes(value))
    return hasher.hexdigest()


def _bytes(value: Tensor) -> memoryview:
    return value.detach().cpu().flatten().view(torch.uint8).numpy().data


def _safetensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield a safetensors file piece by piece; the library makes two copies of it all first."""
    # Wide types first, so that each tensor begins at a multiple of its width.
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in names:
        begin, end = end, end + tensors[name].nbytes
        kind, shape = _KINDS[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        yield _bytes(tensors[name])


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read what :func:`save_checkpoint` wrote; None where there is no file.

    Raises:
        DamagedData: The file is there, but is not what was written.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedData(f"checkpoint {path} cannot be read: {error}; {_REMEDY}") from error
    state, expected = metadata.get(_STATE, "{}"), metadata.get(_DIGEST)
    if (found := _digest(state, tensors)) != expected:
        raise DamagedData(
            f"checkpoint {path} is not what was written: its SHA-256 is {found}, expected "
            f"{expected or 'one in the file, which has none'}; {_REMEDY}"
        )
    return Checkpoint(**json.loads(state), tensors=tensors)


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name begins with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
