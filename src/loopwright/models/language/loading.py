"""From a folder on disk to a language model. Nothing is ever fetched, and no code of it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.models.language.adapter import read_adapter
from loopwright.models.language.candidate import (
    ADAPTER,
    PACKED,
    check_family,
    folder_of_base,
)
from loopwright.models.language.model import LanguageModel
from loopwright.models.language.offline import import_transformers, offline
from loopwright.models.language.packed import read_packed
from loopwright.models.language.weights import (
    CONFIG_NAME,
    folder_digest,
    read_json,
    refuse_numbers_that_are_none,
    weight_files,
)

Precision = Literal["stored", "float32", "bfloat16"]
"""Of the weights in memory; ``"stored"`` is that of the files."""


def load(
    path: str | Path,
    *,
    base: str | Path | None = None,
    merge: bool = True,
    precision: Precision = "stored",
    device: str | torch.device = "cpu",
) -> LanguageModel:
    """Load a language model from a folder.

    The folder is one of Hugging Face's for a causal language model (``config.json``, weights as
    safetensors, a tokenizer) or a candidate of ours, which may be an adapter and then names the
    folder of its base by digest.

    Args:
        path: The folder. Names of models on a hub are refused: nothing is fetched.
        base: Where the base of an adapter lies, if not where it lay when it was trained.
        merge: Whether an adapter is folded into the weights, which leaves an ordinary network.
        precision: Of the weights in memory.
        device: Where to compute.

    Raises:
        InvalidConfig: The folder holds no model that can be read here; the message says why.
        UnknownName: The installed transformers does not know the architecture.
        UnsafeCandidate: Weights are pickles, or a candidate holds what none may hold.
        DamagedData: A file is corrupt or truncated, or a tensor is missing, has the wrong shape,
            or holds no numbers; file and tensor are named.
        MissingExtra: transformers or peft is not installed.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidConfig(
            f"{folder} is no folder; a language model is loaded from a folder on disk and never "
            "fetched, so download it first by other means"
        )
    if not (folder / MANIFEST_NAME).is_file():
        return _load_folder(folder, folder_digest(folder), precision, device)
    candidate = Candidate.open(folder)
    check_family(candidate, folder)
    if candidate.config["kind"] == PACKED:
        return _load_packed(folder, candidate, device)
    if candidate.config["kind"] != ADAPTER:
        return _load_folder(folder, candidate.digest, precision, device)
    return _load_adapted(folder, candidate, base, merge, precision, device)


def digest_of(folder: Path) -> str:
    """Return the digest by which a model folder, ours or another's, is known."""
    if (folder / MANIFEST_NAME).is_file():
        return Candidate.open(folder).digest
    return folder_digest(folder)


def _load_adapted(
    folder: Path,
    candidate: Candidate,
    base: str | Path | None,
    merge: bool,
    precision: Precision,
    device: str | torch.device,
) -> LanguageModel:
    place = folder_of_base(folder, candidate, base)
    model = load(place, precision=precision, device=device)
    expected = candidate.lineage["base"]
    if model.digest != expected:
        raise DamagedData(
            f"{place} has the digest {model.digest[:12]}, but the adapter {folder} was trained on "
            f"{str(expected)[:12]}; give the folder it was trained on as base"
        )
    adapted = read_adapter(model.module, folder).to(device).eval()
    refuse_numbers_that_are_none(adapted, folder)
    module: Any = adapted.merge_and_unload() if merge else adapted
    return LanguageModel(module.eval(), _tokenizer(folder), digest=candidate.digest)


def _load_packed(folder: Path, candidate: Candidate, device: str | torch.device) -> LanguageModel:
    module: Any = read_packed(folder, candidate, _config(folder))
    refuse_numbers_that_are_none(module, folder)
    tokenizer = _tokenizer(folder)
    _require_room(module, tokenizer, folder)
    return LanguageModel(module.to(device).eval(), tokenizer, digest=candidate.digest)


def _load_folder(
    folder: Path, digest: str, precision: Precision, device: str | torch.device
) -> LanguageModel:
    transformers = import_transformers()
    config = _config(folder)
    weight_files(folder)
    try:
        with offline():
            module, report = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                config=config,
                dtype="auto" if precision == "stored" else getattr(torch, precision),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                # So that every wrong shape is in the report, which is judged below.
                ignore_mismatched_sizes=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise DamagedData(f"the model in {folder} cannot be built: {error}") from error
    _judge(report, folder)
    refuse_numbers_that_are_none(module, folder)
    tokenizer = _tokenizer(folder)
    _require_room(module, tokenizer, folder)
    return LanguageModel(module.to(device).eval(), tokenizer, digest=digest)


def _config(folder: Path) -> Any:
    """Return the parsed ``config.json`` of an architecture that transformers itself has."""
    transformers = import_transformers()
    from huggingface_hub.errors import StrictDataclassError

    path = folder / CONFIG_NAME
    said = read_json(path)
    kind = said.get("model_type")
    known = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    names = {c.model_type for c in known}
    if kind not in names:
        raise UnknownName("causal language model architecture in config.json:", str(kind), names)
    if "quantization_config" in said:
        raise InvalidConfig(
            f"{folder} is quantised ({said['quantization_config'].get('quant_method')}); "
            "load the model it was made from"
        )
    try:
        with offline():
            return transformers.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, TypeError, StrictDataclassError) as error:
        raise DamagedData(f"{path} does not describe a {kind!r} model: {error}") from error


def _judge(report: dict[str, Any], folder: Path) -> None:
    """Refuse weights that do not fit the architecture tensor by tensor."""
    for name, held, wanted in sorted(report["mismatched_keys"]):
        raise DamagedData(
            f"the tensor {name!r} in {folder} has the shape {tuple(held)}, but {CONFIG_NAME} asks "
            f"for {tuple(wanted)}; copy both from the same model"
        )
    # Without this the network would be filled up with chance and answer nonsense.
    for kind, hint in (("missing_keys", "lacks"), ("unexpected_keys", "has, with no place for,")):
        if names := sorted(report[kind]):
            raise DamagedData(
                f"the model in {folder} {hint} the {_listed(names)}; "
                f"copy weights and {CONFIG_NAME} from the same model"
            )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"tensor{'s' if len(names) > 1 else ''} {', '.join(map(repr, names[:3]))}{more}"


def _tokenizer(folder: Path) -> Any:
    transformers = import_transformers()
    try:
        with offline():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise InvalidConfig(f"the tokenizer in {folder} cannot be read: {error}") from error
    if not tokenizer.is_fast:
        raise InvalidConfig(
            f"the tokenizer in {folder} is a slow one ({type(tokenizer).__name__}); expected "
            "tokenizer.json beside the weights"
        )
    return tokenizer


def _require_room(module: nn.Module, tokenizer: Any, folder: Path) -> None:
    # Tokens that somebody added without a place are common, and do no harm until they are used.
    rows = module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if tokenizer.vocab_size > rows:
        raise DamagedData(
            f"the tokenizer in {folder} knows {tokenizer.vocab_size} tokens, but the model only "
            f"{rows}; copy both from the same model"
        )
