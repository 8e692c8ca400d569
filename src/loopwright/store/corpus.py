"""A corpus: what a model learns from besides episodes.

Rows of texts and pictures in *one* immutable Parquet file. Its schema metadata says what it is and
whose work it holds; a small JSON file beside it, written last, names the SHA-256 of its bytes. A
Parquet file without that companion was never finished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.digest import canonical_json, digest_bytes
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, UsageError
from loopwright.store.durable import publish, storing, write_text_file

FORMAT = 1
"""Version of the layout of file and companion."""

_FACTS_KEY = b"loopwright.corpus"
_SHAPE_KEY, _TYPE_KEY = b"shape", b"type"
_MOST_BYTES = 8 << 30
"""Largest corpus that is unpacked; the emoji at 96 px have 0.3 GB."""


class CorpusMissing(UsageError):
    """No finished corpus lies there; make it first."""


class CorpusDamaged(DamagedData):
    """The bytes of a corpus are not those that were written; make it again."""


class CorpusVersion(UsageError):
    """A corpus of another layout or version than the one that was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A published package whose content went into a corpus, and the terms it comes under."""

    package: str
    version: str
    integrity: str
    """What its bytes were checked against (``"sha512-..."``)."""
    licence: str
    """SPDX identifier."""
    attribution: str
    """Whose work it is and where it comes from, as the licence wants it said."""
    changes: str
    """What was done to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusFacts:
    """What a corpus says of itself; part of its bytes."""

    name: str
    version: int
    """Raised whenever the same sources would give other rows."""
    sources: tuple[Source, ...]
    settings: Mapping[str, Any]
    """What was chosen when it was made; plain data."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :meth:`from_json` reads back equal."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CorpusFacts:
        """Read what :meth:`to_json` wrote."""
        sources = tuple(Source(**source) for source in data["sources"])
        return cls(**{**data, "sources": sources})


class Corpus:
    """A corpus that was checked against its digest, and is held in memory, packed."""

    def __init__(self, *, path: Path, digest: str, facts: CorpusFacts, table: pa.Table) -> None:
        """Hold a table; :func:`open_corpus` is how to come by one."""
        self.path, self.digest, self.facts = path, digest, facts
        self._table = table

    @property
    def num_rows(self) -> int:
        """Rows."""
        return self._table.num_rows

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self._table.column_names)

    def column(self, name: str) -> np.ndarray:
        """Return a column as an array of its own, ``(num_rows, ...)``.

        Numbers keep their type and shape, texts are an object array of ``str``, lists of texts
        an object array of tuples.

        Raises:
            UnknownName: There is no such column.
        """
        if name not in self._table.column_names:
            raise UnknownName("column", name, self._table.column_names)
        field = self._table.schema.field(name)
        column = self._table.column(name).combine_chunks()
        if pa.types.is_fixed_size_binary(field.type):
            return _array(field, column)
        if pa.types.is_list(field.type):
            values = np.empty(self.num_rows, object)
            values[:] = [tuple(item) for item in column.to_pylist()]
            return values
        return column.to_numpy(zero_copy_only=False).copy()


def array_column(name: str, values: np.ndarray) -> tuple[pa.Field, pa.Array]:
    """Return the field and the column that keep an array ``(N, ...)`` of numbers with its shape.

    A row is kept as its bytes: Parquet would spend eight more on the nesting of each number.
    """
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    kind = pa.binary(values[:1].nbytes if len(values) else values.itemsize)
    column = pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    metadata = {
        _SHAPE_KEY: json.dumps(values.shape[1:]).encode(),
        _TYPE_KEY: values.dtype.name.encode(),
    }
    return pa.field(name, kind, nullable=False, metadata=metadata), column


def _array(field: pa.Field, column: pa.Array) -> np.ndarray:
    metadata = field.metadata or {}
    try:
        shape = tuple(map(int, json.loads(metadata[_SHAPE_KEY])))
        kind = np.dtype(metadata[_TYPE_KEY].decode()).newbyteorder("<")
        data = memoryview(column.buffers()[1])[column.offset * field.type.byte_width :]
        count = len(column) * int(np.prod(shape))
        values = np.frombuffer(data, kind, count).reshape(len(column), *shape)
    except (KeyError, ValueError, TypeError) as error:
        raise CorpusDamaged(f"column {field.name!r} is no array of one shape: {error}") from error
    return values.astype(kind.newbyteorder("="))  # a copy: Arrow's memory is read-only


def write_corpus(path: Path, table: pa.Table, *, facts: CorpusFacts) -> Corpus:
    """Write a corpus durably, whole or not at all, and return it.

    Equal tables and facts give equal bytes with the same version of pyarrow.

    Args:
        path: The file, ending in ``.parquet``; its folder exists. What is there is replaced.
        table: The rows.
        facts: What the corpus says of itself.

    Raises:
        InvalidConfig: The name of the file has another ending.
        StorageError: The operating system refused.
    """
    companion = _companion(path)
    stated = {_FACTS_KEY: canonical_json({"format": FORMAT, **facts.to_json()})}
    table = table.replace_schema_metadata(stated)
    sink = pa.BufferOutputStream()
    texts = [f.name for f in table.schema if not pa.types.is_fixed_size_binary(f.type)]
    # pyarrow's stub knows no list of columns here, its documentation does.
    coding: dict[str, Any] = {"use_dictionary": texts}
    pq.write_table(table, sink, compression="zstd", compression_level=9, **coding)
    data = sink.getvalue().to_pybytes()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        companion.unlink(missing_ok=True)  # from here on the old corpus counts as missing
        try:
            temporary.write_bytes(data)
            publish(temporary, path, "corpus")
        finally:
            temporary.unlink(missing_ok=True)
    digest = digest_bytes(data)
    said = {"format": FORMAT, "name": facts.name, "version": facts.version, "sha256": digest}
    write_text_file(companion, json.dumps(said, indent=1) + "\n", "corpus_digest")
    return Corpus(path=path, digest=digest, facts=facts, table=table)


def open_corpus(path: Path, *, name: str | None = None, version: int | None = None) -> Corpus:
    """Read a corpus and check every byte of it.

    Args:
        path: The Parquet file.
        name: Refuse a corpus of another name.
        version: Refuse a corpus of another version.

    Raises:
        CorpusMissing: There is none, or its making was cut short.
        CorpusDamaged: Its bytes are not those that were written.
        CorpusVersion: Its layout, name or version is another one.
    """
    digest = _stated_digest(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise CorpusMissing(f"{path} is missing; make the corpus again") from error
    except OSError as error:
        raise CorpusDamaged(f"{path} cannot be read: {error.strerror}") from error
    if (found := digest_bytes(data)) != digest:
        raise CorpusDamaged(
            f"{path} ({len(data)} bytes) has the digest {found[:12]}, expected {digest[:12]}; "
            "remove it and make the corpus again"
        )
    facts, table = _unpacked(path, data)
    _check(path, "name", facts.name, name)
    _check(path, "version", facts.version, version)
    return Corpus(path=path, digest=digest, facts=facts, table=table)


def _companion(path: Path) -> Path:
    if path.suffix != ".parquet":
        raise InvalidConfig(f"corpus file {path.name!r}; expected a name that ends in .parquet")
    return path.with_suffix(".json")


def _stated_digest(path: Path) -> str:
    companion = _companion(path)
    try:
        stated = json.loads(companion.read_text(encoding="utf-8"))
        layout, digest = stated["format"], stated["sha256"]
    except FileNotFoundError as error:
        raise CorpusMissing(
            f"no finished corpus at {path}: {companion.name} is missing; make the corpus first"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusDamaged(
            f"{companion} states no digest ({type(error).__name__}); "
            "remove it and make the corpus again"
        ) from error
    _check(path, "layout", layout, FORMAT)
    if not isinstance(digest, str):
        raise CorpusDamaged(f"{companion} states the digest {digest!r}, expected a text")
    return digest


def _unpacked(path: Path, data: bytes) -> tuple[CorpusFacts, pa.Table]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        stated = json.loads((file.schema_arrow.metadata or {})[_FACTS_KEY])
        _check(path, "layout", stated.pop("format"), FORMAT)
        facts = CorpusFacts.from_json(stated)
        _check_size(path, file)
        return facts, file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusDamaged(
            f"{path} has the digest it should have but is no corpus: {error}"
        ) from error


def _check_size(path: Path, file: pq.ParquetFile) -> None:
    """Look before unpacking: a few bytes may claim to hold terabytes."""
    groups = (file.metadata.row_group(index) for index in range(file.metadata.num_row_groups))
    claimed = sum(group.total_byte_size for group in groups)
    if claimed > _MOST_BYTES:
        raise CorpusDamaged(f"{path} claims {claimed} bytes; expected {_MOST_BYTES} at most")


_Stated = Literal["layout", "name", "version"]


def _check(path: Path, what: _Stated, found: object, wanted: object) -> None:
    if wanted is not None and found != wanted:
        raise CorpusVersion(
            f"{path} is a corpus with the {what} {found!r}, expected {wanted!r}; "
            "make the corpus again, or use the version of Loopwright that made it"
        )
