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
    try:
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedData(f"{name} is no readable Parquet file: {error}") from error
    kind = row_type(header)
    wanted = list(kind.names or ())
    if table.column_names != wanted:
        if header.kind == "video":
            raise ContractError(
                f"{name} belongs to a video, which holds the time only, but carries "
                f"{table.column_names}; it is not read"
            )
        raise DamagedData(f"{name} has the columns {table.column_names}, expected {wanted}")
    return {column: _values(table, column, kind[column], name) for column in wanted}


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
    values = flat.to_numpy(zero_copy_only=False)
    if values.size != np.prod(shape) or values.dtype != kind.base:
        raise DamagedData(
            f"{name}: column {column!r} holds {values.dtype} of {values.size} numbers, "
            f"expected {kind.base} {shape}"
        )
    return values.reshape(shape).copy()  # Arrow's memory is read-only
