"""The numbers and images of a foreign LeRobot dataset, an episode at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import DamagedData
from loopwright.store.exchange import lerobot_layout as layout
from loopwright.store.exchange.lerobot_source import (
    Entry,
    Feature,
    FilmPlace,
    Source,
    open_table,
    read_columns,
)

_IMAGES_AT_A_TIME = 16
_INDICES = ("timestamp", "frame_index", "episode_index", "task_index")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The time series of an episode, checked."""

    timestamp_s: np.ndarray
    """float64 ``(T,)``: where the frames lie in the films, from the episode's begin."""
    time_s: np.ndarray
    """float64 ``(T,)``, strictly increasing: the clock of the recording."""
    proprio: np.ndarray
    """float32 ``(T, P)``; P is 0 where the dataset has no state."""
    requested: np.ndarray
    """float32 ``(T, A)``."""
    applied: np.ndarray
    """float32 ``(T, A)``."""
    evidence: np.ndarray
    """float64 ``(T, E)``: the scalars whose names begin with ``next.``."""
    task: int | None

    @property
    def digest(self) -> str:
        """SHA-256 of what was seen and done: two recordings never share it.

        What is *said* of it (the evidence) is not part: a recording that is relabelled stays one.
        """
        hasher = hashlib.sha256()
        for values in (self.time_s, self.proprio, self.requested, self.applied):
            hasher.update(repr(values.shape).encode())
            hasher.update(np.ascontiguousarray(values).tobytes())
        return hasher.hexdigest()


