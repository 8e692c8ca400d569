"""What the ``meta`` folder of a foreign LeRobot dataset says, read with suspicion.

Nothing here believes a number before it is checked: templates may not leave the folder, tables may
not unfold to more than a machine can hold, sizes and names are bounded.
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.store.exchange import lerobot_layout as layout

MAX_JSON_BYTES = 256 << 20
MAX_COUNT = 100_000_000
MAX_ROWS = 100_000_000
MAX_TABLE_BYTES = 2 << 30
MAX_RATE_HZ = 10_000
MAX_FEATURES = 1_000
MAX_SIDE_PX = 8192
MAX_VECTOR = 4096

_NUMBERS = (
    "float16",
    "float32",
    "float64",
    "bool",
    *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64)),
)
_ROWS_AT_A_TIME = 65_536
_TASK_COLUMNS = ("task_index", "task", "__index_level_0__")
_PLACEHOLDERS = {"chunk_index", "file_index", "video_key", "episode_chunk", "episode_index"}
_SPEC = re.compile(r"(0?[1-9])?d?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """A feature as ``info.json`` declares it, checked."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    """Names of a vector's components, one each; of an image's axes otherwise."""

    @property
    def is_camera(self) -> bool:
        """Tell whether it holds images."""
        return self.dtype in ("video", "image")

    @property
    def is_vector(self) -> bool:
        """Tell whether it is one row of numbers a step."""
        return self.dtype in _NUMBERS and len(self.shape) == 1

    @property
    def image_size_px(self) -> tuple[int, int]:
        """Height and width of a camera's images; they may be declared channels first."""
        if self.names[:1] in (("channels",), ("channel",)) or (
            self.shape[-1] not in (1, 3, 4) and self.shape[0] in (1, 3, 4)
        ):
            return self.shape[1], self.shape[2]
        return self.shape[0], self.shape[1]

    @property
    def channels(self) -> int:
        """Number of values a pixel."""
        height, width = self.image_size_px
        return self.shape[2] if (height, width) == self.shape[:2] else self.shape[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmPlace:
    """Where an episode's frames of one camera lie."""

    path: Path
    begin_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An episode as ``meta`` lists it."""

    index: int
    num_steps: int
    tasks: tuple[str, ...]
    data: Path
    films: Mapping[str, FilmPlace]
    success: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """What ``meta`` says about a dataset."""

    folder: Path
    version: str
    fps: float
    body: str
    features: Mapping[str, Feature]
    tasks: Mapping[int, str]
    entries: tuple[Entry, ...]
    extras: Mapping[str, Any]
    """What an export of Loopwright left for us; empty for other datasets."""
    damaged: tuple[tuple[int | None, str], ...]
    """Episodes (or None for a file that lists several) that ``meta`` cannot describe, and why."""


def open_source(folder: Path) -> Source:
    """Read what ``meta`` says about a dataset.

    Raises:
        InvalidConfig: It is no LeRobot dataset of a version that is read here.
        DamagedData: Its ``meta`` folder is incomplete, damaged, or impossible.
    """
    info = _info(folder)
    version = info["codebase_version"]
    try:
        features = _features(info["features"])
        fps = _number(info["fps"], "fps", most=MAX_RATE_HZ)
        tasks = _tasks_v3(folder) if version == layout.V3 else _tasks_v2(folder)
        places = _Places(folder, info, [f for f in features.values() if f.dtype == "video"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedData(
            f"{folder / layout.INFO} cannot be used: {error!r}; expected the info.json that "
            "LeRobot writes"
        ) from error
    listed = _rows_v3(folder) if version == layout.V3 else _rows_v2(folder)
    entries: dict[int, Entry] = {}
    damaged: list[tuple[int | None, str]] = []
    for row in listed:
        if isinstance(row, DamagedData):
            damaged.append((None, str(row)))
            continue
        index = row.get("episode_index")
        try:
            entry = places.entry(row)
            if entry.index in entries:
                raise ValueError("it is listed twice")
            entries[entry.index] = entry
        except (KeyError, TypeError, ValueError, DamagedData) as error:
            known = index if isinstance(index, int) else None
            damaged.append((known, f"meta describes episode {index!r} wrongly: {error}"))
    return Source(
        folder=folder,
        version=version,
        fps=fps,
        body=str(info.get("robot_type") or "robot")[:200],
        features=features,
        tasks=tasks,
        entries=tuple(entries[index] for index in sorted(entries)),
        extras=_extras(folder),
        damaged=tuple(damaged),
    )


def inside(folder: Path, relative: str | Path) -> Path:
    """Return a path below ``folder``.

    Raises:
        DamagedData: It leaves the folder, by its text or by a symbolic link.
    """
    root = folder.resolve()
    try:
        path = (root / relative).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DamagedData(f"{str(relative)[:200]!r} is no usable path: {error}") from error
    if not path.is_relative_to(root) or path == root:
        raise DamagedData(
            f"the dataset refers to {str(relative)[:200]!r}, which leads out of {root}; only files "
            "inside the dataset are read (if its files are links, copy it with 'cp -rL' first)"
        )
    return path


def open_table(path: Path) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        DamagedData: It is missing, or no Parquet file.
    """
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise DamagedData(f"{path} is missing; download or copy the dataset again") from error
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: names that are no text
        raise DamagedData(
            f"{path} is no readable Parquet file ({error}); it was probably cut short, "
            "download or copy it again"
        ) from error


def read_columns(path: Path, wanted: Callable[[str], bool]) -> pa.Table:
    """Read those columns of a Parquet file whose names are wanted.

    Raises:
        DamagedData: It is missing or damaged, or would unfold to an absurd size.
    """
    with open_table(path) as file:
        try:
            present = [name for name in file.schema_arrow.names if wanted(name)]
            return _read_bounded(path, file, present)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DamagedData(f"{path} cannot be read: {error}") from error


def _read_bounded(path: Path, file: pq.ParquetFile, columns: list[str]) -> pa.Table:
    """Read piece by piece: a file of a few bytes may unfold to billions of equal numbers.

    What the file claims of each column is not asked for: Arrow ends the whole process over some
    claims that are damaged.
    """
    num_rows = file.metadata.num_rows
    if num_rows > MAX_ROWS:
        raise DamagedData(f"{path} claims {num_rows} rows; at most {MAX_ROWS} are read")
    schema = pa.schema([file.schema_arrow.field(name) for name in columns])
    batches, size_bytes = [], 0
    for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False):
        size_bytes += batch.nbytes
        if size_bytes > MAX_TABLE_BYTES:
            raise DamagedData(f"{path} unfolds to more than {MAX_TABLE_BYTES} bytes")
        batches.append(batch)
    return pa.Table.from_batches(batches, None if batches else schema)


