"""The doctor: what is wrong with recorded data, where, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["damage", "suspicion"]
"""Damage: bytes are not what was committed. Suspicion: they are, but the data looks wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong."""

    check: str
    """Which check found it (``"film/length"``); stable, so that it can be filtered."""
    severity: Severity
    where: str
    """File or row, relative to what was examined (``"episodes/3f2a.../front.mp4"``)."""
    message: str
    """What is wrong, the value and what was expected, in one sentence."""
    repair: str | None = None
    """What ``--repair`` would do; None if nothing can be done but to record it again."""
    episode: str | None = None
    """The episode that must not be trained on until this is mended, if it is about one."""
