"""Checkpoints: everything a training run needs to go on, in one file that is whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loopwright.core.errors import DamagedData, StorageError

_STATE = "training"
"""The metadata entry that holds position and fingerprint as JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A moment of a training run. Tensors are whole, however many processes shared them."""

    step: int
    """Optimiser steps done; the next batch is a function of it."""
    fingerprint: str
    """Digest of what is being trained; a resume must name the same one."""
    tensors: Mapping[str, Tensor]
    """Weights, moments and averages by name."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that any reader, at any moment, finds the old or the new one, whole.

    Raises:
        StorageError: The operating system refused (disk full, read-only).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
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
    plain = {n: value.detach().cpu().contiguous() for n, value in checkpoint.tensors.items()}
    # One entry: several are written in an order that changes from process to process.
    state = json.dumps({"step": checkpoint.step, "fingerprint": checkpoint.fingerprint})
    write_atomically(path, save(plain, {_STATE: state}))


def load_checkpoint(path: Path, *, fingerprint: str) -> Checkpoint | None:
    """Read what :func:`save_checkpoint` wrote.

    Returns:
        The checkpoint; None where there is none, or one of something else (another fingerprint).

    Raises:
        DamagedData: The file is there but cannot be read.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata().get(_STATE, "{}"))
            if state.get("fingerprint") != fingerprint:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise DamagedData(f"checkpoint {path} cannot be read: {error}; delete it") from error
    return Checkpoint(step=int(state["step"]), fingerprint=fingerprint, tensors=tensors)


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose name begins with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
