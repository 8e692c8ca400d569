"""Episodes as a LeRobotDataset v3.0 that any LeRobot loader reads.

Films are hard links to the episodes' own files (copies where the disk cannot link), a file an
episode; the numbers of many episodes share a data file. Everything under ``meta`` is computed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.episode import Episode, EpisodeHeader, Verdict
from loopwright.core.errors import InvalidConfig
from loopwright.core.interface import Interface, VectorSpec
from loopwright.store.durable import storing, sync
from loopwright.store.episode_files import TABLE, DamagedEpisode, film_name
from loopwright.store.exchange import Exported
from loopwright.store.exchange import lerobot_layout as layout
from loopwright.store.exchange.lerobot_stats import (
    QUANTILES,
    Stats,
    image_stats,
    merged,
    series_stats,
)
from loopwright.store.exchange.new_folder import new_folder, refuse_occupied
from loopwright.store.reading import EpisodeReader
from loopwright.store.table import read_table
from loopwright.store.workspace import Workspace

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_SAME_CLOCK_S = 1e-6
_EPISODES_PER_ROW_GROUP = 256
_ORIGIN = ("loopwright/episode", "loopwright/scenario", "loopwright/seed")


def export_lerobot(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    link: bool = True,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Exported:
    """Write episodes as a LeRobotDataset v3.0.

    Args:
        workspace: Where they are.
        episodes: Their ids, in the order that they get in the dataset. All of one interface.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        link: Hard-link the films where the disk allows. They are then the episodes' own bytes:
            whoever edits one in place damages its episode (and the reader says so). False copies.
        progress: Wraps the ids, to show how far it is.

    Returns:
        What was written; the notes say what LeRobot has no place for.

    Raises:
        InvalidConfig: The episodes cannot be one dataset (different interfaces, a video without
            actions, none at all), or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    folder = Path(os.path.abspath(folder))
    _refuse_place(workspace, folder)
    reader = EpisodeReader(workspace)
    plan = _plan(workspace, reader, episodes)
    with new_folder(folder) as place, storing(folder), _Writer(place, plan) as writer:
        for episode_id in progress(episodes):
            writer.add(reader.read(episode_id), episode_id)
            source = workspace.episodes_folder / episode_id
            for camera in plan.interface.cameras:
                _place_film(source / film_name(camera.name), writer.film(camera.name), link)
        writer.finish()
    return Exported(
        folder=folder, episodes=len(episodes), steps=writer.num_rows, notes=plan.notes()
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """What all episodes have in common, decided before the first byte is written."""

    headers: Mapping[str, EpisodeHeader]
    verdicts: Mapping[str, Verdict]
    has_requests: bool
    """Some episode's requested actions are not the applied ones."""
    has_clock: bool
    """Some episode's times are not its frame numbers divided by the rate."""

    @property
    def interface(self) -> Interface:
        return next(iter(self.headers.values())).interface

    @property
    def fps(self) -> int | float:
        rate = _film_rate(self.interface)
        return int(rate) if rate.denominator == 1 else float(rate)

    @property
    def unjudged(self) -> int:
        return sum(self.success(episode) is None for episode in self.headers)

    def success(self, episode_id: str) -> bool | None:
        """Tell whether the verdict that counts says success; None if it says neither."""
        verdict = self.verdicts.get(episode_id)
        return {"success": True, "failure": False}.get(verdict.outcome) if verdict else None

    def features(self) -> dict[str, dict[str, Any]]:
        """Return the features of the dataset, as ``info.json`` lists them."""
        interface, found = self.interface, {}
        for camera in interface.cameras:
            found[layout.IMAGES + camera.name] = _film_feature(
                camera.height_px, camera.width_px, self.fps
            )
        vectors = {layout.STATE: interface.proprio, layout.ACTION: interface.action}
        if self.has_requests:
            vectors[layout.REQUESTED] = interface.action
        found |= {key: _vector_feature(spec) for key, spec in vectors.items() if spec.size}
        if self.has_clock:
            found[layout.TIME] = _number("float64")
        if not self.unjudged:
            found[layout.SUCCESS] = _number("bool")
        found[layout.DONE] = _number("bool")
        found["timestamp"] = _number("float32")
        for key in ("frame_index", "episode_index", "index", "task_index"):
            found[key] = _number("int64")
        return found

    def notes(self) -> tuple[str, ...]:
        """Return what LeRobot has no place for, one sentence each."""
        headers = self.headers.values()
        has_evidence = any(header.evidence for header in headers)
        censored = sum(header.censored is not None for header in headers)
        said = {
            "what verifiers looked at (evidence) is not exported, their verdict is": has_evidence,
            f"{self.unjudged} of {len(headers)} episodes have no verdict of success or failure, "
            f"so there is no {layout.SUCCESS} column (LeRobot knows no 'unknown'); "
            "'success' in meta/episodes is null for them": bool(self.unjudged),
            f"the times are not frame number / {self.fps} Hz, as LeRobot demands of 'timestamp'; "
            f"the world's own clock is in {layout.TIME!r}": self.has_clock,
            f"{censored} episodes end early; {layout.DONE} stays false in them": bool(censored),
        }
        return tuple(sentence for sentence, holds in said.items() if holds)


class _Writer(AbstractContextManager["_Writer"]):
    """Writes one episode after the other; only their tasks are kept in memory."""

    def __init__(self, place: Path, plan: _Plan) -> None:
        self.num_rows = 0
        self._place, self._plan = place, plan
        self._features = plan.features()
        self._tasks: dict[str, int] = {}
        self._total: dict[str, Stats] = {}
        self._number = -1
        self._data = _TableFile(place, _row_schema(self._features))
        self._episodes = _TableFile(place, _episode_schema(self._features))
        self._pending: list[dict[str, Any]] = []
        self._data_number = 0
        self._episodes.begin(layout.EPISODES / "chunk-000/file-000.parquet")
        self._data.begin(layout.data_path(0))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.close()
        self._episodes.close()

    def add(self, episode: Episode, episode_id: str) -> None:
        """Write the rows of the next episode and what ``meta`` says about it."""
        self._number += 1
        if self._data.size_bytes > layout.DATA_FILE_MB << 20:
            self._data_number += 1
            self._data.begin(layout.data_path(self._data_number))
        columns = self._columns(episode, episode_id)
        self._data.write(_row_table(columns, self._data.schema))
        stats = self._stats(episode, columns)
        for key, part in stats.items():
            self._total[key] = merged([self._total[key], part]) if key in self._total else part
        self._pending.append(self._description(episode, episode_id, stats))
        if len(self._pending) == _EPISODES_PER_ROW_GROUP:
            self._write_pending()
        self.num_rows += episode.num_steps

    def film(self, camera: str) -> Path:
        """Return the place of a camera's film of the episode that was added last."""
        return self._place / layout.film_path(layout.IMAGES + camera, self._number)

    def finish(self) -> None:
        """Write what is known once every episode is there, and sync all of it."""
        self._write_pending()
        self._episodes.close()
        self._data.close()
        _write_tasks(self._place / layout.TASKS, list(self._tasks))
        listed = {
            key: {name: values.tolist() for name, values in stats.items()}
            for key, stats in self._total.items()
        }
        _write_json(self._place / layout.STATS, listed)
        _write_json(self._place / layout.EXTRAS, self._extras())
        _write_json(self._place / layout.INFO, self._info())
        for parent, _, _ in os.walk(self._place):
            sync(Path(parent))

    def _columns(self, episode: Episode, episode_id: str) -> dict[str, np.ndarray]:
        num, header = episode.num_steps, self._plan.headers[episode_id]
        task = self._tasks.setdefault(header.instruction, len(self._tasks))
        frame = np.arange(num)
        last = (frame == num - 1) & (header.censored is None)
        known = {
            layout.STATE: episode.proprio,
            layout.ACTION: episode.applied,
            layout.REQUESTED: episode.requested,
            layout.TIME: episode.time_s,
            layout.SUCCESS: last & bool(self._plan.success(episode_id)),
            layout.DONE: last,
            "timestamp": (frame / float(_film_rate(header.interface))).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(num, self._number),
            "index": self.num_rows + frame,
            "task_index": np.full(num, task),
        }
        return {key: np.asarray(known[key]) for key in self._data.schema.names}

    def _stats(self, episode: Episode, columns: Mapping[str, np.ndarray]) -> dict[str, Stats]:
        stats: dict[str, Stats] = {
            layout.IMAGES + name: image_stats(frames) for name, frames in episode.images.items()
        }
        stats |= {key: series_stats(values) for key, values in columns.items()}
        return stats

    def _description(
        self, episode: Episode, episode_id: str, stats: Mapping[str, Stats]
    ) -> dict[str, Any]:
        header = self._plan.headers[episode_id]
        data_chunk, data_file = layout.chunk_and_file(self._data_number)
        chunk, file = layout.chunk_and_file(self._number)
        row: dict[str, Any] = {
            "episode_index": self._number,
            "tasks": [header.instruction],
            "length": episode.num_steps,
            "data/chunk_index": data_chunk,
            "data/file_index": data_file,
            "dataset_from_index": self.num_rows,
            "dataset_to_index": self.num_rows + episode.num_steps,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            "success": self._plan.success(episode_id),
        }
        row |= dict(zip(_ORIGIN, (episode_id, header.scenario, header.seed), strict=True))
        for camera in header.interface.cameras:
            film = f"videos/{layout.IMAGES}{camera.name}"
            row[f"{film}/chunk_index"], row[f"{film}/file_index"] = chunk, file
            row[f"{film}/from_timestamp"] = 0.0
            row[f"{film}/to_timestamp"] = episode.num_steps / float(_film_rate(header.interface))
        for key, part in stats.items():
            row |= {f"stats/{key}/{name}": values.tolist() for name, values in part.items()}
        return row

    def _write_pending(self) -> None:
        if self._pending:
            self._episodes.write(pa.Table.from_pylist(self._pending, schema=self._episodes.schema))
            self._pending.clear()

    def _info(self) -> dict[str, Any]:
        bodies = {header.body for header in self._plan.headers.values()}
        count = self._number + 1
        return {
            "codebase_version": layout.V3,
            "robot_type": bodies.pop() if len(bodies) == 1 else None,
            "total_episodes": count,
            "total_frames": self.num_rows,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_MB,
            "video_files_size_in_mb": layout.FILM_FILE_MB,
            "fps": self._plan.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": layout.DATA_TEMPLATE,
            "video_path": layout.FILM_TEMPLATE if self._plan.interface.cameras else None,
            "features": self._features,
        }

    def _extras(self) -> dict[str, Any]:
        """Return what an import of Loopwright reads back: the interface with units and ranges."""
        return {"schema_version": 1, "interface": self._plan.interface.to_json()}


class _TableFile:
    """A Parquet file that is written piece by piece."""

    def __init__(self, place: Path, schema: pa.Schema) -> None:
        self.schema, self.size_bytes = schema, 0
        self._place = place
        self._file: Any = None
        self._writer: pq.ParquetWriter | None = None

    def begin(self, path: Path) -> None:
        """End the file that is open, if one is, and begin another."""
        self.close()
        target = self._place / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._file = target.open("wb")
        self._writer, self.size_bytes = pq.ParquetWriter(self._file, self.schema), 0

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        assert self._writer is not None
        self._writer.write_table(table)
        self.size_bytes += table.nbytes

    def close(self) -> None:
        """End the file and sync it; idempotent."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def _refuse_place(workspace: Workspace, folder: Path) -> None:
    refuse_occupied(folder)
    root = workspace.root
    if folder.is_relative_to(root) and not folder.is_relative_to(root / "views"):
        raise InvalidConfig(
            f"{folder} lies inside the workspace {root}, where only {root / 'views'} is free for "
            "exports; choose a folder there or elsewhere"
        )


def _plan(workspace: Workspace, reader: EpisodeReader, episodes: Sequence[str]) -> _Plan:
    if not episodes:
        raise InvalidConfig("there is no episode to export; expected at least one id")
    if twice := {name for name in episodes if episodes.count(name) > 1}:
        raise InvalidConfig(f"each episode is exported once, but {sorted(twice)} come again")
    headers = {episode_id: reader.header(episode_id) for episode_id in episodes}
    _refuse_videos(headers)
    _refuse_mixture(headers)
    requests, clocks = False, False
    for episode_id, header in headers.items():
        rows = _rows(workspace, episode_id, header)
        regular_s = np.arange(len(rows["time_s"])) / float(_film_rate(header.interface))
        requests |= not np.array_equal(rows["requested"], rows["applied"], equal_nan=True)
        clocks |= bool(np.abs(rows["time_s"] - regular_s).max(initial=0.0) > _SAME_CLOCK_S)
    return _Plan(
        headers=headers,
        verdicts=workspace.ledger.standing_verdicts(episodes),
        has_requests=requests,
        has_clock=clocks,
    )


def _rows(workspace: Workspace, episode_id: str, header: EpisodeHeader) -> Mapping[str, np.ndarray]:
    """Return the table of an episode; its digest is checked later, when it is written."""
    path = workspace.episodes_folder / episode_id / TABLE
    if not path.exists():
        raise DamagedEpisode(episode_id, f"{path} is missing")
    return read_table(path.read_bytes(), header, str(path))


def _refuse_videos(headers: Mapping[str, EpisodeHeader]) -> None:
    videos = [name for name, header in headers.items() if header.kind == "video"]
    if videos:
        raise InvalidConfig(
            f"{len(videos)} of {len(headers)} episodes are videos ({_some(videos)}): they have "
            "images only, and a LeRobot dataset without actions trains nothing; "
            "export a snapshot without them"
        )


def _refuse_mixture(headers: Mapping[str, EpisodeHeader]) -> None:
    first, *others = headers
    wanted = headers[first].interface.to_json()
    differing = {}
    for name in others:
        found = headers[name].interface.to_json()
        if parts := [part for part in wanted if found[part] != wanted[part]]:
            differing[name] = f"{name} (its {' and '.join(parts)})"
    if differing:
        raise InvalidConfig(
            f"{len(differing)} of {len(headers)} episodes have another interface than {first}: "
            f"{_some(list(differing.values()))}; a LeRobot dataset has one set of features, "
            "so export those of one interface at a time"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _film_rate(interface: Interface) -> Fraction:
    """Return the rate that the films have: the nearest one that their format can say."""
    return Fraction(interface.rate_hz).limit_denominator(1001)


def _place_film(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
        else:
            return
    shutil.copyfile(source, target)
    sync(target)


def _film_feature(height_px: int, width_px: int, fps: float) -> dict[str, Any]:
    return {
        "dtype": "video",
        "shape": [height_px, width_px, 3],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height_px,
            "video.width": width_px,
            "video.codec": "h264",
            "video.pix_fmt": "yuv444p",
            "video.is_depth_map": False,
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
        },
    }


def _vector_feature(spec: VectorSpec) -> dict[str, Any]:
    return {"dtype": "float32", "shape": [spec.size], "names": list(spec.names)}


def _number(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}


def _row_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of a data file; a feature of one number is a plain column."""
    scalars = {
        "float32": pa.float32(),
        "float64": pa.float64(),
        "int64": pa.int64(),
        "bool": pa.bool_(),
    }
    fields = []
    for key, feature in features.items():
        if feature["dtype"] == "video":
            continue
        (size,), scalar = feature["shape"], scalars[feature["dtype"]]
        fields.append(pa.field(key, scalar if size == 1 else pa.list_(scalar, size)))
    return pa.schema(fields)


def _row_table(columns: Mapping[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    arrays = []
    for field in schema:
        values = np.ascontiguousarray(columns[field.name]).reshape(-1)
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(values, field.type.value_type)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)


def _episode_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """Return the columns of ``meta/episodes``."""
    whole, number = pa.int64(), pa.float64()
    fields: list[tuple[str, pa.DataType]] = [
        ("episode_index", whole),
        ("tasks", pa.list_(pa.string())),
        ("length", whole),
        ("data/chunk_index", whole),
        ("data/file_index", whole),
        ("dataset_from_index", whole),
        ("dataset_to_index", whole),
    ]
    films = [key for key, feature in features.items() if feature["dtype"] == "video"]
    for key in films:
        fields += [(f"videos/{key}/{part}_index", whole) for part in ("chunk", "file")]
        fields += [(f"videos/{key}/{part}_timestamp", number) for part in ("from", "to")]
    for key in features:
        values = pa.list_(pa.list_(pa.list_(number))) if key in films else pa.list_(number)
        fields += [(f"stats/{key}/{n}", values) for n in ("min", "max", "mean", "std", *QUANTILES)]
        fields.append((f"stats/{key}/count", pa.list_(whole)))
    fields += [(f"meta/episodes/{part}_index", whole) for part in ("chunk", "file")]
    fields.append(("success", pa.bool_()))
    fields += zip(_ORIGIN, (pa.string(), pa.string(), whole), strict=True)
    return pa.schema(fields)


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """Write the tasks as pandas would write a frame whose index is their text."""
    index = "__index_level_0__"
    described = {
        "index_columns": [index],
        "column_indexes": [
            {
                "name": None,
                "field_name": None,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": {"encoding": "UTF-8"},
            }
        ],
        "columns": [
            {
                "name": "task_index",
                "field_name": "task_index",
                "pandas_type": "int64",
                "numpy_type": "int64",
                "metadata": None,
            },
            {
                "name": None,
                "field_name": index,
                "pandas_type": "unicode",
                "numpy_type": "object",
                "metadata": None,
            },
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())}
    ).replace_schema_metadata({b"pandas": json.dumps(described).encode()})
    with path.open("wb") as file:
        pq.write_table(table, file)
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, data: object) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=4, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
