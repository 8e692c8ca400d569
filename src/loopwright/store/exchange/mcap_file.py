"""One MCAP file: how what is known of an episode becomes messages."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

import loopwright
from loopwright.core.episode import Annotation
from loopwright.core.errors import MissingExtra
from loopwright.core.interface import VectorSpec
from loopwright.store.episode_files import DESCRIPTION
from loopwright.store.exchange import mcap_schemas as schemas
from loopwright.store.exchange.story import NS_PER_S, EpisodeStory

if TYPE_CHECKING:
    from mcap.writer import Writer

PROPRIO = "/proprio"
REQUESTED = "/action/requested"
APPLIED = "/action/applied"
EVIDENCE = "/evidence"
ANNOTATIONS = "/annotations"
VERDICTS = "/verdicts"


def camera_topic(camera: str) -> str:
    """Return where the frames of a camera are."""
    return f"/camera/{camera}"


def load_writer() -> type[Writer]:
    """Return the writer of the ``mcap`` package.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        from mcap.writer import Writer
    except ImportError as error:
        raise MissingExtra("mcap", "mcap", "an export as MCAP") from error
    return Writer


def write_story(file: IO[bytes], story: EpisodeStory) -> None:
    """Write an MCAP file: chunks packed with zstd, an index, statistics, checksums.

    Raises:
        MissingExtra: The package ``mcap`` is not installed.
        OSError: The operating system refused.
    """
    writer = load_writer()(file)
    writer.start(library=f"loopwright {loopwright.__version__}")
    writer.add_metadata("loopwright", _metadata(story))
    writer.add_attachment(
        create_time=story.begin_ns,
        log_time=story.begin_ns,
        name=DESCRIPTION,
        media_type="application/json",
        data=_json(story.description.to_json()),
    )
    channels = _Channels(writer, story)
    for step in range(story.episode.series.num_steps):
        _write_step(channels, story, step)
    for verdict in story.verdicts:
        counts = verdict is story.standing
        channels.send(VERDICTS, story.last_step, {**verdict.to_json(), "counts": counts})
    writer.finish()


class _Channels:
    """The topics of a file, and a way to send to one of them."""

    def __init__(self, writer: Writer, story: EpisodeStory) -> None:
        self._writer, self._story = writer, story
        self._ids: dict[str, int] = {}
        header = story.description.header
        interface = header.interface
        video = self._schema(schemas.video_schema()) if story.packets else 0
        for camera in interface.cameras:
            self._add(camera_topic(camera.name), video, {})
        if header.kind != "video":
            action = schemas.vector_schema("loopwright.Action", interface.action)
            action_id, units = self._schema(action), _units(interface.action)
            proprio = schemas.vector_schema("loopwright.Proprio", interface.proprio)
            self._add(PROPRIO, self._schema(proprio), _units(interface.proprio))
            self._add(REQUESTED, action_id, units)
            self._add(APPLIED, action_id, units)
            evidence = schemas.evidence_schema("loopwright.Evidence", header.evidence)
            self._add(EVIDENCE, self._schema(evidence), {})
        self._add(ANNOTATIONS, self._schema(schemas.annotation_schema("loopwright.Annotation")), {})
        self._add(VERDICTS, self._schema(schemas.verdict_schema("loopwright.Verdict")), {})

    def send(self, topic: str, step: int, content: Mapping[str, Any]) -> None:
        """Append a message at the time of a step; its sequence number is the step."""
        time_ns = self._story.time_ns(step)
        self._writer.add_message(
            channel_id=self._ids[topic],
            log_time=time_ns,
            publish_time=time_ns,
            sequence=step,
            data=_json(content),
        )

    def _schema(self, schema: Mapping[str, Any]) -> int:
        return self._writer.register_schema(schema["title"], "jsonschema", _json(schema))

    def _add(self, topic: str, schema_id: int, metadata: dict[str, str]) -> None:
        self._ids[topic] = self._writer.register_channel(topic, "json", schema_id, metadata)


def _write_step(channels: _Channels, story: EpisodeStory, step: int) -> None:
    for camera, packets in story.packets.items():
        channels.send(camera_topic(camera), step, _frame(story, camera, packets[step], step))
    header, series = story.description.header, story.episode.series
    columns = {
        PROPRIO: (header.interface.proprio.names, series.proprio),
        REQUESTED: (header.interface.action.names, series.requested),
        APPLIED: (header.interface.action.names, series.applied),
        EVIDENCE: (header.evidence, series.evidence),
    }
    for topic, (names, values) in columns.items():
        if values is not None:
            channels.send(topic, step, _named(names, values[step]))
    for annotation in story.annotations:
        if min(annotation.begin_step, story.last_step) == step:
            channels.send(ANNOTATIONS, step, _note(story, annotation))


def _frame(story: EpisodeStory, camera: str, packet: bytes, step: int) -> dict[str, Any]:
    return {
        "timestamp": _time(story.time_ns(step)),
        "frame_id": camera,
        "data": base64.b64encode(packet).decode(),
        "format": "h264",
    }


def _note(story: EpisodeStory, annotation: Annotation) -> dict[str, Any]:
    content = annotation.to_json()
    del content["withdrawn"]  # one that was taken back is not told
    content["end_step"] = annotation.end_step or story.last_step + 1
    content["begin"] = _time(story.time_ns(annotation.begin_step))
    content["end"] = _time(story.time_ns(content["end_step"] - 1))
    return content


def _metadata(story: EpisodeStory) -> dict[str, str]:
    """Return what one looks for in a list of files; the rest is in the attachment."""
    description, header = story.description, story.description.header
    values = {
        "episode": description.id,
        "digest": description.digest,
        "recorded_at": description.recorded_at,
        "scenario": header.scenario,
        "kind": header.kind,
        "seed": header.seed,
        "instruction": header.instruction,
        "body": header.body,
        "behaviour": header.behaviour,
        "candidate": header.candidate,
        "censored": header.censored,
        "outcome": story.standing.outcome if story.standing else None,
    }
    return {name: str(value) for name, value in values.items() if value not in (None, "")}


def _named(names: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """Return numbers with their names; JSON has no word for one that is not finite."""
    numbers = zip(names, values.tolist(), strict=True)
    return {name: value if math.isfinite(value) else None for name, value in numbers}


def _units(spec: VectorSpec) -> dict[str, str]:
    return {f"unit of {name}": unit for name, unit in zip(spec.names, spec.units, strict=True)}


def _time(time_ns: int) -> dict[str, int]:
    seconds, nanoseconds = divmod(time_ns, NS_PER_S)
    return {"sec": seconds, "nsec": nanoseconds}


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
