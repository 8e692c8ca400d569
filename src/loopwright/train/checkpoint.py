"""Checkpoints: everything a training run needs to go on, in one file that is whole or absent."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from loopwright.core.errors import DamagedData, StorageError

_STATE = "training"
"""The metadata entry that holds position and fingerprint as JSON."""


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


def save_checkpoint(
    path: Path,
    *,
    step: int,
    fingerprint: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
) -> None:
    """Write weights, optimiser moments, averaged weights, torch's random state and the position.

    Args:
        path: Where to.
        step: Optimiser steps done; the next batch is a function of it.
        fingerprint: Digest of what is being trained; a resume must name the same one.
        module: What is trained.
        optimiser: Its optimiser.
        average: The moving average of the weights, if one is kept.
    """
    tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in moments.items()}
    if average is not None:
        tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    tensors["random.torch"] = torch.get_rng_state()
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    # One entry: several are written in an order that changes from process to process.
    state = json.dumps({"step": step, "fingerprint": fingerprint})
    write_atomically(path, save(plain, {_STATE: state}))


def load_checkpoint(
    path: Path,
    *,
    fingerprint: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: nn.Module | None,
) -> int:
    """Restore what :func:`save_checkpoint` wrote; return the steps done, 0 if there is nothing.

    A checkpoint of something else (another fingerprint) counts as nothing.

    Raises:
        DamagedData: The file is there but cannot be read.
    """
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedData(f"checkpoint {path} cannot be read: {error}; delete it") from error
    state_at = json.loads(metadata.get(_STATE, "{}"))
    if state_at.get("fingerprint") != fingerprint:
        return 0
    module.load_state_dict(_below(tensors, "module."))
    if average is not None:
        average.load_state_dict(_below(tensors, "average."))
    state: dict[int, dict[str, Any]] = {}
    for name, value in _below(tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    torch.set_rng_state(tensors["random.torch"])
    return int(state_at["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
