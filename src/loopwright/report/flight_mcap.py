"""A flight of the black box as one MCAP file, for Foxglove and whatever else reads MCAP.

Log time is the time of day of the loop's clock; the sequence number of a message is the number of
its record in the chain, so that order and evidence can be looked up there. The header of the flight
and the snapshots are attachments. An export proves nothing by itself: the chain does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

import loopwright
from loopwright.core.errors import InvalidConfig
from loopwright.safety.blackbox import Flight
from loopwright.store.durable import storing
from loopwright.store.exchange.mcap_file import load_writer

STEP_TOPICS = {
    "/measured/position": "position",
    "/measured/speed": "speed",
    "/command/requested": "requested",
    "/command/applied": "applied",
}
"""Topic to column; one number for each coordinate of the body."""
FILTER, EVENTS = "/filter", "/events"
_FILTER_COLUMNS = (
    "sequence",
    "margin",
    "request_age_s",
    "sensor_age_s",
    "directive_epoch",
    "lease_left_s",
)


def export_flight(flight: Flight, path: Path) -> int:
    """Write a flight as an MCAP file.

    Args:
        flight: What was recorded.
        path: A file that does not exist.

    Returns:
        How many messages it has.

    Raises:
        MissingExtra: The package ``mcap`` is not installed.
        InvalidConfig: The file exists.
        StorageError: The operating system refused.
    """
    load_writer()
    if path.exists():
        raise InvalidConfig(f"{path} exists; choose a name that is not taken")
    partial = path.with_name(f".{path.name}.partial")
    with storing(path):
        try:
            with partial.open("wb") as file:
                count = _write(file, flight)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return count


def _write(file: IO[bytes], flight: Flight) -> int:
    writer = load_writer()(file)
    writer.start(library=f"loopwright {loopwright.__version__}")
    words = ("robot_id", "candidate", "certificate", "filter", "instruction", "build")
    header = {name: str(flight.raw_header[name]) for name in words}
    writer.add_metadata("loopwright", {"flight": flight.id, **header})
    messages = _Messages(writer, flight)
    begin_ns = flight.utc_ns(flight.raw_header["clock"]["monotonic_s"])
    attach = writer.add_attachment
    attach(begin_ns, begin_ns, "flight.json", "application/json", _json(flight.raw_header))
    for row in range(len(flight.steps)):
        messages.send_step(row)
    for event in flight.events():
        content = {"channel": event.channel, "text": event.text}
        messages.send(EVENTS, event.record, flight.utc_ns(event.monotonic_s), content)
    for snapshot in flight.snapshots:
        time_ns = flight.utc_ns(snapshot.monotonic_s)
        name = f"before-step-{snapshot.next_step}.state"
        attach(time_ns, time_ns, name, "application/octet-stream", snapshot.state)
    writer.finish()
    return messages.count


class _Messages:
    """The topics of a file, and a way to send to one of them."""

    def __init__(self, writer: Any, flight: Flight) -> None:
        self._writer, self._flight = writer, flight
        self.count = 0
        body = flight.header.body
        self._names = body.coordinates
        numbers = {name: {"type": ["number", "null"]} for name in body.coordinates}
        units = {f"unit of {n}": u for n, u in zip(body.coordinates, body.units, strict=True)}
        self._ids = {
            topic: self._add(topic, column.capitalize(), numbers, units)
            for topic, column in STEP_TOPICS.items()
        }
        words = {"type": "string"}
        scalars = {name: {"type": ["number", "null"]} for name in _FILTER_COLUMNS}
        verdict = {**scalars, "reason": words, "altered": {"type": "boolean"}, "request": words}
        self._ids[FILTER] = self._add(
            FILTER, "Filter", {**verdict, "stopping": {"type": "boolean"}}, {}
        )
        self._ids[EVENTS] = self._add(EVENTS, "Event", {"channel": words, "text": words}, {})

    def send_step(self, row: int) -> None:
        """Append the messages of a step."""
        step, record = self._flight.steps[row], int(self._flight.records[row])
        time_ns = self._flight.utc_ns(float(step["monotonic_s"]))
        for topic, column in STEP_TOPICS.items():
            values = zip(self._names, step[column].tolist(), strict=True)
            self.send(topic, record, time_ns, {name: _number(value) for name, value in values})
        content: dict[str, Any] = {name: _number(step[name]) for name in _FILTER_COLUMNS}
        content["reason"] = self._flight.reason_name(int(step["reason"]))
        content["altered"], content["stopping"] = bool(step["reason"]), bool(step["stopping"])
        excerpt = self._flight.excerpts.get(row, b"")
        content["request"] = excerpt.decode("utf-8", "backslashreplace")
        self.send(FILTER, record, time_ns, content)

    def send(self, topic: str, record: int, time_ns: int, content: Mapping[str, Any]) -> None:
        """Append a message."""
        self._writer.add_message(
            channel_id=self._ids[topic],
            log_time=time_ns,
            publish_time=time_ns,
            sequence=record & 0xFFFFFFFF,
            data=_json(content),
        )
        self.count += 1

    def _add(
        self, topic: str, title: str, properties: Mapping[str, Any], metadata: dict[str, str]
    ) -> int:
        name = f"loopwright.flight.{title}"
        schema = {"title": name, "type": "object", "properties": properties}
        number = self._writer.register_schema(name, "jsonschema", _json(schema))
        return self._writer.register_channel(topic, "json", number, metadata)


def _number(value: Any) -> float | int | None:
    """Return a plain number; JSON has no word for one that is not finite."""
    plain = value.item() if isinstance(value, np.generic) else value
    return plain if math.isfinite(plain) else None


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
