"""The header of a flight: who flies, by whose leave, and what is recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loopwright.core.digest import Json
from loopwright.core.errors import InvalidConfig
from loopwright.safety.blackbox.fields import FIELDS, table
from loopwright.safety.blackbox.requests import EXCERPT_BYTES
from loopwright.safety.body import BodySpec, RobotEntry
from loopwright.safety.chain import FIRST_KIND
from loopwright.safety.decision import Reason

FORMAT = "loopwright-flight/1"
NONE = "none"
"""What stands for a certificate or a candidate where there is none, and that is known."""

KIND_STEP, KIND_NOTE, KIND_SNAPSHOT = FIRST_KIND, FIRST_KIND + 1, FIRST_KIND + 2


@dataclass(frozen=True, kw_only=True, slots=True)
class FlightHeader:
    """What is known before the first step; none of it may be left empty."""

    robot_id: str
    """Which machine: two of one make are two robots."""
    robot: RobotEntry
    """How a process comes by it, to replay the flight."""
    body: BodySpec
    candidate: str
    """Digest of the policy's folder, or ``"none"``."""
    certificate: str
    """Digest of the certificate it flies under, or ``"none"``."""
    filter: str
    """Digest of limits, rungs and code of the filter."""
    limits: Mapping[str, Json]
    """The limits themselves."""
    instruction: str
    """What it was told to do."""
    build: str
    """Digest of interpreter and libraries."""
    continues: str = NONE
    """Id of the flight that this one goes on from, or ``"none"``."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with everything that a reader needs but the clock."""
        return {
            "format": FORMAT,
            **asdict(self),
            "limits": dict(self.limits),
            "kinds": {"step": KIND_STEP, "note": KIND_NOTE, "snapshot": KIND_SNAPSHOT},
            "fields": table(self.body.size),
            "excerpt_bytes": EXCERPT_BYTES,
            "reasons": {reason.name: int(reason) for reason in Reason},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FlightHeader:
        """Read what :meth:`to_json` wrote.

        Raises:
            InvalidConfig: A mandatory field is missing or empty.
        """
        require_mandatory(data)
        body: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in data["body"].items()
        }
        return cls(
            **{name: data[name] for name in _WORDS},
            continues=str(data.get("continues", NONE)),
            limits=data["limits"],
            robot=RobotEntry(**data["robot"]),
            body=BodySpec(**body),
        )


_WORDS = ("robot_id", "candidate", "certificate", "filter", "instruction", "build")
_PLAIN = ("robot", "body", "limits", "clock")


def clock_now() -> dict[str, Json]:
    """Return one moment by both clocks: what makes times of the loop times of the day."""
    return {"utc_ns": time.time_ns(), "monotonic_s": time.monotonic()}


def require_mandatory(header: Mapping[str, Any]) -> None:
    """Refuse a flight whose header or step record lacks what must be recorded.

    Args:
        header: Plain data, as :meth:`FlightHeader.to_json` returns it, and ``clock``.

    Raises:
        InvalidConfig: Something is missing or empty; all of it is named.
    """
    missing = [name for name in _WORDS if not str(header.get(name) or "").strip()]
    missing += [name for name in _PLAIN if not isinstance(header.get(name), Mapping)]
    if header.get("format") != FORMAT:
        missing.append(f"format {FORMAT!r}")
    rows = header.get("fields")
    recorded = {row.get("name"): row for row in rows} if isinstance(rows, list) else {}
    for field in FIELDS:
        row = recorded.get(field.name)
        if row is None or row.get("type") != "<" + field.type:
            missing.append(f"step field {field.name} ({field.type})")
    if missing:
        raise InvalidConfig(
            f"this flight may not begin; what must be recorded is missing: {', '.join(missing)}; "
            f"say {NONE!r} where there is knowingly none"
        )
