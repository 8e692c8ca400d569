"""Reading a snapshot for looking at it: facts from the index, pictures from the files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.errors import ContractError, DamagedData
from loopwright.core.interface import VectorSpec
from loopwright.report.episodes.story import EpisodeStory, Footage, Panel, SnapshotStory, Strip
from loopwright.report.episodes.strip import frame_indices, frames_that_fit, make_strip
from loopwright.store.curate import judgement
from loopwright.store.episode_files import TABLE, DamagedEpisode, Description, read_description
from loopwright.store.ledger import EpisodeRow
from loopwright.store.reading import EpisodeReader
from loopwright.store.snapshots import Snapshot
from loopwright.store.table import read_table
from loopwright.store.workspace import Workspace

MAX_CAMERAS = 3
"""Cameras of which a strip is made; more hide what they are to show."""
PAGE_BYTES = 14_000_000
"""The episodes of one page weigh about this at most: browsers and mailboxes take it."""
_CARD_BYTES, _CURVE_BYTES = 4_000, 750

Watched = Callable[[list[EpisodeRow]], Iterable[EpisodeRow]]
"""Hands rows on one by one, perhaps behind a progress bar."""


def gather_snapshot(
    workspace: Workspace,
    snapshot: Snapshot,
    *,
    limit: int,
    pictures: bool = True,
    watched: Watched = iter,
) -> SnapshotStory:
    """Return a snapshot with its first episodes in full.

    Args:
        workspace: Where it is.
        snapshot: What to look at; it need not be saved.
        limit: Most episodes to read in full.
        pictures: Also make film strips (the slow part), and stop where a page would get too big.
        watched: Told of each episode as it is read.
    """
    known = workspace.ledger.episodes_by_id(snapshot.episodes)
    rows = tuple(known.values())
    verdicts = workspace.ledger.standing_verdicts([row.id for row in rows])
    wanted = list(rows[:limit])
    annotations = workspace.ledger.annotations([row.id for row in wanted])
    stories: list[EpisodeStory] = []
    weight = 0
    for row in watched(wanted):
        standing = verdicts.get(row.id)
        story = EpisodeStory(
            row=row,
            verdicts=(standing,) if standing else (),
            standing=standing,
            annotations=tuple(annotations.get(row.id, ())),
            **_footage_or_damage(workspace, row.id, pictures=pictures),
        )
        weight += page_bytes(story) if pictures else 0
        if weight > PAGE_BYTES and stories:
            break
        stories.append(story)
    return SnapshotStory(
        digest=snapshot.digest,
        rule=snapshot.label_filter or "",
        rows=rows,
        judgements={row.id: judgement(verdicts.get(row.id)) for row in rows},
        missing=tuple(e for e in snapshot.episodes if e not in known),
        episodes=tuple(stories),
        cut=_cut(len(stories), len(wanted), len(rows)),
    )


def gather_episode(workspace: Workspace, row: EpisodeRow) -> EpisodeStory:
    """Return everything about one episode, every verdict included."""
    ledger = workspace.ledger
    return EpisodeStory(
        row=row,
        verdicts=tuple(ledger.verdicts(row.id)),
        standing=ledger.standing_verdict(row.id),
        annotations=tuple(ledger.annotations([row.id]).get(row.id, ())),
        **_footage_or_damage(workspace, row.id, pictures=False),
    )


def _cut(shown: int, wanted: int, total: int) -> str | None:
    if shown == total:
        return None
    why = "more pictures would make the page too heavy" if shown < wanted else "as was asked for"
    return f"The first {shown} of {total} episodes are shown, {why}. Totals count all of them."


def _footage_or_damage(workspace: Workspace, episode_id: str, *, pictures: bool) -> dict:
    try:
        return {"footage": _footage(workspace, episode_id, pictures=pictures)}
    except (DamagedData, ContractError) as error:
        return {"damage": str(error)}


def _footage(workspace: Workspace, episode_id: str, *, pictures: bool) -> Footage:
    """Read one episode without holding its film in memory.

    Raises:
        DamagedData: A file of it is missing or damaged.
    """
    description = read_description(workspace.episodes_folder / episode_id)
    columns = _columns(workspace, description)
    time_s = columns["time_s"]
    return Footage(
        header=description.header,
        recorded_at=description.recorded_at,
        time_s=time_s,
        strips=_strips(workspace, description, time_s) if pictures else (),
        panels=_panels(description, columns),
    )


def _columns(workspace: Workspace, description: Description) -> Mapping[str, np.ndarray]:
    path = workspace.episodes_folder / description.id / TABLE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedEpisode(description.id, f"{path} cannot be read: {error}") from error
    if digest_bytes(data) != description.files[TABLE]:
        raise DamagedEpisode(description.id, f"{path} is not what was recorded")
    columns = read_table(data, description.header, str(path))
    if not len(columns["time_s"]):
        raise DamagedEpisode(description.id, f"{path} has no row")
    return columns


def _strips(
    workspace: Workspace, description: Description, time_s: np.ndarray
) -> tuple[Strip, ...]:
    made = []
    with closing(EpisodeReader(workspace, open_films=1)) as reader:
        for camera in description.header.interface.cameras[:MAX_CAMERAS]:
            number = frames_that_fit(camera.height_px, camera.width_px)
            indices = frame_indices(time_s, number).tolist()
            made.append(
                make_strip(camera.name, reader.frames(description.id, camera.name, indices))
            )
    return tuple(made)


def _panels(description: Description, columns: Mapping[str, np.ndarray]) -> tuple[Panel, ...]:
    if description.header.kind == "video":
        return ()
    interface = description.header.interface
    return (
        *_by_unit("action", interface.action, columns["applied"], columns["requested"]),
        *_by_unit("proprio", interface.proprio, columns["proprio"], None),
    )


def _by_unit(
    vector: str, spec: VectorSpec, values: np.ndarray, requested: np.ndarray | None
) -> list[Panel]:
    """Return a panel per unit: metres and radians do not share an axis."""
    panels = []
    for unit in dict.fromkeys(spec.units):
        chosen = [i for i, u in enumerate(spec.units) if u == unit]
        asked = None if requested is None else requested[:, chosen]
        if asked is not None and np.allclose(asked, values[:, chosen], atol=1e-4, equal_nan=True):
            asked = None
        panels.append(
            Panel(
                vector=vector,
                unit=unit,
                names=tuple(spec.names[i] for i in chosen),
                values=values[:, chosen],
                requested=asked,
            )
        )
    return panels


def page_bytes(story: EpisodeStory) -> int:
    """Return about how much an episode adds to a page, a little more rather than less."""
    if story.footage is None:
        return _CARD_BYTES
    pictures = sum(len(strip.jpeg) for strip in story.footage.strips)
    curves = sum(len(p.names) * (1 if p.requested is None else 2) for p in story.footage.panels)
    # In a page, three bytes of a picture are written as four letters.
    return pictures * 4 // 3 + curves * _CURVE_BYTES + _CARD_BYTES