class RowReader:
    """Reads the rows of one episode after another; keeps the data file that it read last."""

    def __init__(self, source: Source) -> None:
        """Read from ``source``."""
        self._source = source
        features = source.features
        self._state = _vector(features.get(layout.STATE))
        self._action = _vector(features.get(layout.ACTION))
        self._requested = _vector(features.get(layout.REQUESTED))
        self.evidence = tuple(
            key
            for key, feature in features.items()
            if key.startswith(layout.EVIDENCE_PREFIX)
            and feature.is_vector
            and feature.shape == (1,)
        )
        """Names of the columns that say what came of a step."""
        self._path: Path | None = None
        self._table = pa.table({})
        self._owners = np.zeros(0, np.int64)

    def read(self, entry: Entry) -> Rows:
        """Return the rows of an episode.

        Raises:
            DamagedData: They are missing or damaged, or not those that ``meta`` announces.
        """
        first = self._open(entry)
        applied = self._values(entry, self._action, first)
        requested = self._values(entry, self._requested, first)
        rows = Rows(
            timestamp_s=self._column(entry, "timestamp", first).astype(np.float64),
            time_s=self._clock(entry, first),
            proprio=self._values(entry, self._state, first).astype(np.float32),
            requested=(requested if self._requested else applied).astype(np.float32),
            applied=applied.astype(np.float32),
            evidence=self._evidence(entry, first),
            task=self._task(entry, first),
        )
        _check(entry, rows, self._column(entry, "frame_index", first))
        return rows

    def first_row(self, entry: Entry) -> int:
        """Return which row of its data file an episode begins with."""
        return self._open(entry)

    def _open(self, entry: Entry) -> int:
        if self._path != entry.data:
            keys = [f.key for f in (self._state, self._action, self._requested) if f]
            wanted = {*keys, *self.evidence, *_INDICES, layout.TIME}
            self._table = read_columns(entry.data, wanted.__contains__)
            self._path = entry.data
            whole = slice(0, self._table.num_rows)
            self._owners = self._numbers("episode_index", 1, whole).reshape(-1)
        mine = np.flatnonzero(self._owners == entry.index)
        if len(mine) != entry.num_steps or not len(mine):
            raise DamagedData(
                f"{entry.data} holds {len(mine)} rows of episode {entry.index}; "
                f"meta announces {entry.num_steps}, and at least one is needed"
            )
        if mine[-1] - mine[0] + 1 != len(mine):
            raise DamagedData(f"{entry.data}: the rows of episode {entry.index} are scattered")
        return int(mine[0])

    def _clock(self, entry: Entry, first: int) -> np.ndarray:
        """Return the recording's clock: exact where rows only say frame number over rate."""
        if layout.TIME in self._table.column_names:
            return self._column(entry, layout.TIME, first).astype(np.float64)
        said_s = self._column(entry, "timestamp", first).astype(np.float64)
        regular_s = np.arange(len(said_s)) / self._source.fps
        near = np.abs(said_s - regular_s).max() <= layout.TOLERANCE_S
        return regular_s if near else said_s

    def _task(self, entry: Entry, first: int) -> int | None:
        if "task_index" not in self._table.column_names:
            return None
        return int(self._column(entry, "task_index", first)[0])

    def _evidence(self, entry: Entry, first: int) -> np.ndarray:
        columns = [self._column(entry, key, first).astype(np.float64) for key in self.evidence]
        return np.stack(columns, -1) if columns else np.zeros((entry.num_steps, 0))

    def _column(self, entry: Entry, key: str, first: int) -> np.ndarray:
        return self._numbers(key, 1, slice(first, first + entry.num_steps)).reshape(-1)

    def _values(self, entry: Entry, feature: Feature | None, first: int) -> np.ndarray:
        if feature is None:
            return np.zeros((entry.num_steps, 0))
        rows = slice(first, first + entry.num_steps)
        return self._numbers(feature.key, feature.shape[0], rows)

    def _numbers(self, key: str, width: int, rows: slice) -> np.ndarray:
        """Return a column of the open file as ``(rows, width)``."""
        if key not in self._table.column_names:
            raise DamagedData(f"{self._path} lacks the column {key!r}, which info.json declares")
        part = self._table[key].slice(rows.start, rows.stop - rows.start)
        flat = pa.chunked_array(part.chunks, part.type).combine_chunks()
        while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type):
            flat = flat.flatten()
        numeric = pa.types.is_integer(flat.type) or pa.types.is_floating(flat.type)
        if not numeric and not pa.types.is_boolean(flat.type):
            raise DamagedData(f"{self._path}: column {key!r} holds {flat.type}, expected numbers")
        if part.null_count or flat.null_count or len(flat) != len(part) * width:
            raise DamagedData(
                f"{self._path}: column {key!r} has {len(flat)} values in {len(part)} rows; "
                f"expected {width} in each"
            )
        return flat.to_numpy(zero_copy_only=False).reshape(-1, width)


def film_frames(
    place: FilmPlace, times_s: np.ndarray, *, size_px: tuple[int, int], fps: float
) -> Iterator[np.ndarray]:
    """Yield the frames of an episode from a film that may hold many, uint8 ``(H, W, 3)``.

    Args:
        place: The film, and where in it the episode begins.
        times_s: When each row was, from the episode's begin.
        size_px: Height and width that the frames must have.
        fps: Frames a second, to tell a neighbouring frame from the wanted one.

    Raises:
        DamagedData: The film is missing, damaged, of another size, or lacks a frame.
    """
    wanted_s, tolerance_s = place.begin_s + times_s, 0.5 / fps
    found = 0
    for time_s, image in _decoded(place.path, float(wanted_s[0]), size_px):
        if time_s < wanted_s[found] - tolerance_s:
            continue
        if time_s > wanted_s[found] + tolerance_s:
            raise DamagedData(
                f"{place.path} has no frame at {wanted_s[found]:.3f} s (row {found}); "
                f"the next one is at {time_s:.3f} s"
            )
        yield image
        found += 1
        if found == len(wanted_s):
            return
    raise DamagedData(
        f"{place.path} ends after {found} of {len(wanted_s)} frames of the episode; "
        "it was probably cut short, download or copy it again"
    )


