"""The Parquet and JSON files of a LeRobotDataset v3.0, column by column."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.store.exchange.lerobot_stats import QUANTILES

ORIGIN = ("loopwright/episode", "loopwright/scenario", "loopwright/seed")
"""Columns of ``meta/episodes`` that say which episode of which scenario it was."""


class TableFile:
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


def row_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
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


def row_table(columns: Mapping[str, np.ndarray], schema: pa.Schema) -> pa.Table:
    """Return the rows of an episode as a table of a data file."""
    arrays = []
    for field in schema:
        values = np.ascontiguousarray(columns[field.name]).reshape(-1)
        if pa.types.is_fixed_size_list(field.type):
            flat = pa.array(values, field.type.value_type)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.table(arrays, schema=schema)


def episode_schema(features: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
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
    fields += zip(ORIGIN, (pa.string(), pa.string(), whole), strict=True)
    return pa.schema(fields)


def write_tasks(path: Path, tasks: Sequence[str]) -> None:
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


def write_json(path: Path, data: object) -> None:
    """Write plain data as LeRobot writes it, and sync the file."""
    with path.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=4, ensure_ascii=False, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
