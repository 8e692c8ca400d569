"""What a LeRobot dataset promises: its ``meta`` folder, of version 2.x or 3.0, as plain data.

Everything here was written by others. Sizes are looked at before files are read, and a path that
leads out of the dataset is not followed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding, Severity
from loopwright.store.episode_files import UNREADABLE, read_regular_file

INFO = "meta/info.json"
_MOST_JSON_BYTES = 1 << 30
_MOST_TABLE_BYTES = 4 << 30
_TEMPLATE = re.compile(r"([^{}]|\{[a-z_]{1,20}(:0?[0-9]{1,2}d)?\})*")
_TYPE_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmPart:
    """Where the images of one camera of one episode are."""

    path: str
    begin_s: float | None = None
    """From where in the film; None for a film of its own."""
    end_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PromisedEpisode:
    """What the metadata says about one episode."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: str
    """Data file, relative to the dataset."""
    films: Mapping[str, FilmPart]
    first_row: int | None = None
    """``dataset_from_index``; version 3 only."""
    end_row: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """What the metadata says about a dataset."""

    folder: Path
    version: str
    fps: float
    totals: Mapping[str, int | None]
    """``episodes``, ``frames`` and ``tasks`` as ``info.json`` counts them."""
    features: Mapping[str, Mapping[str, Any]]
    episodes: tuple[PromisedEpisode, ...]
    tasks: Mapping[int, str]
    stats: Mapping[str, Mapping[str, Any]]
    faults: tuple[Finding, ...] = field(default=())
    """What could not be read."""

    @property
    def is_v3(self) -> bool:
        """Whether several episodes may share a file."""
        return self.version.startswith("v3")

    @property
    def film_keys(self) -> list[str]:
        """The features that are films."""
        return [key for key, value in self.features.items() if value.get("dtype") == "video"]


def fault(
    check: str, where: str, message: str, severity: Severity = "damage", episode: str | None = None
) -> Finding:
    """Return a finding about a dataset of others; nothing in it is ever repaired."""
    return Finding(
        check=f"lerobot/{check}", severity=severity, where=where, message=message, episode=episode
    )


