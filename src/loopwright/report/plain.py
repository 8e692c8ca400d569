"""Frozen dataclasses to plain JSON data and back, led by their annotations.

Bytes, arrays and paths become small tagged objects; floats that JSON cannot hold become words.
"""

from __future__ import annotations

import base64
import math
import types
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from loopwright.core.errors import DamagedData

T = TypeVar("T")

_TAGS: dict[str, type] = {"base64": bytes, "path": Path, "zlib": np.ndarray}


def to_plain(value: Any) -> Any:
    """Return ``value`` as what a JSON file can hold."""
    if is_dataclass(value):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        packed = base64.b64encode(zlib.compress(value.tobytes(), 9)).decode()
        return {"zlib": packed, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(kind: type[T], data: Any, *, version: int) -> T:
    """Build a ``kind`` from what :func:`to_plain` made of one.

    Args:
        kind: A dataclass with a ``schema_version`` field.
        data: Plain data.
        version: The only schema version that is understood.

    Raises:
        DamagedData: The data do not fit the dataclass, or have another schema version.
    """
    found = data.get("schema_version") if isinstance(data, Mapping) else None
    if found != version:
        raise DamagedData(
            f"report data have the schema version {found!r}, expected {version}; "
            "make the report again from the workspace"
        )
    try:
        return _read(kind, data)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DamagedData(f"these are no data of a {kind.__name__}: {error}") from error


def _read(kind: Any, data: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(args, data)
    if origin is Literal or kind in (Any, None, type(None)):
        return data
    if origin is tuple:
        inner = args[0] if len(args) == 2 and args[1] is Ellipsis else None
        inners = [inner] * len(data) if inner is not None else args
        return tuple(_read(i, item) for i, item in zip(inners, data, strict=True))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _read(args[1], item) for key, item in data.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _read(hints[name], item) for name, item in data.items()})
    return _read_leaf(kind, data)


def _read_union(args: tuple[Any, ...], data: Any) -> Any:
    if data is None:
        return None
    present = [a for a in args if a is not type(None)]
    if len(present) == 1:
        return _read(present[0], data)
    # Only bytes and paths share a field; their tags tell them apart.
    for tag, kind in _TAGS.items():
        if tag in data and kind in present:
            return _read_leaf(kind, data)
    raise TypeError(f"{type(data).__name__} is none of {args}")


def _read_leaf(kind: Any, data: Any) -> Any:
    if kind is bytes:
        return base64.b64decode(data["base64"])
    if kind is Path:
        return Path(data["path"])
    if kind is np.ndarray:
        raw = zlib.decompress(base64.b64decode(data["zlib"]))
        return np.frombuffer(raw, dtype=data["dtype"]).reshape(data["shape"])
    if kind is float and (isinstance(data, (int, float)) or data in ("nan", "inf", "-inf")):
        return float(data)
    if not isinstance(data, kind):
        raise TypeError(f"{data!r} is no {kind.__name__}")
    return data
