"""Training outside a loop: corpora, a learner, and where the result goes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.core.learner import FitJob, LearnFunction
from loopwright.core.stage import ProgressSink, resolve_entry
from loopwright.loop.config import Learner, build_corpora
from loopwright.recipes.launch import Launch, this_launch
from loopwright.recipes.planning import check_memory

CANDIDATE, SCRATCH, FACTS = "candidate", "scratch", "training.json"
"""What a training leaves in its folder: the candidate, checkpoints with metrics, plain facts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One training run, fully stated."""

    name: str
    learner: Learner
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain data: what is kept beside the result."""
        return asdict(self)


def run_training(training: Training, folder: Path, progress: ProgressSink) -> dict[str, Json]:
    """Build the corpora, train, and leave a sealed candidate in ``folder``.

    Started again after a crash, it goes on from its last checkpoint; a finished one is not run
    again. Started by torchrun, its processes train one model; the first of them writes and shows
    what comes of it.

    Args:
        training: What to do.
        folder: Where to; one folder holds one training, and all processes share it.
        progress: Told the finished fraction.

    Returns:
        Plain facts, the digest of the candidate among them; nothing in processes but the first.

    Raises:
        InvalidConfig: The folder holds another training, or the learner cannot use processes.
        Infeasible: This machine has too little memory even to begin.
        ProcessLost: Another process ended; started again, training goes on.
        StorageError: The folder cannot be written.
    """
    launch = this_launch()
    learn: LearnFunction = resolve_entry(training.learner.entry)
    _check_together(learn, training, launch)
    check_memory(training, launch)
    facts_path = folder / FACTS
    plan = training.to_json()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = json.loads(facts_path.read_bytes()) if facts_path.exists() else {}
    except (OSError, ValueError) as error:
        raise StorageError(f"{facts_path} cannot be read: {error}; remove it") from error
    if known and known["plan"] != json.loads(canonical_json(plan)):
        raise InvalidConfig(
            f"{folder} holds another training ({known['plan']['name']!r}, or other settings); "
            "choose another --out"
        )
    if "facts" in known:
        progress(1.0, f"{training.name} is trained already")
        return known["facts"]
    if launch.is_first:
        _write(facts_path, {"plan": plan})
    else:
        progress = _silent
    with _one_at_a_time(folder):
        corpora = build_corpora(training.learner, progress)
    facts = dict(
        learn(
            training.learner.config,
            FitJob(
                episodes=(),
                seed=training.seed,
                out=folder / CANDIDATE,
                scratch=folder / SCRATCH,
                lineage={"training": training.name},
                corpora=corpora,
                progress=progress,
            ),
        )
    )
    if launch.is_first:
        _write(facts_path, {"plan": plan, "facts": facts})
    return facts


def _check_together(learn: LearnFunction, training: Training, launch: Launch) -> None:
    """Refuse several processes that would each train a model of their own into one folder."""
    if launch.processes > 1 and not getattr(learn, "trains_together", False):
        raise InvalidConfig(
            f"{training.name}: {training.learner.entry} trains with one process, and torchrun "
            f"started {launch.processes}; start it with 'loopwright train' alone"
        )


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process of several at a time into the block: what it builds, the others find."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The kernel releases it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _silent(fraction: float, message: str) -> None:
    """Show nothing."""


def _write(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    try:
        temporary.write_bytes(canonical_json(data))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error
