"""Training outside a loop: corpora, a learner, and where the result goes."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from loopwright.core.digest import Json, canonical_json
from loopwright.core.errors import DamagedData, InvalidConfig, StorageError
from loopwright.core.learner import FitJob, LearnFunction, Mirror, shaping_of
from loopwright.core.source import find_entry
from loopwright.core.stage import ProgressSink
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


def run_training(
    training: Training, folder: Path, progress: ProgressSink, *, mirrors: Sequence[Mirror] = ()
) -> dict[str, Json]:
    """Build the corpora, train, and leave a sealed candidate in ``folder``.

    Started again after a crash, it goes on from its last checkpoint, also with other settings if
    they do not shape the result; a finished one is not run again. Started by torchrun, its
    processes train one model; the first of them writes and shows what comes of it.

    Args:
        training: What to do.
        folder: Where to; one folder holds one training, and all processes share it.
        progress: Told the finished fraction.
        mirrors: Where else metrics are shown.

    Returns:
        Plain facts, the digest of the candidate among them; nothing in processes but the first.

    Raises:
        InvalidConfig: The folder holds another training, or the learner cannot use processes.
        Infeasible: This machine has too little memory even to begin.
        ProcessLost: Another process ended; started again, training goes on.
        DamagedData: What the folder says of its training cannot be read.
        StorageError: The folder cannot be written.
    """
    launch = this_launch()
    learn: LearnFunction = find_entry(training.learner.entry, "learner")
    _check_together(learn, training, launch)
    check_memory(training, launch)
    facts_path = folder / FACTS
    known = _known(folder)
    said = {"plan": training.to_json()}
    if "facts" not in known or known["plan"] != _plain(said["plan"]):
        said["shaping"] = _shaping(learn, training)
        _refuse_another(said, known, folder)
    if "facts" in known:
        progress(1.0, f"{training.name} is trained already")
        return known["facts"]
    if launch.is_first:
        _write(facts_path, said)
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
                mirrors=mirrors,
            ),
        )
    )
    if launch.is_first:
        _write(facts_path, {**said, "facts": facts})
    return facts


def _check_together(learn: LearnFunction, training: Training, launch: Launch) -> None:
    """Refuse several processes that would each train a model of their own into one folder."""
    if launch.processes > 1 and not getattr(learn, "trains_together", False):
        raise InvalidConfig(
            f"{training.name}: {training.learner.entry} trains with one process, and torchrun "
            f"started {launch.processes}; start it with 'loopwright train' alone"
        )


def _known(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its training; make it if there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error}; choose another --out") from error
    path = folder / FACTS
    try:
        return json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise DamagedData(
            f"{path} cannot be read: {error}; put a copy of it back, or remove it to begin anew"
        ) from error


def _shaping(learn: LearnFunction, training: Training) -> dict[str, Any]:
    """Return what of a training shapes the result, as plain data."""
    plan = training.to_json()
    settings = shaping_of(learn, training.learner.config)
    return _plain({**plan, "learner": {**plan["learner"], "config": settings}})


def _refuse_another(said: Mapping[str, Any], known: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a training that would end at another result.

    Raises:
        InvalidConfig: What shapes the results differs; the message says in what.
    """
    if not known:
        return
    if differing := list(_differing(_plain(said["shaping"]), known.get("shaping", {}))):
        raise InvalidConfig(
            f"{folder} holds another training: {'; '.join(differing)}. Choose another --out, or "
            "train as before"
        )


_ABSENT: Final = "absent"


def _differing(mine: Mapping[str, Any], theirs: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield a sentence on every value in which two nested mappings differ."""
    for name in sorted({*mine, *theirs}):
        here, there = mine.get(name, _ABSENT), theirs.get(name, _ABSENT)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from _differing(here, there, f"{path}{name}.")
        elif here != there:
            yield f"{path}{name} is {here!r}, there {there!r}"


def _plain(data: Mapping[str, Any]) -> Any:
    """Return data as it is when it was written and read again."""
    return json.loads(canonical_json(data))


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