def table_images(
    path: Path, key: str, rows: slice, size_px: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Yield images that lie as PNG or JPEG in a data file, uint8 ``(H, W, 3)``.

    Raises:
        DamagedData: One is missing, damaged, or of another size.
    """
    with open_table(path) as file:
        groups, row = _groups(file.metadata, rows)
        try:
            for batch in file.iter_batches(
                _IMAGES_AT_A_TIME, row_groups=groups, columns=[key], use_threads=False
            ):
                if key not in batch.schema.names:
                    raise DamagedData(f"{path} lacks the images {key!r}, which info.json declares")
                for value in batch.column(0).to_pylist():
                    if rows.start <= row < rows.stop:
                        yield _picture(path, key, row, value, size_px)
                    row += 1
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedData(f"{path} cannot be read: {error}") from error


def _groups(metadata: pq.FileMetaData, rows: slice) -> tuple[list[int], int]:
    """Return the row groups that hold some rows, and the first row of the first of them."""
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    ends = np.cumsum(sizes)
    begins = ends - sizes
    groups = np.flatnonzero((ends > rows.start) & (begins < rows.stop))
    return groups.tolist(), int(begins[groups[0]])


def _picture(path: Path, key: str, row: int, value: object, size_px: tuple[int, int]) -> np.ndarray:
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        raise DamagedData(
            f"{path}: row {row} of {key!r} holds no image; images outside the table are not read"
        )
    name = f"{path} (row {row} of {key!r})"
    for _, image in _decoded(io.BytesIO(data), 0.0, size_px, name):
        return image
    raise DamagedData(f"{name} holds no image")


def _decoded(
    source: Path | io.BytesIO, begin_s: float, size_px: tuple[int, int], name: str = ""
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield time and image of the frames of a film from a bit before ``begin_s`` on."""
    name = name or str(source)
    if isinstance(source, Path) and not source.is_file():
        raise DamagedData(f"{name} is missing; download or copy the dataset again")
    try:
        with av.open(source if isinstance(source, io.BytesIO) else str(source), "r") as container:
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DamagedData(f"{name} is of a codec that cannot be decoded here")
            stream.thread_count = 1
            _check_size(name, (stream.height, stream.width), size_px)
            if begin_s > 0.0 and stream.time_base:
                container.seek(int(begin_s / stream.time_base), stream=stream, backward=True)
            for frame in container.decode(stream):
                _check_size(name, (frame.height, frame.width), size_px)
                yield float(frame.time or 0.0), frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise DamagedData(f"{name} cannot be decoded: {error}") from error


def _check_size(name: str, found_px: tuple[int, int], wanted_px: Sequence[int]) -> None:
    if found_px != tuple(wanted_px):
        raise DamagedData(
            f"{name} has frames of {found_px[0]}x{found_px[1]} px, "
            f"info.json says {wanted_px[0]}x{wanted_px[1]}"
        )


def _check(entry: Entry, rows: Rows, frame_index: np.ndarray) -> None:
    where = f"{entry.data}, episode {entry.index}"
    if not np.array_equal(frame_index, np.arange(entry.num_steps)):
        raise DamagedData(f"{where}: frame_index does not count 0 to {entry.num_steps - 1}")
    series = {
        layout.STATE: rows.proprio,
        layout.ACTION: rows.applied,
        layout.REQUESTED: rows.requested,
        "timestamp": rows.timestamp_s,
        layout.TIME: rows.time_s,
    }
    for key, values in series.items():
        finite = np.isfinite(values).reshape(entry.num_steps, -1).all(1)
        if not finite.all():
            raise DamagedData(f"{where}: {key} is not finite in row {int(np.argmin(finite))}")
    for key in ("timestamp", layout.TIME):
        if (np.diff(series[key]) <= 0).any():
            row = int(np.argmax(np.diff(series[key]) <= 0))
            raise DamagedData(f"{where}: {key} does not increase after row {row}")


def _vector(feature: Feature | None) -> Feature | None:
    return feature if feature is not None and feature.is_vector else None
