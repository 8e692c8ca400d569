"""LeRobot datasets on disk: the names that versions 2.x and 3.0 agree on, and where files lie."""

from __future__ import annotations

from pathlib import Path

V3 = "v3.0"
V2 = ("v2.0", "v2.1")

INFO = Path("meta/info.json")
STATS = Path("meta/stats.json")
TASKS = Path("meta/tasks.parquet")
EPISODES = Path("meta/episodes")
EXTRAS = Path("meta/loopwright.json")
"""What LeRobot has no place for (units, ranges, origins). LeRobot does not look at it."""
TASKS_V2 = Path("meta/tasks.jsonl")
EPISODES_V2 = Path("meta/episodes.jsonl")

FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
FILM_FILE_MB = 200
DATA_TEMPLATE = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
FILM_TEMPLATE = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

STATE = "observation.state"
ACTION = "action"
REQUESTED = "action.requested"
IMAGES = "observation.images."
SUCCESS = "next.success"
DONE = "next.done"
EVIDENCE_PREFIX = "next."
TIME = "time_s"
"""The world's own clock, float64; written only where it is not ``frame_index / fps``."""

TOLERANCE_S = 1e-4
"""How far LeRobot lets a row's timestamp lie from its frame."""


def chunk_and_file(number: int) -> tuple[int, int]:
    """Return the chunk and the place in it of the file with a running number."""
    return number // FILES_PER_CHUNK, number % FILES_PER_CHUNK


def data_path(number: int) -> Path:
    """Return the place of data file ``number``, relative to the dataset."""
    chunk, file = chunk_and_file(number)
    return Path(DATA_TEMPLATE.format(chunk_index=chunk, file_index=file))


def film_path(key: str, number: int) -> Path:
    """Return the place of film ``number`` of a camera's feature, relative to the dataset."""
    chunk, file = chunk_and_file(number)
    return Path(FILM_TEMPLATE.format(video_key=key, chunk_index=chunk, file_index=file))
