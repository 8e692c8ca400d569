"""The fields of a request, each read with the type and range that it must have."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from loopwright.models.deploy.serve.refusal import Refused


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body.

    Raises:
        Refused: It is no JSON, no object, or holds what JSON cannot (NaN, half a character).
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(found, dict):
        raise Refused(f"the body is a {_kind(found)}; expected a JSON object", code="invalid_json")
    return found


def check_text(text: str, field: str) -> str:
    """Return a text, all characters of which are whole."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(
            f"{field} holds half of a character (a lone surrogate, at {error.start})", field=field
        ) from error
    return text


class Fields:
    """The fields of one JSON object. ``null`` and an absent field mean the default."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        """Read from a parsed object."""
        self._found = found

    def any(self, name: str) -> Any:
        """Return a field as it is; None if it is absent."""
        return self._found.get(name)

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; without a default it must be there."""
        value = self._found.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise _wrong(name, value, "text")
        return check_text(value, name)

    def flag(self, name: str) -> bool:
        """Return true or false; false by default."""
        value = self._found.get(name)
        if value is not None and not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return bool(value)

    def number(self, name: str, default: float, *, low: float, high: float) -> float:
        """Return a finite number from ``low`` to ``high``."""
        value = self._found.get(name)
        if value is None:
            return default
        expected = f"a number from {low:g} to {high:g}"
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(name, value, expected)
        # Written so that what is no number is refused too: 1e999 is infinite in JSON.
        if not low <= value <= high:
            raise _wrong(name, value, expected)
        return float(value)

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self._found.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _wrong(name, value, f"a whole number from {low} to {high}")
        return value

    def seed(self) -> int | None:
        """Return the seed; None if none is given."""
        if self._found.get("seed") is None:
            return None
        return self.whole("seed", 0, low=-(1 << 63), high=(1 << 64) - 1)

    def texts(self, name: str, *, most: int) -> tuple[str, ...]:
        """Return a text or a list of texts, none of them empty; nothing by default."""
        value = self._found.get(name)
        listed = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(listed, list) or len(listed) > most:
            raise _wrong(name, value, f"a text or a list of at most {most} texts")
        for text in listed:
            if not isinstance(text, str) or not text:
                raise _wrong(name, text, "a text of at least one character")
        return tuple(check_text(text, name) for text in listed)

    def refuse(self, neutral: Mapping[str, Collection[Any]]) -> None:
        """Refuse fields that would change the answer and are not understood.

        Args:
            neutral: Field to the values that change nothing.

        Raises:
            Refused: A field has another value.
        """
        for name, harmless in neutral.items():
            value = self._found.get(name)
            if value is not None and value not in list(harmless):
                raise Refused(
                    f"{name} is not supported here; leave it out",
                    code="unsupported_parameter",
                    field=name,
                )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _wrong(name: str, value: Any, expected: str) -> Refused:
    if isinstance(value, float) and not math.isfinite(value):
        said = "no finite number"
    elif isinstance(value, (bool, float, type(None))):
        said = "missing" if value is None else str(value).lower()
    elif isinstance(value, int):
        said = str(value) if abs(value) < 1 << 70 else "a number of very many digits"
    else:
        said = f"a {_kind(value)}"
    return Refused(f"{name} is {said}; expected {expected}", field=name, code="invalid_value")


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
