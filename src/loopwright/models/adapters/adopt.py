"""One door for foreign policies: look at what was given, and adopt it as what it is."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface
from loopwright.core.policy import MANIFEST_NAME, Candidate
from loopwright.models.adapters.python_function import adopt_function


def adopt(source: Path, folder: Path, interface: Interface) -> Candidate:
    """Make a candidate in ``folder`` out of a Python file or a LeRobot policy folder.

    Raises:
        InvalidConfig: ``source`` is neither, or it does not fit the interface.
    """
    if source.suffix == ".py":
        return adopt_function(source, folder, interface)
    if (source / MANIFEST_NAME).is_file():
        raise InvalidConfig(f"{source} is a candidate already; use it as it is")
    if (source / "config.json").is_file():
        # Here and not above: it needs torch, and judging a Python function does not.
        from loopwright.models.adapters.lerobot import adopt_lerobot

        return adopt_lerobot(source, folder, interface)
    raise InvalidConfig(
        f"{source} is neither a Python file nor a LeRobot policy folder (config.json, "
        "model.safetensors); nothing to adopt"
    )
