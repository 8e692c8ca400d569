"""The data files of a LeRobot dataset: rows, indices, timestamps, numbers, statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.doctor.lerobot_meta import (
    Promise,
    PromisedEpisode,
    fault,
    inside,
    open_table,
)

_INDICES = ("index", "episode_index", "frame_index", "task_index")
_TIMESTAMP = "timestamp"
_SLACK_S = 1e-4
"""LeRobot's own tolerance between a row and its frame."""
_STATS_SLACK = 1e-3
"""Share of its range by which a value may lie outside what the statistics say."""


def examine_data(promise: Promise) -> Iterator[Finding]:
    """Look at every data file; where two checks see one fault, the more telling one speaks."""
    by_file: dict[str, list[PromisedEpisode]] = defaultdict(list)
    for episode in promise.episodes:
        by_file[episode.data].append(episode)
    first_row = 0
    for where, episodes in by_file.items():
        try:
            columns = _columns(promise, where)
        except FileNotFoundError:
            yield fault("file", where, "it is missing", episode=_names(episodes))
            continue
        except (DamagedData, OSError) as error:
            yield fault("file", where, f"it cannot be read: {error}", episode=_names(episodes))
            continue
        yield from _rows(where, columns, episodes, first_row)
        for name, values in columns.items():
            yield from _numbers(promise, where, name, values)
        yield from _times(promise, where, columns)
        yield from _tasks(promise, where, columns)
        first_row += len(next(iter(columns.values()), ()))
    if promise.totals["frames"] not in (None, first_row):
        yield fault(
            "total",
            "meta/info.json",
            f"total_frames is {promise.totals['frames']}, the data files have {first_row} rows",
        )


def examine_stats(promise: Promise) -> Iterator[Finding]:
    """Look whether there are statistics of every feature."""
    for key, feature in promise.features.items():
        if feature.get("dtype") not in ("string", "language") and key not in promise.stats:
            yield fault("stats", "meta/stats.json", f"it has no statistics of {key!r}", "suspicion")
    for key, stats in promise.stats.items():
        for name, value in stats.items():
            if (numbers := _flat(value)) is None or not np.isfinite(numbers).all():
                yield fault("stats", "meta/stats.json", f"{name} of {key!r} is no finite number")


def _columns(promise: Promise, where: str) -> dict[str, np.ndarray]:
    """Return the numeric columns as ``(rows, width)``; images inside a table are not unpacked."""
    file = open_table(inside(promise.folder, where))
    schema = file.schema_arrow
    if missing := [n for n in (*_INDICES, _TIMESTAMP) if n not in schema.names]:
        raise DamagedData(f"it lacks the columns {missing}")
    names = [name for name in schema.names if _is_numeric(schema.field(name).type)]
    try:
        table = file.read(columns=names, use_threads=False)
        return {name: _matrix(table, name) for name in names}
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise DamagedData(str(error)) from error


def _is_numeric(kind: pa.DataType) -> bool:
    while pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    values = table.column(name).combine_chunks()
    while pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        values = values.flatten()
    if values.null_count:
        values = values.cast(pa.float64())
    flat = values.to_numpy(zero_copy_only=False)
    if not table.num_rows or flat.size % table.num_rows:
        raise DamagedData(f"column {name!r} has {flat.size} values in {table.num_rows} rows")
    return flat.reshape(table.num_rows, -1)


def _rows(
    where: str,
    columns: Mapping[str, np.ndarray],
    episodes: Sequence[PromisedEpisode],
    first_row: int,
) -> Iterator[Finding]:
    index, number, frame = (columns[name][:, 0] for name in _INDICES[:3])
    if not np.array_equal(index, np.arange(first_row, first_row + len(index))):
        yield fault("index", where, f"column 'index' does not count on from {first_row} by one")
    for episode in episodes:
        rows = np.flatnonzero(number == episode.index)
        name = f"episode {episode.index}"
        if len(rows) != episode.length:
            message = f"{name} has {len(rows)} rows, the metadata says {episode.length}"
            yield fault("length", where, message, episode=str(episode.index))
        elif len(rows) and (rows[-1] - rows[0] != len(rows) - 1):
            yield fault("index", where, f"the rows of {name} lie apart", episode=str(episode.index))
        elif not np.array_equal(frame[rows], np.arange(len(rows))):
            message = f"'frame_index' of {name} does not count from 0 by one"
            yield fault("index", where, message, episode=str(episode.index))
        elif episode.first_row is not None and episode.first_row != first_row + rows[0]:
            message = (
                f"{name} begins at row {first_row + rows[0]}, "
                f"the metadata says {episode.first_row}: LeRobot would read another one"
            )
            yield fault("index", where, message, episode=str(episode.index))
    if strangers := sorted(set(number.tolist()) - {episode.index for episode in episodes}):
        yield fault("index", where, f"it has rows of the episodes {strangers[:5]}, unknown here")


def _times(promise: Promise, where: str, columns: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    expected = columns["frame_index"][:, 0] / promise.fps
    apart_s = np.abs(columns[_TIMESTAMP][:, 0].astype(float) - expected)
    slack_s = np.maximum(_SLACK_S, np.abs(expected) * np.finfo(np.float32).eps)
    if bad := np.flatnonzero(~(apart_s <= slack_s)).tolist():
        row = bad[0]
        episode = int(columns["episode_index"][row, 0])
        yield fault(
            "timestamp",
            where,
            f"{len(bad)} timestamps are not frame_index / {promise.fps:g}: first in row {row} "
            f"(episode {episode}), {apart_s[row]:.6f} s apart",
            "suspicion",
            str(episode),
        )


def _numbers(promise: Promise, where: str, name: str, values: np.ndarray) -> Iterator[Finding]:
    if values.dtype.kind == "f" and (
        bad := np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist()
    ):
        message = f"{name!r} is NaN or infinite in {len(bad)} rows, first in row {bad[0]}"
        yield fault("not-finite", where, message, "suspicion")
        return
    stats: Mapping[str, Any] = promise.stats.get(name, {})
    low, high = _flat(stats.get("min")), _flat(stats.get("max"))
    if low is None or high is None or len(low) != values.shape[1] or len(high) != len(low):
        return
    slack = _STATS_SLACK * np.maximum(high - low, 1e-6) + 1e-6 * np.maximum(abs(low), abs(high))
    outside = ((values < low - slack) | (values > high + slack)).any(axis=1)
    if rows := np.flatnonzero(outside).tolist():
        message = (
            f"{name!r} leaves the statistics of meta/stats.json in {len(rows)} rows, "
            f"first in row {rows[0]}: whoever normalises by them gets wrong numbers"
        )
        yield fault("stats", where, message, "suspicion")


def _tasks(promise: Promise, where: str, columns: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    used = np.unique(columns["task_index"]).tolist()
    if missing := [index for index in used if index not in promise.tasks]:
        yield fault("task", where, f"it names the tasks {missing[:5]}, which have no text")


def _flat(value: object) -> np.ndarray | None:
    """Return numbers of any nesting as a row; None if they are none."""
    try:
        return np.asarray(value, dtype=float).reshape(-1)
    except (ValueError, TypeError):
        return None


def _names(episodes: Sequence[PromisedEpisode]) -> str:
    return ", ".join(str(episode.index) for episode in episodes[:5])
