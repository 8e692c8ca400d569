"""Requests, read strictly: bounded in size, well-formed, and without a field that nobody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from loopwright.core.errors import InvalidConfig
from loopwright.robot.wires.plain import read_plain

LARGEST_BODY_BYTES = 256 * 1024

Field = type | tuple[type, ...]
_WORDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    int: "a number",
    float: "a number",
    type(None): "null",
}


async def body_of(
    request: Request, fields: Mapping[str, Field], *, required: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the JSON object in the body; an empty body is an empty object.

    Args:
        request: Whose body.
        fields: The fields that are known, with the types they may have.
        required: Those that must be there.

    Raises:
        HTTPException: 413 too large, 400 no JSON object, not these fields, or a text or number in
            it that could not be written down.
    """
    raw = b""
    async for block in request.stream():
        raw += block
        if len(raw) > LARGEST_BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY_BYTES} bytes")
    try:
        data = read_plain(raw) if raw else {}
    except InvalidConfig as error:
        raise HTTPException(400, f"the body cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise HTTPException(400, f"the body is {_called(type(data))}, expected an object")
    _refuse_unknown(data, fields)
    for name, value in data.items():
        _check(name, value, fields[name])
    if missing := sorted(set(required) - set(data)):
        raise HTTPException(400, f"the body lacks {missing}")
    return data


def query_of(request: Request, fields: Mapping[str, type]) -> dict[str, Any]:
    """Return the parameters behind the ``?``, converted.

    Raises:
        HTTPException: 400, one is unknown or does not convert.
    """
    _refuse_unknown(request.query_params, fields)
    found: dict[str, Any] = {}
    for name, text in request.query_params.items():
        try:
            found[name] = fields[name](text)
        except ValueError as error:
            raise HTTPException(400, f"{name}={text!r} is no {fields[name].__name__}") from error
        if found[name] != found[name] or found[name] in (float("inf"), float("-inf")):
            raise HTTPException(400, f"{name}={text!r} is not finite")
    return found


def _refuse_unknown(given: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    if unknown := sorted(set(given) - set(fields)):
        raise HTTPException(400, f"unknown: {unknown}; known here: {sorted(fields)}")


def _check(name: str, value: Any, kinds: Field) -> None:
    allowed = kinds if isinstance(kinds, tuple) else (kinds,)
    if type(value) not in allowed:
        words = " or ".join(_called(kind) for kind in allowed)
        raise HTTPException(400, f"{name!r} is {_called(type(value))}, expected {words}")


def _called(kind: type) -> str:
    return _WORDS.get(kind, kind.__name__)
