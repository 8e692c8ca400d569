"""Episodes as MCAP files, one each, for Foxglove and whatever else reads MCAP.

Log and publish time of a message are when the episode was recorded plus its time within it. Films
go in as they are: their H.264 packets, one a message, with nothing encoded again. They satisfy what
Foxglove asks of ``foxglove.CompressedVideo``: Annex B, one frame a message, no frame that needs a
later one, and the parameter sets in front of every keyframe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from loopwright.core.episode import Verdict
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.store.durable import storing
from loopwright.store.episode_files import DamagedEpisode, Description, film_name
from loopwright.store.exchange import Exported
from loopwright.store.exchange.annex_b import annex_b_packets
from loopwright.store.exchange.mcap_file import (
    NS_PER_S,
    EpisodeStory,
    load_writer,
    write_story,
)
from loopwright.store.exchange.new_folder import new_folder, refuse_place
from loopwright.store.reading import EpisodeReader, Undecoded
from loopwright.store.workspace import Workspace

_RECORDED_AT = "%Y-%m-%dT%H:%M:%SZ"
_LONGEST_S = 1e9
"""Times beyond it (thirty years) are no times of an episode, and would not fit in the file."""
_COLOUR_NOTE = (
    "films are H.264 with full colour resolution (4:4:4): Chromium and what is built on it show "
    "them, Firefox and most hardware decoders do not"
)


def export_mcap(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Exported:
    """Write every episode as ``<id>.mcap``.

    Args:
        workspace: Where they are.
        episodes: Their ids; of any interface and any kind.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        progress: Wraps the ids, to show how far it is.

    Returns:
        What was written; the notes say what a viewer may stumble over.

    Raises:
        MissingExtra: The package ``mcap`` is not installed.
        InvalidConfig: There is no episode, or one twice, or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    load_writer()
    folder = Path(os.path.abspath(folder))
    refuse_place(workspace, folder)
    _refuse_selection(episodes)
    reader = EpisodeReader(workspace)
    num_steps, has_films = 0, False
    with new_folder(folder) as place, storing(folder):
        for episode_id in progress(episodes):
            story = _read(workspace, reader, episode_id)
            with (place / f"{episode_id}.mcap").open("xb") as file:
                write_story(file, story)
                file.flush()
                os.fsync(file.fileno())
            num_steps += story.episode.series.num_steps
            has_films |= bool(story.packets)
    return Exported(
        folder=folder,
        episodes=len(episodes),
        steps=num_steps,
        notes=(_COLOUR_NOTE,) if has_films else (),
    )


def _refuse_selection(episodes: Sequence[str]) -> None:
    if not episodes:
        raise InvalidConfig("there is no episode to export; expected at least one id")
    if len(set(episodes)) < len(episodes):
        twice = sorted({name for name in episodes if episodes.count(name) > 1})
        raise InvalidConfig(f"each episode is exported once, but {twice} come again")


def _read(workspace: Workspace, reader: EpisodeReader, episode_id: str) -> EpisodeStory:
    episode = reader.read_undecoded(episode_id)
    times_s = episode.series.time_s
    if not (np.abs(times_s) < _LONGEST_S).all():
        raise DamagedEpisode(episode_id, f"time_s holds {times_s.max()}, which is no time")
    verdicts = workspace.ledger.verdicts(episode_id)
    return EpisodeStory(
        episode=episode,
        packets={name: _packets(episode, name) for name in episode.films},
        begin_ns=_begin_ns(episode.description),
        verdicts=verdicts,
        standing=_newest_equal(verdicts, workspace.ledger.standing_verdict(episode_id)),
        annotations=workspace.ledger.annotations([episode_id]).get(episode_id, []),
    )


def _newest_equal(verdicts: Sequence[Verdict], standing: Verdict | None) -> Verdict | None:
    """Return the one of ``verdicts`` that stands; an equal one may have been given before."""
    return next((verdict for verdict in reversed(verdicts) if verdict == standing), None)


def _packets(episode: Undecoded, camera: str) -> list[bytes]:
    identity, wanted = episode.description.id, episode.description.num_steps
    try:
        packets = annex_b_packets(episode.films[camera], film_name(camera))
    except DamagedData as error:
        raise DamagedEpisode(identity, str(error)) from error
    if len(packets) != wanted:
        raise DamagedEpisode(
            identity, f"{film_name(camera)} has {len(packets)} frames, expected {wanted}"
        )
    return packets


def _begin_ns(description: Description) -> int:
    try:
        begin = datetime.strptime(description.recorded_at, _RECORDED_AT).replace(tzinfo=UTC)
    except ValueError as error:
        raise DamagedEpisode(description.id, f"recorded_at is no time: {error}") from error
    return int(begin.timestamp()) * NS_PER_S
