"""Adapters (LoRA, DoRA) on disk: peft's two files, written so that equal ones are equal bytes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from loopwright.core.errors import DamagedData
from loopwright.models.language.offline import import_peft
from loopwright.models.language.weights import read_json

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

ADAPTER_NAME = "adapter_model.safetensors"
ADAPTER_CONFIG_NAME = "adapter_config.json"


def write_adapter(model: PeftModel, folder: Path, *, base: str) -> None:
    """Write an adapter beside nothing of the model it sits on.

    Args:
        model: The adapted model.
        folder: Where.
        base: What the file shall say that it sits on; for other readers of peft's format.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in _tensors(model).items()}
    save_file(tensors, folder / ADAPTER_NAME, metadata={"format": "pt"})
    said = model.peft_config["default"].to_dict()
    said.update(base_model_name_or_path=base, inference_mode=True)
    # Sets have another order in every process.
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in said.items()}
    text = json.dumps(plain, indent=2, sort_keys=True, default=str)
    (folder / ADAPTER_CONFIG_NAME).write_text(text + "\n", encoding="utf-8")


def read_adapter(module: nn.Module, folder: Path) -> PeftModel:
    """Put the adapter of a folder on a model.

    Raises:
        DamagedData: A file cannot be read, or does not fit the model; the tensor is named.
        MissingExtra: peft is not installed.
    """
    peft = import_peft()
    path = folder / ADAPTER_NAME
    try:
        config = peft.LoraConfig(**_said(folder / ADAPTER_CONFIG_NAME))
        model = attach(module, config)
        found = load_file(path)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise DamagedData(f"the adapter in {folder} cannot be read: {error}") from error
    _require_fit(_tensors(model), found, path)
    peft.set_peft_model_state_dict(model, found)
    return model


def attach(module: nn.Module, config: PeftConfig) -> PeftModel:
    """Put a fresh adapter on a model, in place.

    Raises:
        MissingExtra: peft is not installed.
    """
    peft = import_peft()
    with warnings.catch_warnings():
        # peft asks transformers for something by its old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        # And says that it will read the weights of GPT-2 the right way round.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set", UserWarning)
        return peft.get_peft_model(module, config)


def _said(path: Path) -> dict[str, object]:
    said = read_json(path)
    kind = said.pop("peft_type", None)
    if kind != "LORA":
        raise DamagedData(f"{path} describes an adapter of the kind {kind!r}; expected 'LORA'")
    # The manifest names the base, by digest.
    said.update(inference_mode=True, base_model_name_or_path=None)
    return said


def _tensors(model: PeftModel) -> dict[str, Tensor]:
    # Without the last argument peft asks the hub whether the vocabulary has grown.
    return import_peft().get_peft_model_state_dict(model, save_embedding_layers=False)


def _require_fit(expected: dict[str, Tensor], found: dict[str, Tensor], path: Path) -> None:
    for name in sorted(expected.keys() | found.keys()):
        wanted = tuple(expected[name].shape) if name in expected else None
        held = tuple(found[name].shape) if name in found else None
        if wanted != held:
            raise DamagedData(
                f"{path} does not fit its base: tensor {name!r} has the shape {held}, "
                f"expected {wanted} (None: not there)"
            )
