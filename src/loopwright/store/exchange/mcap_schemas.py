"""What the messages of an MCAP file hold, as JSON Schema.

``foxglove.CompressedVideo`` is what viewers of MCAP know and draw; they find it by its name. The
rest is Loopwright's own, flat, so that a plot of ``/proprio.gripper`` is a path that one can type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.core.interface import VectorSpec

VIDEO = "foxglove.CompressedVideo"

_TEXT = {"type": "string"}
_STEP = {"type": "integer", "minimum": 0}
_TIME = {
    "type": "object",
    "title": "time",
    "properties": {
        "sec": {"type": "integer", "minimum": 0},
        "nsec": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    },
}


def video_schema() -> dict[str, Any]:
    """Return the schema of one frame of a camera."""
    return _object(
        VIDEO,
        {
            "timestamp": _TIME,
            "frame_id": _TEXT,
            "data": {"type": "string", "contentEncoding": "base64"},
            "format": _TEXT,
        },
    )


def vector_schema(title: str, spec: VectorSpec) -> dict[str, Any]:
    """Return the schema of a vector with names, units and ranges."""
    columns = zip(spec.names, spec.units, spec.low, spec.high, strict=True)
    return _object(
        title,
        {
            name: _number(f"{unit or 'no unit'}, from {low:g} to {high:g}", unit=unit)
            for name, unit, low, high in columns
        },
    )


def evidence_schema(title: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the schema of what verifiers looked at, whose units are part of the names."""
    return _object(title, {name: _number("seen after the action of this step") for name in names})


def verdict_schema(title: str) -> dict[str, Any]:
    """Return the schema of a verdict; ``counts`` is true for the one that stands."""
    return _object(
        title,
        {
            "episode": _TEXT,
            "outcome": {"enum": ["success", "failure", "unknown"]},
            "score": {"type": "number"},
            "verifier": _TEXT,
            "evidence_digest": _TEXT,
            "reason": _TEXT,
            "authority": {"enum": ["verifier", "judge", "operator"]},
            "flags": {"type": "object"},
            "counts": {"type": "boolean"},
        },
    )


def annotation_schema(title: str) -> dict[str, Any]:
    """Return the schema of a note about a stretch of the episode, sent where it begins."""
    return _object(
        title,
        {
            "episode": _TEXT,
            "label": _TEXT,
            "author": _TEXT,
            "begin_step": _STEP,
            "end_step": {**_STEP, "description": "one after the last step of the stretch"},
            "text": _TEXT,
            "begin": _TIME,
            "end": {**_TIME, "description": "time of the last step of the stretch"},
        },
    )


def _object(title: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": title,
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
    }


def _number(description: str, **extra: str) -> dict[str, Any]:
    return {"type": ["number", "null"], "description": description, **extra}
