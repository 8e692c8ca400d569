"""A new folder with one file an episode, whatever the format of the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

from loopwright.core.errors import InvalidConfig
from loopwright.store.durable import storing
from loopwright.store.exchange import Exported
from loopwright.store.exchange.new_folder import new_folder, refuse_place
from loopwright.store.exchange.story import EpisodeStory, read_story
from loopwright.store.reading import EpisodeReader
from loopwright.store.workspace import Workspace

_COLOUR_NOTE = (
    "films are H.264 with full colour resolution (4:4:4): Chromium and what is built on it show "
    "them, Firefox and most hardware decoders do not"
)


def export_file_each(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    suffix: str,
    write: Callable[[IO[bytes], EpisodeStory], None],
    progress: Callable[[Sequence[str]], Iterable[str]],
) -> Exported:
    """Write every episode into a file ``<id><suffix>``.

    Args:
        workspace: Where they are.
        episodes: Their ids; of any interface and any kind.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        suffix: How the names of the files end.
        write: Writes one file.
        progress: Wraps the ids, to show how far it is.

    Raises:
        InvalidConfig: There is no episode, or one twice, or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    folder = Path(os.path.abspath(folder))
    refuse_place(workspace, folder)
    _refuse_selection(episodes)
    reader = EpisodeReader(workspace)
    num_steps, has_films = 0, False
    with new_folder(folder) as place, storing(folder):
        for episode_id in progress(episodes):
            story = read_story(workspace, reader, episode_id)
            with (place / f"{episode_id}{suffix}").open("xb") as file:
                write(file, story)
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
