"""From a candidate folder to a policy. Families are found by name; torch is imported on use."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from typing import cast

from loopwright.core.errors import InvalidConfig, MissingExtra, UnknownName
from loopwright.core.policy import Candidate, Policy, PolicyLoader

ENTRY_POINT_GROUP = "loopwright.policies"
_BUILT_IN = {
    "wam": "loopwright.models.wam.sample:load",
    "wudao": "loopwright.models.wudao.policy:load",
    "linear": "loopwright.models.linear.policy:load",
}


def families() -> dict[str, str]:
    """Return every known family and the entry point of its loader; plug-ins win."""
    found = {e.name: e.value for e in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return {**_BUILT_IN, **found}


def load_policy(folder: Path) -> Policy:
    """Check a candidate folder file by file and build its policy.

    Raises:
        UnsafeCandidate: The folder holds what no candidate may hold.
        DamagedData: A file is not what its digest says.
        UnknownName: No installed package knows the family.
        MissingExtra: The family needs a library that is not installed.
        InvalidConfig: The family's entry point leads nowhere.
    """
    candidate = Candidate.open(folder)
    return _loader(candidate.family)(folder, candidate)


def _loader(family: str) -> PolicyLoader:
    known = families()
    if family not in known:
        raise UnknownName("policy family", family, known)
    module_name, _, name = known[family].partition(":")
    try:
        return cast(PolicyLoader, getattr(importlib.import_module(module_name), name))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing and missing != "loopwright":
            raise MissingExtra(missing, "models", f"the policy family {family!r}") from error
        raise InvalidConfig(f"the loader {known[family]!r} of {family!r} is missing") from error
    except AttributeError as error:
        raise InvalidConfig(f"the loader {known[family]!r} of {family!r} is missing") from error
