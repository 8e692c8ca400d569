"""Configurations as plain data: one strict reader for every frozen dataclass.

What a recipe, a file or a candidate says is checked against the annotations of the dataclass, and
what does not fit is named by its place (``mixture.experts``) before any of it is used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from loopwright.core.errors import InvalidConfig

ConfigT = TypeVar("ConfigT")

_PLAIN: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "a text"),
}
"""Of each type that data state as it is: what may stand for it, and what to call that."""


def read_config(kind: type[ConfigT], data: object) -> ConfigT:
    """Return the configuration that plain data describe; keys that are missing take their default.

    Values are taken over as they are, but lists become tuples where the field is one. Of a union
    of dataclasses, the one is read that has most of the keys.

    Args:
        kind: A dataclass. Its fields hold numbers, texts, truth values, literals, tuples and
            further dataclasses, or None beside one of these.
        data: What :func:`dataclasses.asdict` made of one, before or after a trip through JSON.

    Raises:
        InvalidConfig: A key is unknown or missing, a value of another type, or impossible.
    """
    return _made(kind, data, "")


def plain_without(config: Any, names: Collection[str]) -> dict[str, Any]:
    """Return a dataclass as plain data, without fields that do not count when two are compared."""
    return {name: value for name, value in asdict(config).items() if name not in names}


def _made(kind: Any, data: object, place: str) -> Any:
    name = place or kind.__name__
    if not isinstance(data, Mapping):
        raise InvalidConfig(f"{name} is {data!r}; expected the settings of a {kind.__name__}")
    known = _fields(kind)
    if unknown := sorted(str(key) for key in data if key not in known):
        raise InvalidConfig(f"{name} has the unknown keys {unknown}; known: {list(known)}")
    if missing := [key for key, each in known.items() if _is_needed(each) and key not in data]:
        raise InvalidConfig(f"{name} lacks the keys {missing}; known: {list(known)}")
    hints = get_type_hints(kind)
    within = f"{place}." if place else ""
    values = {key: _value(hints[key], value, within + key) for key, value in data.items()}
    try:
        return kind(**values)
    except InvalidConfig as error:
        if not place:
            raise
        raise InvalidConfig(f"{place}: {error}") from error


def _fields(kind: Any) -> dict[str, Field[Any]]:
    return {each.name: each for each in fields(kind) if each.init}


def _is_needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _value(hint: Any, value: Any, place: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _one_of(get_args(hint), value, place)
    if origin is tuple:
        return _tuple(get_args(hint), value, place)
    if is_dataclass(hint):
        return _made(hint, value, place)
    if origin is Literal:
        expected = "one of " + ", ".join(repr(choice) for choice in get_args(hint))
        fits = value in get_args(hint)
    else:
        kinds, expected = _PLAIN[hint]
        # Python counts True among the whole numbers.
        fits = isinstance(value, kinds) and isinstance(value, bool) == (hint is bool)
    if not fits:
        raise InvalidConfig(f"{place} is {value!r}; expected {expected}")
    return value


def _one_of(kinds: Sequence[Any], value: Any, place: str) -> Any:
    if value is None and NoneType in kinds:
        return None
    keys = set(value) if isinstance(value, Mapping) else set()
    likeliest = max(
        (kind for kind in kinds if kind is not NoneType),
        key=lambda kind: len(keys & set(_fields(kind))) if is_dataclass(kind) else 0,
    )
    return _value(likeliest, value, place)


def _tuple(kinds: Sequence[Any], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidConfig(f"{place} is {value!r}; expected a list")
    each = [kinds[0]] * len(value) if kinds[1:] == (...,) else kinds
    if len(each) != len(value):
        raise InvalidConfig(f"{place} has {len(value)} values; expected {len(each)}")
    return tuple(
        _value(kind, item, f"{place}[{number}]")
        for number, (kind, item) in enumerate(zip(each, value, strict=True))
    )
