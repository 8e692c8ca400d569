"""Language models as candidates: sealed folders that any reader of Hugging Face's format reads too.

A *whole* candidate holds weights, configuration and tokenizer. An *adapter* holds what was learned
and the tokenizer, and names its base by digest and by the way from one folder to the other. A
*packed* candidate is whole, with weights of 8 or 4 bits (:mod:`loopwright.models.language.packed`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import NO_BODY
from loopwright.core.policy import Candidate
from loopwright.models.language.adapter import write_adapter
from loopwright.models.language.model import LanguageModel
from loopwright.models.language.offline import offline

if TYPE_CHECKING:
    from peft import PeftModel

FAMILY: Final = "language"
WHOLE: Final = "whole"
ADAPTER: Final = "adapter"
PACKED: Final = "packed"


def save_whole(
    model: LanguageModel, folder: Path, *, lineage: Mapping[str, Json] | None = None
) -> Candidate:
    """Write a model into an empty folder and seal it.

    Args:
        model: Its module is an ordinary network: adapters are merged.
        folder: Exists and is empty.
        lineage: What it came from.
    """
    with offline():
        model.module.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
    return Candidate.seal(
        folder, family=FAMILY, interface=NO_BODY, config={"kind": WHOLE}, lineage=lineage
    )


def save_adapter(
    model: LanguageModel,
    adapted: PeftModel,
    folder: Path,
    *,
    base: Path,
    place: Path,
    lineage: Mapping[str, Json] | None = None,
) -> Candidate:
    """Write an adapter into an empty folder and seal it.

    Args:
        model: The base that it sits on.
        adapted: The network with the adapter.
        folder: Exists and is empty.
        base: Folder of the base.
        place: Where the folder will lie in the end; the way to the base starts there.
        lineage: What else it came from.
    """
    # A way, not a place: two machines with the same tree get the same digest.
    way = Path(os.path.relpath(base.resolve(), place.resolve())).as_posix()
    write_adapter(adapted, folder, base=way)
    model.tokenizer.save_pretrained(folder)
    return Candidate.seal(
        folder,
        family=FAMILY,
        interface=NO_BODY,
        config={"kind": ADAPTER, "base": way},
        lineage={**(lineage or {}), "base": model.digest},
    )


def folder_of_base(folder: Path, candidate: Candidate, given: str | Path | None) -> Path:
    """Return where the base of an adapter lies.

    Raises:
        InvalidConfig: It is not there.
    """
    place = folder.resolve() / str(candidate.config["base"]) if given is None else Path(given)
    place = Path(os.path.normpath(place))
    if not place.is_dir():
        raise InvalidConfig(
            f"{folder} is an adapter; its base (digest {str(candidate.lineage['base'])[:12]}) is "
            f"not at {place}: say where it lies (base=...)"
        )
    return place


def check_family(candidate: Candidate, folder: Path) -> None:
    """Raise :class:`InvalidConfig` unless a candidate is a language model of a known kind."""
    kind = candidate.config.get("kind")
    if candidate.family != FAMILY or kind not in (WHOLE, ADAPTER, PACKED):
        raise InvalidConfig(
            f"{folder} is a candidate of the family {candidate.family!r} and the kind {kind!r}; "
            f"expected the family {FAMILY!r}, {WHOLE!r}, {ADAPTER!r} or {PACKED!r}"
        )
