"""Training outside a loop: corpora, a learner, and where the result goes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import InvalidConfig, StorageError
from loopwright.core.learner import FitJob, LearnFunction
from loopwright.core.stage import ProgressSink, resolve_entry
from loopwright.loop.config import Learner, build_corpora

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
    again.

    Args:
        training: What to do.
        folder: Where to; one folder holds one training.
        progress: Told the finished fraction.

    Returns:
        Plain facts, the digest of the candidate among them.

    Raises:
        InvalidConfig: The folder holds another training.
        StorageError: The folder cannot be written.
    """
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
    _write(facts_path, {"plan": plan})
    learn: LearnFunction = resolve_entry(training.learner.entry)
    facts = dict(
        learn(
            training.learner.config,
            FitJob(
                episodes=(),
                seed=training.seed,
                out=folder / CANDIDATE,
                scratch=folder / SCRATCH,
                lineage={"training": training.name},
                corpora=build_corpora(training.learner, progress),
                progress=progress,
            ),
        )
    )
    _write(facts_path, {"plan": plan, "facts": facts})
    return facts


def _write(path: Path, data: dict[str, Any]) -> None:
    temporary = path.with_suffix(".part")
    try:
        temporary.write_bytes(canonical_json(data))
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error}") from error