def read_promise(folder: Path) -> Promise:
    """Read the metadata.

    Raises:
        DamagedData: ``info.json`` cannot be made sense of, so nothing else can be judged.
    """
    try:
        info = _json(folder, INFO)
        fps, version = float(info["fps"]), str(info["codebase_version"])
        features = {str(key): dict(value) for key, value in info["features"].items()}
        templates = {name: info.get(f"{name}_path") or "" for name in ("data", "video")}
        if not 0 < fps < math.inf:
            raise ValueError(f"fps is {fps}")
        for template in templates.values():
            if not _TEMPLATE.fullmatch(template):
                raise ValueError(f"{template[:80]!r} is no template of a path")
    except (*UNREADABLE, DamagedData) as error:
        raise DamagedData(f"it cannot be read: {error!r}") from error
    reader = _Reader(folder=folder, info=info, features=features, templates=templates)
    read = reader.version_3 if version.startswith("v3") else reader.version_2
    episodes, tasks, stats = read()
    return Promise(
        folder=folder,
        version=version,
        fps=fps,
        totals={
            name: _count(info.get(f"total_{name}")) for name in ("episodes", "frames", "tasks")
        },
        features=features,
        episodes=tuple(sorted(episodes, key=lambda episode: episode.index)),
        tasks=tasks,
        stats=stats,
        faults=tuple(reader.faults),
    )


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of the dataset.

    Raises:
        DamagedData: The name leads out of it.
    """
    path = folder / name
    if Path(name).is_absolute() or not path.resolve().is_relative_to(folder.resolve()):
        raise DamagedData(f"{name[:200]!r} leads out of the dataset; it is not read")
    return path


def open_table(path: Path) -> pq.ParquetFile:
    """Open a Parquet file, refusing one that claims to unpack to more than memory should hold.

    Raises:
        DamagedData: It is no Parquet file, or claims too much.
        OSError: The operating system refused.
    """
    try:
        file = pq.ParquetFile(path)
        meta = file.metadata
        groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
        claimed = sum(max(group.total_byte_size, 0) for group in groups)
        width = sum(_width(kind) for kind in file.schema_arrow.types)
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise DamagedData(f"it is no readable Parquet file: {error}") from error
    if max(claimed, meta.num_rows * width) > _MOST_TABLE_BYTES or meta.num_rows < 0:
        raise DamagedData(
            f"it claims {meta.num_rows} rows, {max(claimed, meta.num_rows * width)} bytes; "
            f"expected {_MOST_TABLE_BYTES} at most"
        )
    return file


def _width(kind: pa.DataType) -> int:
    """Return about how many bytes one value takes."""
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * _width(kind.value_type)
    return _TYPE_BYTES


@dataclass(kw_only=True, slots=True)
class _Reader:
    """Reads the rest of ``meta`` and collects what cannot be read."""

    folder: Path
    info: Mapping[str, Any]
    features: Mapping[str, Mapping[str, Any]]
    templates: Mapping[str, str]
    faults: list[Finding] = field(default_factory=list)

    def version_2(self) -> tuple[list[PromisedEpisode], dict[int, str], dict[str, Any]]:
        episodes = []
        for row in self._lines("meta/episodes.jsonl"):
            with _noted(self.faults, "meta/episodes.jsonl"):
                episodes.append(self._episode_2(row))
        tasks = {}
        for row in self._lines("meta/tasks.jsonl"):
            with _noted(self.faults, "meta/tasks.jsonl"):
                tasks[int(row["task_index"])] = str(row["task"])
        stats: dict[str, Any] = {}
        if (self.folder / "meta/episodes_stats.jsonl").exists():
            for row in self._lines("meta/episodes_stats.jsonl"):
                with _noted(self.faults, "meta/episodes_stats.jsonl"):
                    stats |= {key: value for key, value in row["stats"].items()}
            stats = {key: {} for key in stats}  # of single episodes: present is all we ask
        else:
            stats = self._stats()
        return episodes, tasks, stats

    def version_3(self) -> tuple[list[PromisedEpisode], dict[int, str], dict[str, Any]]:
        episodes = []
        paths = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        if not paths:
            self.faults.append(
                fault("unreadable", "meta/episodes", "there is no table of episodes")
            )
        for path in paths:
            where = path.relative_to(self.folder).as_posix()
            for row in self._table(where):
                with _noted(self.faults, where):
                    episodes.append(self._episode_3(row))
        tasks = {}
        for row in self._table("meta/tasks.parquet"):
            with _noted(self.faults, "meta/tasks.parquet"):
                texts = [value for value in row.values() if isinstance(value, str)]
                tasks[int(row["task_index"])] = texts[0]
        return episodes, tasks, self._stats()

    def _episode_2(self, row: Mapping[str, Any]) -> PromisedEpisode:
        index = int(row["episode_index"])
        chunk = index // max(1, int(self.info.get("chunks_size") or 1000))
        names = {"episode_chunk": chunk, "episode_index": index}
        films = {
            key: FilmPart(path=self.templates["video"].format(video_key=key, **names))
            for key in self._film_keys()
        }
        return PromisedEpisode(
            index=index,
            length=int(row["length"]),
            tasks=tuple(map(str, row.get("tasks") or ())),
            data=self.templates["data"].format(**names),
            films=films,
        )

    def _episode_3(self, row: Mapping[str, Any]) -> PromisedEpisode:
        def place(prefix: str) -> dict[str, int]:
            return {
                "chunk_index": int(row[f"{prefix}/chunk_index"]),
                "file_index": int(row[f"{prefix}/file_index"]),
            }

        films = {
            key: FilmPart(
                path=self.templates["video"].format(video_key=key, **place(f"videos/{key}")),
                begin_s=float(row[f"videos/{key}/from_timestamp"]),
                end_s=float(row[f"videos/{key}/to_timestamp"]),
            )
            for key in self._film_keys()
        }
        return PromisedEpisode(
            index=int(row["episode_index"]),
            length=int(row["length"]),
            tasks=tuple(map(str, row.get("tasks") or ())),
            data=self.templates["data"].format(**place("data")),
            films=films,
            first_row=int(row["dataset_from_index"]),
            end_row=int(row["dataset_to_index"]),
        )

    def _film_keys(self) -> list[str]:
        return [key for key, value in self.features.items() if value.get("dtype") == "video"]

    def _stats(self) -> dict[str, Any]:
        with _noted(self.faults, "meta/stats.json"):
            return {str(k): dict(v) for k, v in _json(self.folder, "meta/stats.json").items()}
        return {}

    def _lines(self, where: str) -> Iterator[Mapping[str, Any]]:
        with _noted(self.faults, where):
            data = read_regular_file(inside(self.folder, where), most_bytes=_MOST_JSON_BYTES)
            for line in data.splitlines():
                if line.strip():
                    yield json.loads(line)

    def _table(self, where: str) -> list[dict[str, Any]]:
        """Return the rows of a table of metadata, without the statistics of every episode."""
        with _noted(self.faults, where):
            file = open_table(inside(self.folder, where))
            names = [n for n in file.schema_arrow.names if not n.startswith("stats/")]
            return file.read(columns=names, use_threads=False).to_pylist()
        return []


class _noted:  # noqa: N801 - read like a statement
    """Turn an error inside the block into a finding, and go on after it."""

    def __init__(self, faults: list[Finding], where: str) -> None:
        self._faults, self._where = faults, where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> bool:
        if not isinstance(error, (*UNREADABLE, DamagedData, pa.ArrowException, MemoryError)):
            return False
        said = "it is missing" if isinstance(error, FileNotFoundError) else None
        if isinstance(error, DamagedData):
            said = str(error)
        message = said or f"it cannot be read: {error!r}"
        self._faults.append(fault("unreadable", self._where, message))
        return True


def _json(folder: Path, where: str) -> Any:
    return json.loads(read_regular_file(inside(folder, where), most_bytes=_MOST_JSON_BYTES))


def _count(value: object) -> int | None:
    return value if type(value) is int else None
