"""Episodes: recorded, committed, read and put away. The public names of the modules beside it."""

from __future__ import annotations

from loopwright.store.episode_files import (
    DamagedEpisode,
    cause_of,
    is_cut_short,
    quarantine_episode,
)
from loopwright.store.reading import EpisodeReader, read_episode
from loopwright.store.recording import EpisodeWriter, write_episode

__all__ = [
    "DamagedEpisode",
    "EpisodeReader",
    "EpisodeWriter",
    "cause_of",
    "is_cut_short",
    "quarantine_episode",
    "read_episode",
    "write_episode",
]
