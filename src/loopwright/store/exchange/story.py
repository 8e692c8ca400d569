"""All there is to tell of an episode to someone who looks at it along a time line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.errors import DamagedData
from loopwright.store.episode_files import DamagedEpisode, Description, film_name
from loopwright.store.exchange.annex_b import annex_b_packets
from loopwright.store.reading import EpisodeReader, Undecoded
from loopwright.store.workspace import Workspace

NS_PER_S = 10**9

_RECORDED_AT = "%Y-%m-%dT%H:%M:%SZ"
_LONGEST_S = 1e9
"""Times beyond it (thirty years) are no times of an episode, and would not fit in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeStory:
    """What an export tells of an episode, read and checked."""

    episode: Undecoded
    packets: Mapping[str, list[bytes]]
    """Camera name to the access unit of each step."""
    begin_ns: int
    """When it was recorded, since 1970."""
    verdicts: Sequence[Verdict]
    standing: Verdict | None
    """The verdict that counts, one of the above."""
    annotations: Sequence[Annotation]

    @property
    def description(self) -> Description:
        """What ``episode.json`` says."""
        return self.episode.description

    @property
    def last_step(self) -> int:
        """Index of the last step."""
        return self.episode.series.num_steps - 1

    def time_ns(self, step: int) -> int:
        """Return when a step was, since 1970; the last one stands for whatever is beyond."""
        times_s = self.episode.series.time_s
        return self.begin_ns + round(float(times_s[min(step, len(times_s) - 1)]) * NS_PER_S)


def read_story(workspace: Workspace, reader: EpisodeReader, episode_id: str) -> EpisodeStory:
    """Return all there is to tell of an episode.

    Raises:
        DamagedEpisode: A file of it is missing or damaged, or says what cannot be.
    """
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
