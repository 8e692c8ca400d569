"""The same recording under two names: it would count twice, and leak from training into judging."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from loopwright.store.doctor import Finding
from loopwright.store.episode_files import TABLE, Description

_FEWEST_STEPS = 2
_FEWEST_PX = 48
"""In smaller images two different starts may well look the same."""


def examine_duplicates(descriptions: Iterable[Description]) -> Iterator[Finding]:
    """Look for equal data of episodes that began in different ways.

    From one start two candidates may well do the same, and a video may be made of a demonstration;
    from different starts no two recordings are equal to the last bit.
    """
    groups: dict[tuple, list[Description]] = defaultdict(list)
    for description in descriptions:
        if description.num_steps >= _FEWEST_STEPS:
            groups[_shown(description)].append(description)
    for group in groups.values():
        first = min(group, key=lambda description: description.recorded_at)
        for other in group:
            if _start(other) != _start(first):
                yield Finding(
                    check="episode/duplicate",
                    severity="suspicion",
                    where=f"episodes/{other.id}",
                    message=f"it shows the same as {first.id} to the last bit, but claims to be "
                    f"seed {other.header.seed} of {other.header.scenario}, not seed "
                    f"{first.header.seed} of {first.header.scenario}: leave one of them out",
                    episode=other.id,
                )


def _shown(description: Description) -> tuple:
    """Return the digests of the films; of the table too, where films do not tell enough."""
    cameras = description.header.interface.cameras
    sides = [min(camera.height_px, camera.width_px) for camera in cameras]
    files = dict(description.files)
    if sides and min(sides) >= _FEWEST_PX:
        del files[TABLE]
    return tuple(sorted(files.items()))


def _start(description: Description) -> tuple[str, int]:
    return description.header.scenario, description.header.seed