class _Places:
    """Says where the files of an episode lie, by the templates of ``info.json``."""

    def __init__(self, folder: Path, info: Mapping[str, Any], films: Sequence[Feature]) -> None:
        self._folder, self._films = folder, films
        self._is_v3 = info["codebase_version"] == layout.V3
        self._chunk = int(_number(info.get("chunks_size") or 1000, "chunks_size", most=MAX_COUNT))
        self._data_template = _template(info["data_path"])
        self._film_template = _template(info["video_path"]) if films else ""

    def entry(self, row: Mapping[str, Any]) -> Entry:
        """Return the entry that a row of ``meta/episodes`` stands for."""
        index = _count(row["episode_index"], "episode_index")
        success = row.get("success")
        return Entry(
            index=index,
            num_steps=_count(row["length"], "length"),
            tasks=tuple(str(task) for task in row.get("tasks") or ()),
            data=self._file(self._data_template, row, "data", index),
            films={feature.key: self._film(row, feature.key, index) for feature in self._films},
            success=success if isinstance(success, bool) else None,
        )

    def _film(self, row: Mapping[str, Any], key: str, index: int) -> FilmPlace:
        path = self._file(self._film_template, row, f"videos/{key}", index, key)
        begin_s = row[f"videos/{key}/from_timestamp"] if self._is_v3 else 0.0
        return FilmPlace(path=path, begin_s=_number(begin_s, "from_timestamp", least=0.0))

    def _file(
        self, template: str, row: Mapping[str, Any], part: str, index: int, key: str = ""
    ) -> Path:
        values: dict[str, Any] = {
            "episode_index": index,
            "episode_chunk": index // self._chunk,
            "video_key": key,
        }
        if self._is_v3:
            for name in ("chunk_index", "file_index"):
                values[name] = _count(row[f"{part}/{name}"], f"{part}/{name}")
        return inside(self._folder, template.format(**values))


def _info(folder: Path) -> dict[str, Any]:
    path = folder / layout.INFO
    if not path.is_file():
        raise InvalidConfig(
            f"{folder} is no LeRobot dataset: {path} is missing; name the folder that holds 'meta'"
        )
    info = _read_json(path)
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version not in (layout.V3, *layout.V2):
        raise InvalidConfig(
            f"{path} says version {str(version)[:40]!r}; read are "
            f"{', '.join((*layout.V2, layout.V3))}. Convert the dataset with LeRobot first"
        )
    return info


def _extras(folder: Path) -> Mapping[str, Any]:
    path = folder / layout.EXTRAS
    if not path.is_file():
        return {}
    data = _read_json(path)
    return data if isinstance(data, dict) else {}


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DamagedData(f"{path} is {path.stat().st_size} bytes; at most {MAX_JSON_BYTES}")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedData(f"{path} is no readable JSON: {error!r}") from error


