"""The films of a LeRobot dataset: as long as the episodes they belong to, and readable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import av

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.doctor.lerobot_meta import (
    FilmPart,
    Promise,
    PromisedEpisode,
    fault,
    inside,
)
from loopwright.store.video import BROKEN, size_px

_LARGEST_SIDE_PX = 16384
_Parts = Sequence[tuple[PromisedEpisode, FilmPart]]


def examine_films(promise: Promise, *, decode: bool) -> Iterator[Finding]:
    """Count the frames of every film; those of packets only, unless ``decode`` is asked for."""
    by_file: dict[str, list[tuple[PromisedEpisode, FilmPart]]] = defaultdict(list)
    for episode in promise.episodes:
        for part in episode.films.values():
            by_file[part.path].append((episode, part))
    for where, parts in by_file.items():
        names = ", ".join(str(episode.index) for episode, _ in parts[:5])
        expected = _expected_frames(promise, parts)
        try:
            frames = _frames(promise, where, decode=decode, most=expected)
        except FileNotFoundError:
            yield fault("film", where, "it is missing", episode=names)
            continue
        except (DamagedData, OSError) as error:
            yield fault("film", where, f"it cannot be read: {error}", episode=names)
            continue
        if frames != expected:
            more = "at least " if frames > expected and decode else ""
            message = (
                f"it has {more}{frames} frames, its {len(parts)} episodes end at frame {expected}"
            )
            yield fault("film-length", where, message, episode=names)
        yield from _places(promise, where, parts)


def _expected_frames(promise: Promise, parts: _Parts) -> int:
    ends = [round((part.end_s or 0.0) * promise.fps) for _, part in parts]
    if parts[0][1].begin_s is not None:
        return max(ends)
    return sum(episode.length for episode, _ in parts)


def _places(promise: Promise, where: str, parts: _Parts) -> Iterator[Finding]:
    """Look whether each episode's place in a shared film is as long as the episode."""
    for episode, part in parts:
        if part.begin_s is None or part.end_s is None:
            continue
        frames = (part.end_s - part.begin_s) * promise.fps
        if abs(frames - episode.length) > 0.5:
            yield fault(
                "film-length",
                where,
                f"episode {episode.index} has {episode.length} rows, but "
                f"{frames:.1f} frames from {part.begin_s:.3f} s to {part.end_s:.3f} s",
                episode=str(episode.index),
            )


def _frames(promise: Promise, where: str, *, decode: bool, most: int) -> int:
    """Return the number of frames; counting stops at one more than there may be."""
    path, count = inside(promise.folder, where), 0
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with path.open("rb") as source, av.open(source, "r", format="mp4") as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            if max(size := size_px(stream)) > _LARGEST_SIDE_PX:
                raise DamagedData(f"its images have {size[0]}x{size[1]} px")
            if not decode:
                return sum(1 for packet in container.demux(stream) if packet.size)
            for _ in container.decode(stream):
                count += 1
                if count > most:
                    break
    except BROKEN as error:
        raise DamagedData(f"after frame {count}: {error}") from error
    return count
