"""Episodes as Rerun recordings, one each.

Every row is on three time lines: ``time`` (when the episode was recorded plus the time within it),
``time_in_episode``, and ``step``. Films go in as they are: H.264 packets of a ``VideoStream``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from loopwright.core.episode import Annotation, Verdict
from loopwright.core.errors import MissingExtra
from loopwright.core.interface import VectorSpec
from loopwright.store.exchange import Exported
from loopwright.store.exchange.file_each import export_file_each
from loopwright.store.exchange.story import EpisodeStory
from loopwright.store.workspace import Workspace

_APPLICATION = "loopwright"


def export_rerun(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Exported:
    """Write every episode as ``<id>.rrd``.

    Args:
        workspace: Where they are.
        episodes: Their ids; of any interface and any kind.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        progress: Wraps the ids, to show how far it is.

    Returns:
        What was written; the notes say what a viewer may stumble over.

    Raises:
        MissingExtra: The package ``rerun-sdk`` is not installed.
        InvalidConfig: There is no episode, or one twice, or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    rerun = _load_rerun()
    return export_file_each(
        workspace,
        episodes,
        folder,
        suffix=".rrd",
        write=partial(_write_recording, rerun),
        progress=progress,
    )


def _load_rerun() -> Any:
    try:
        return importlib.import_module("rerun")
    except ImportError as error:
        raise MissingExtra("rerun-sdk", "rerun", "an export as Rerun recordings") from error


def _write_recording(rerun: Any, file: IO[bytes], story: EpisodeStory) -> None:
    # Not the recording of the process, and without the properties that Rerun takes from it.
    recording = rerun.RecordingStream(
        _APPLICATION, recording_id=story.description.id, make_default=False, send_properties=False
    )
    # Rerun writes files in a thread of its own, and only logs when the disk is full at their end.
    memory = recording.memory_recording()
    try:
        _Sender(rerun, recording, story).send_all()
        file.write(memory.drain_as_bytes())
    finally:
        recording.disconnect()


class _Sender:
    """Sends the parts of an episode to one recording."""

    def __init__(self, rerun: Any, recording: Any, story: EpisodeStory) -> None:
        self._rerun, self._recording, self._story = rerun, recording, story

    def send_all(self) -> None:
        self._send_description()
        for camera, packets in self._story.packets.items():
            self._send_film(f"camera/{camera}", packets)
        header, series = self._story.description.header, self._story.episode.series
        action = _labels(header.interface.action)
        self._send_series("proprio", _labels(header.interface.proprio), series.proprio)
        self._send_series("action/requested", action, series.requested)
        self._send_series("action/applied", action, series.applied)
        self._send_series("evidence", list(header.evidence), series.evidence)
        self._send_events()

    def _send_description(self) -> None:
        description = self._story.description
        header = description.header
        words = {
            "scenario": header.scenario,
            "kind": header.kind,
            "seed": str(header.seed),
            "instruction": header.instruction,
            "outcome": self._story.standing.outcome if self._story.standing else "unjudged",
        }
        self._recording.send_recording_name(f"{header.scenario} {description.id}")
        self._recording.send_recording_start_time_nanos(self._story.begin_ns)
        self._recording.send_property("episode", self._rerun.AnyValues(**words))
        text = json.dumps(description.to_json(), indent=1, ensure_ascii=False)
        document = self._rerun.TextDocument(text, media_type="application/json")
        self._recording.log("episode", document, static=True)

    def _send_film(self, entity: str, packets: Sequence[bytes]) -> None:
        stream = self._rerun.VideoStream
        self._recording.log(entity, stream(codec=self._rerun.VideoCodec.H264), static=True)
        self._send(entity, range(len(packets)), stream.columns(sample=packets))

    def _send_series(self, entity: str, labels: Sequence[str], values: np.ndarray | None) -> None:
        if values is None or not labels:
            return
        lines = self._rerun.SeriesLines(names=list(labels))
        self._recording.log(entity, lines, static=True)
        numbers = self._rerun.Scalars.columns(scalars=values.astype(np.float64))
        self._send(entity, range(len(values)), numbers)

    def _send_events(self) -> None:
        story = self._story
        steps = [min(note.begin_step, story.last_step) for note in story.annotations]
        self._send_texts("annotations", steps, [_told_note(n, story) for n in story.annotations])
        texts = [_told_verdict(v, counts=v is story.standing) for v in story.verdicts]
        self._send_texts("verdicts", [story.last_step] * len(texts), texts)

    def _send_texts(self, entity: str, steps: Sequence[int], texts: Sequence[str]) -> None:
        if texts:
            self._send(entity, steps, self._rerun.TextLog.columns(text=texts))

    def _send(self, entity: str, steps: Sequence[int], columns: Any) -> None:
        """Send a row for each of some steps."""
        times_ns = np.array([self._story.time_ns(step) for step in steps])
        within_ns = times_ns - self._story.begin_ns
        line = self._rerun.TimeColumn
        lines = [
            line("time", timestamp=times_ns.astype("datetime64[ns]")),
            line("time_in_episode", duration=within_ns.astype("timedelta64[ns]")),
            line("step", sequence=steps),
        ]
        self._recording.send_columns(entity, lines, columns)


def _told_note(note: Annotation, story: EpisodeStory) -> str:
    last = (note.end_step or story.last_step + 1) - 1
    return _sentence(f"{note.label} ({note.author}, steps {note.begin_step} to {last})", note.text)


def _told_verdict(verdict: Verdict, *, counts: bool) -> str:
    place = f"{verdict.authority} {verdict.verifier}" + ("" if counts else ", does not count")
    return _sentence(f"{verdict.outcome} {verdict.score:g} ({place})", verdict.reason)


def _sentence(head: str, rest: str) -> str:
    return f"{head}: {rest}" if rest else head


def _labels(spec: VectorSpec) -> list[str]:
    pairs = zip(spec.names, spec.units, strict=True)
    return [f"{name} [{unit}]" if unit else name for name, unit in pairs]