def _read_json_lines(path: Path) -> list[dict[str, Any] | DamagedData]:
    """Return a line each; one that cannot be read is returned as the error that says so."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DamagedData(f"{path} is {path.stat().st_size} bytes; at most {MAX_JSON_BYTES}")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DamagedData(f"{path} cannot be read: {error}") from error
    rows: list[dict[str, Any] | DamagedData] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            row = DamagedData(f"{path}:{number} is no JSON: {error}")
        rows.append(
            row
            if isinstance(row, dict | DamagedData)
            else DamagedData(f"{path}:{number} is no object")
        )
    return rows


def _features(declared: Any) -> dict[str, Feature]:
    if not isinstance(declared, dict) or len(declared) > MAX_FEATURES:
        raise ValueError(f"features is no object of at most {MAX_FEATURES} entries")
    return {key: _feature(key, value) for key, value in declared.items()}


def _feature(key: str, value: Mapping[str, Any]) -> Feature:
    if "/" in key or len(key) > 200:
        raise ValueError(f"the feature {key[:80]!r} has no usable name")
    shape = tuple(_count(size, f"shape of {key}") for size in value["shape"])
    feature = Feature(key=key, dtype=str(value["dtype"]), shape=shape, names=())
    if feature.is_camera:
        if len(shape) != 3 or not all(1 <= side <= MAX_SIDE_PX for side in shape):
            raise ValueError(
                f"{key} has images of shape {shape}; expected three sides of 1 to {MAX_SIDE_PX}"
            )
    elif math.prod(shape) > MAX_VECTOR:
        raise ValueError(f"{key} has {math.prod(shape)} numbers a step; at most {MAX_VECTOR}")
    return Feature(key=key, dtype=feature.dtype, shape=shape, names=_names(value.get("names")))


def _names(value: Any) -> tuple[str, ...]:
    """Return names in the forms that datasets have them: a list, an object of lists, nested."""
    if isinstance(value, str):
        return (value[:200],)
    if isinstance(value, dict):
        value = (
            list(value.values())
            if all(isinstance(v, list) for v in value.values())
            else list(value)
        )
    if isinstance(value, list) and len(value) <= MAX_VECTOR:
        flat: list[str] = []
        for item in value:
            flat += (
                [str(part)[:200] for part in item] if isinstance(item, list) else [str(item)[:200]]
            )
        return tuple(flat)
    return ()


def _template(text: Any) -> str:
    """Return a path template that holds nothing but the known numbers and the camera's key."""
    if not isinstance(text, str) or len(text) > 1000:
        raise ValueError(f"the path template {str(text)[:80]!r} is no short text")
    for _, name, spec, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if name not in _PLACEHOLDERS or conversion or not _SPEC.fullmatch(spec or ""):
            raise ValueError(
                f"the path template {text!r} asks for {name!r}; "
                f"expected only {', '.join(sorted(_PLACEHOLDERS))}"
            )
    return text


def _tasks_v3(folder: Path) -> dict[int, str]:
    table = read_columns(inside(folder, layout.TASKS), lambda name: name in _TASK_COLUMNS)
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or not texts:
        raise DamagedData(f"{folder / layout.TASKS} lacks the tasks or their numbers")
    numbers, names = table["task_index"].to_pylist(), table[texts[0]].to_pylist()
    return {_count(n, "task_index"): str(t) for n, t in zip(numbers, names, strict=True)}


def _tasks_v2(folder: Path) -> dict[int, str]:
    tasks: dict[int, str] = {}
    for row in _read_json_lines(inside(folder, layout.TASKS_V2)):
        if isinstance(row, DamagedData):
            raise row
        tasks[_count(row["task_index"], "task_index")] = str(row["task"])
    return tasks


def _rows_v2(folder: Path) -> Iterable[dict[str, Any] | DamagedData]:
    return _read_json_lines(inside(folder, layout.EPISODES_V2))


def _rows_v3(folder: Path) -> Iterable[dict[str, Any] | DamagedData]:
    """Yield the rows of ``meta/episodes`` without the statistics; a damaged file is one error."""
    paths = sorted((folder / layout.EPISODES).glob("*/*.parquet"))
    if not paths:
        raise DamagedData(
            f"{folder / layout.EPISODES} holds no Parquet file; download or copy it again"
        )
    for path in paths:
        try:
            table = read_columns(inside(folder, path), lambda name: not name.startswith("stats/"))
        except DamagedData as error:
            yield error
        else:
            yield from table.to_pylist()


def _count(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{what} is {str(value)[:40]}; expected a whole number up to {MAX_COUNT}")
    return value


def _number(value: Any, what: str, *, least: float | None = None, most: float = 1e9) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not good or value > most or (value <= 0 if least is None else value < least):
        raise ValueError(f"{what} is {str(value)[:40]}; expected a number up to {most:g}")
    return float(value)
