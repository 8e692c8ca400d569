"""Crash points: places where a fault test may kill the process, to prove that nothing is lost."""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "LOOPWRIGHT_CRASH_AT"
"""Set to ``"name:count"`` to die with SIGKILL the ``count``-th time point ``name`` is reached."""

PUBLISH_STEPS = ("written", "synced", "renamed", "published")
"""The steps of :func:`loopwright.store.durable.publish`, in order."""

PUBLISHED = ("marker", "object", "description", "episode", "snapshot")
"""What is published: ``workspace.toml``, an object, ``episode.json``, an episode's folder, a
snapshot's file."""

POINTS: tuple[str, ...] = (
    *(f"{name}.{step}" for name in PUBLISHED for step in PUBLISH_STEPS),
    "ledger.before_commit",
    "ledger.after_commit",
    "recording.begun",
    "recording.step_filmed",
    "recording.step_stored",
    "recording.films_closed",
    "recording.table_stored",
)
"""Every point, for tests that visit them all."""

_visits: Counter[str] = Counter()


def reach(point: str) -> None:
    """Do nothing, unless the environment asks this process to die here."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    name, _, count = wanted.partition(":")
    if name != point:
        return
    _visits[point] += 1
    if _visits[point] == int(count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
