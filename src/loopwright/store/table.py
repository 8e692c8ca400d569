"""The time series of an episode: a plain row file while recording, Parquet once committed.

A row file is an array of fixed-size records and nothing else, so whatever a crash leaves of it is
read back by cutting off the last part of a record.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.episode import EpisodeHeader
from loopwright.core.errors import ContractError, DamagedData

_SCALARS = {"float32": pa.float32(), "float64": pa.float64()}
_MOST_BYTES = 1 << 30
"""Largest table that is unpacked; an hour at 1 kHz with 70 columns has as much."""


def row_type(header: EpisodeHeader) -> np.dtype:
    """Return the record of one control step: column name to type and width.

    A ``video`` has the time and nothing else, from the first byte that is written.
    """
    if header.kind == "video":
        return np.dtype([("time_s", "f8")])
    interface = header.interface
    return np.dtype(
        [
            ("time_s", "f8"),
            ("proprio", "f4", (interface.proprio.size,)),
            ("requested", "f4", (interface.action.size,)),
            ("applied", "f4", (interface.action.size,)),
            ("evidence", "f8", (len(header.evidence),)),
        ]
    )


def read_rows(path: Path, header: EpisodeHeader) -> np.ndarray:
    """Return the whole records of a row file, structured ``(T,)``."""
    data, kind = path.read_bytes(), row_type(header)
    return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)


def write_table(path: Path, rows: np.ndarray) -> None:
    """Write records as Parquet and sync the file; equal records give equal bytes.

    Raises:
        OSError: The operating system refused.
    """
    table = pa.table({name: _column(rows[name]) for name in rows.dtype.names or ()})
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", use_dictionary=False)
        file.flush()
        os.fsync(file.fileno())


def read_table(data: bytes, header: EpisodeHeader, name: str) -> Mapping[str, np.ndarray]:
    """Return the columns of an episode's Parquet file.

    Args:
        data: The bytes of the file.
        header: Says which columns there must be.
        name: What to call the file in errors.

    Raises:
        ContractError: A ``video`` carries more than the time.
        DamagedData: It is no Parquet file, or its columns are not those of the header.
    """
    kind = row_type(header)
    wanted = list(kind.names or ())
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        # Looked at before anything is unpacked: a few bytes may claim to hold terabytes.
        _check_schema(file, kind, name)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DamagedData(f"{name} is no readable Parquet file: {error}") from error
    return {column: _values(table, column, kind[column], name) for column in wanted}


def _check_schema(file: pq.ParquetFile, kind: np.dtype, name: str) -> None:
    wanted, found = list(kind.names or ()), file.schema_arrow
    if found.names != wanted:
        if wanted == ["time_s"]:
            raise ContractError(
                f"{name} belongs to a video, which holds the time only, but carries "
                f"{found.names}; it is not read"
            )
        raise DamagedData(f"{name} has the columns {found.names}, expected {wanted}")
    for column in wanted:
        if not _fits(found.field(column).type, kind[column]):
            raise DamagedData(
                f"{name}: column {column!r} holds {found.field(column).type}, "
                f"expected {kind[column]}"
            )
    claimed = file.metadata.num_rows * kind.itemsize
    if claimed > _MOST_BYTES:
        raise DamagedData(
            f"{name} claims {file.metadata.num_rows} rows, {claimed} bytes; "
            f"expected {_MOST_BYTES} at most"
        )


def _fits(found: pa.DataType, kind: np.dtype) -> bool:
    scalar = _SCALARS[kind.base.name]
    if not kind.shape:
        return found == scalar
    if kind.shape[0] and pa.types.is_fixed_size_list(found):
        return found.list_size == kind.shape[0] and found.value_type == scalar
    return not kind.shape[0] and pa.types.is_list(found) and found.value_type == scalar


def _column(values: np.ndarray) -> pa.Array:
    scalar = _SCALARS[values.dtype.name]
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), scalar)
    if values.ndim == 1:
        return flat
    if values.shape[1] == 0:  # Arrow cannot tell the length of a list of empty lists
        return pa.array([[]] * len(values), pa.list_(scalar))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _values(table: pa.Table, column: str, kind: np.dtype, name: str) -> np.ndarray:
    chunk = table.column(column).combine_chunks()
    shape = (table.num_rows, *kind.shape)
    flat = chunk.flatten() if kind.shape else chunk
    if missing := chunk.null_count + flat.null_count:  # they would be read as NaN
        raise DamagedData(f"{name}: column {column!r} lacks {missing} values")
    values = flat.to_numpy(zero_copy_only=False)
    if values.size != np.prod(shape) or values.dtype != kind.base:
        raise DamagedData(
            f"{name}: column {column!r} holds {values.dtype} of {values.size} numbers, "
            f"expected {kind.base} {shape}"
        )
    return values.reshape(shape).copy()  # Arrow's memory is read-only
