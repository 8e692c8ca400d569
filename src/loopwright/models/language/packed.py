"""Language models whose weights are kept in 8 or 4 bits, as sealed candidates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from loopwright.core.digest import Json
from loopwright.core.errors import DamagedData
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.language.candidate import FAMILY, PACKED
from loopwright.models.language.model import LanguageModel
from loopwright.models.language.offline import import_transformers, offline
from loopwright.models.layers.packed import Bits, check_bits, pack_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS: Final = "packed.safetensors"
_HEADS: Final = ("lm_head", "embed_out", "router", "gate")
"""Heads decide between near words, and routers between experts: both keep all their bits."""


def save_packed(
    model: LanguageModel, folder: Path, bits: Bits, *, lineage: Mapping[str, Json] | None = None
) -> Candidate:
    """Pack the weights of a model, in place, and write it into an empty folder.

    Args:
        model: It is packed afterwards.
        folder: Exists and is empty.
        bits: Of each weight; heads, routers and embeddings stay as they are.
        lineage: What it came from.

    Raises:
        InvalidConfig: Nothing in it can be packed.
    """
    module: Any = model.module
    pack_layers(module, bits, keep=_HEADS)
    tied = _tied(module)
    tensors = {k: v.contiguous() for k, v in module.state_dict().items() if k not in tied}
    with offline():
        module.config.save_pretrained(folder)
        module.generation_config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    save_file(tensors, folder / WEIGHTS)
    return Candidate.seal(
        folder,
        family=FAMILY,
        interface=NO_BODY,
        config={"kind": PACKED, "bits": bits},
        lineage=lineage,
    )


def read_packed(folder: Path, candidate: Candidate, config: Any) -> PreTrainedModel:
    """Build the packed network of a checked candidate.

    Args:
        folder: Where it lies.
        candidate: Its manifest.
        config: What transformers read from its ``config.json``.

    Raises:
        InvalidConfig: The manifest names another number of bits.
        DamagedData: The weights do not fit.
    """
    import accelerate  # comes with peft

    bits = check_bits(candidate.config.get("bits"))
    transformers = import_transformers()
    # Parameters take no memory until they are read; what is computed at the start is real.
    with offline(), accelerate.init_empty_weights(include_buffers=False):
        module = transformers.AutoModelForCausalLM.from_config(config)
    pack_layers(module, bits, keep=_HEADS)
    try:
        tensors = load_file(folder / WEIGHTS)
        report = module.load_state_dict(tensors, strict=False, assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DamagedData(f"{folder / WEIGHTS} does not hold this model: {error}") from error
    lacking = sorted(set(report.missing_keys) - _tied(module))
    if lacking or report.unexpected_keys:
        raise DamagedData(
            f"{folder / WEIGHTS} does not hold this model: it lacks {lacking[:3]} and has, with no "
            f"place for, {report.unexpected_keys[:3]}"
        )
    module.tie_weights()
    if (folder / "generation_config.json").is_file():
        with offline():
            module.generation_config = transformers.GenerationConfig.from_pretrained(
                folder, local_files_only=True
            )
    return module


def _tied(module: Any) -> set[str]:
    """Return the names of tensors that are others under a second name."""
    return set(getattr(module, "all_tied_weights_keys", None) or {})
