"""Which files of a Hugging Face folder hold the weights, and whether they are whole.

Only safetensors files are read: a pickle runs code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from loopwright.core.digest import digest_file, digest_json, folder_manifest
from loopwright.core.errors import DamagedData, InvalidConfig, UnsafeCandidate

CONFIG_NAME = "config.json"
SINGLE_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

_PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.pickle", "*.ckpt")
_READ_PATTERNS = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "chat_template*",
)
_CONVERSION = (
    "if you trust where it comes from, convert it once with "
    "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER), which writes safetensors"
)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a model folder.

    Raises:
        DamagedData: It is missing, no JSON, or no object.
    """
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedData(f"{path} cannot be read as JSON: {error}; copy it again") from error
    if not isinstance(found, dict):
        raise DamagedData(f"{path} holds a {type(found).__name__}; expected a JSON object")
    return found


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights, each of them checked to be whole.

    Raises:
        UnsafeCandidate: The weights are pickles, or an index leads out of the folder.
        InvalidConfig: There are no weights.
        DamagedData: A file is missing, truncated, or lacks a tensor that the index puts there.
    """
    if (folder / SINGLE_NAME).is_file():
        tensor_names(folder / SINGLE_NAME)
        return (folder / SINGLE_NAME,)
    if (folder / INDEX_NAME).is_file():
        return _indexed_files(folder / INDEX_NAME)
    pickles = sorted(p.name for pattern in _PICKLE_PATTERNS for p in folder.glob(pattern))
    if pickles:
        raise UnsafeCandidate(
            f"{folder} keeps its weights in {', '.join(pickles)}: pickles, which run code when "
            f"they are read, and are never opened here; {_CONVERSION}"
        )
    raise InvalidConfig(
        f"{folder} holds no weights; expected {SINGLE_NAME}, or {INDEX_NAME} and the files it names"
    )


def tensor_names(path: Path) -> frozenset[str]:
    """Return the names of the tensors in a safetensors file whose length fits its header.

    Raises:
        DamagedData: The file is missing, truncated, or no safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return frozenset(file.keys())
    except (SafetensorError, OSError) as error:
        raise DamagedData(f"{path} is no whole safetensors file: {error}; copy it again") from error


def refuse_numbers_that_are_none(module: nn.Module, source: Path) -> None:
    """Raise :class:`DamagedData` if a weight is NaN or infinite, naming it."""
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise DamagedData(
                f"the tensor {name!r} in {source} holds NaN or infinity: the file is damaged or "
                "its training diverged; copy it again"
            )


def folder_digest(folder: Path) -> str:
    """Return the digest of everything in a Hugging Face folder that loading reads."""
    read = {p for pattern in _READ_PATTERNS for p in folder.glob(pattern) if p.is_file()}
    files = sorted(read | set(weight_files(folder)))
    return digest_json(folder_manifest({p.name: digest_file(p) for p in files}))


def _indexed_files(index: Path) -> tuple[Path, ...]:
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise DamagedData(f"{index} has no 'weight_map' from tensor names to files; copy it again")
    paths = {name: index.parent / _plain_name(index, name) for name in set(placed.values())}
    held = {name: tensor_names(path) for name, path in paths.items()}
    lacking = sorted(_lacking(placed, held))
    if lacking:
        raise DamagedData(
            f"{index} promises tensors that are not where it says: {', '.join(lacking[:5])}"
            f"{' and more' if len(lacking) > 5 else ''}; copy the folder again"
        )
    return tuple(sorted(paths.values()))


def _lacking(placed: dict[str, str], held: dict[str, frozenset[str]]) -> Iterator[str]:
    return (f"{tensor!r} in {name}" for tensor, name in placed.items() if tensor not in held[name])


def _plain_name(index: Path, name: object) -> str:
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
        raise UnsafeCandidate(
            f"{index} points to {name!r}; expected a safetensors file beside it; {_CONVERSION}"
        )
    return name
