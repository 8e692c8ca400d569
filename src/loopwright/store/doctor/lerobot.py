"""LeRobot datasets of others (v2.1 and v3): does what is there add up to what is promised?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.core.stage import ProgressSink
from loopwright.store.doctor import Finding
from loopwright.store.doctor.lerobot_data import examine_data, examine_stats
from loopwright.store.doctor.lerobot_films import examine_films
from loopwright.store.doctor.lerobot_meta import INFO, Promise, fault, read_promise


def is_lerobot(folder: Path) -> bool:
    """Tell whether a folder is a LeRobot dataset."""
    return (folder / INFO).is_file()


def examine_lerobot(
    folder: Path, *, deep: bool = True, progress: ProgressSink | None = None
) -> Iterator[Finding]:
    """Yield everything that is wrong with a LeRobot dataset; nothing is changed.

    Args:
        folder: Where it is.
        deep: Decode every film, too; otherwise frames are counted by their packets.
        progress: Told of the finished share and what is being looked at.
    """
    progress = progress or _say_nothing
    try:
        promise = read_promise(folder)
    except DamagedData as error:
        yield fault("unreadable", INFO, str(error))
        return
    yield from promise.faults
    yield from _counts(promise)
    yield from examine_stats(promise)
    progress(0.1, "data")
    yield from examine_data(promise)
    progress(0.3, "films")
    yield from examine_films(promise, decode=deep)
    progress(1.0, "done")


def _counts(promise: Promise) -> Iterator[Finding]:
    """Look whether the metadata agrees with itself."""
    lengths = [episode.length for episode in promise.episodes]
    for name, found in (
        ("episodes", len(lengths)),
        ("frames", sum(lengths)),
        ("tasks", len(promise.tasks)),
    ):
        said = promise.totals[name]
        if said != found:
            yield fault("total", INFO, f"total_{name} is {said}, the rest of meta says {found}")
    if [episode.index for episode in promise.episodes] != list(range(len(lengths))):
        yield fault("index", "meta/episodes", "the episodes are not numbered from 0 by one")
    row = 0
    for episode in promise.episodes:
        name = f"episode {episode.index}"
        if episode.length < 1:
            yield fault("length", "meta/episodes", f"{name} has the length {episode.length}")
        if episode.first_row is not None and (episode.first_row, episode.end_row) != (
            row,
            row + episode.length,
        ):
            yield fault(
                "index",
                "meta/episodes",
                f"{name} is said to have the rows {episode.first_row} to {episode.end_row}, "
                f"expected {row} to {row + episode.length}",
                episode=str(episode.index),
            )
        row += episode.length
        if unknown := [task for task in episode.tasks if task not in promise.tasks.values()]:
            yield fault(
                "task",
                "meta/tasks",
                f"{name} has the task {unknown[0][:60]!r}, which is not in the table of tasks",
                episode=str(episode.index),
            )
        if not episode.tasks:
            yield fault(
                "task", "meta/episodes", f"{name} has no task", "suspicion", str(episode.index)
            )


def _say_nothing(fraction: float, message: str) -> None:
    pass
