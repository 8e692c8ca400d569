"""LeRobot datasets, versions 2.0, 2.1 and 3.0, as episodes of a workspace.

An episode's id follows from its numbers, so importing a dataset again changes nothing, and
importing one that has grown adds what is new. Damaged episodes are named and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from loopwright.core.digest import digest_json
from loopwright.core.episode import EpisodeHeader, Verdict
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.scenario import WorldStep, split_seed
from loopwright.store.episodes import EpisodeReader, EpisodeWriter
from loopwright.store.exchange import lerobot_layout as layout
from loopwright.store.exchange.lerobot_rows import RowReader, Rows, film_frames, table_images
from loopwright.store.exchange.lerobot_source import Entry, Feature, Source, open_source
from loopwright.store.workspace import Workspace

VERIFIER = "lerobot-dataset/1"
_SMALLEST_PX = 16
_LONGEST_NAME = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DamagedEntry:
    """An episode that was not imported."""

    episode: int | None
    """Its index in the dataset; None if not even that could be read."""
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import has done."""

    scenario: str
    episodes: tuple[str, ...]
    """Ids in the order of the dataset, those that were there before too."""
    added: int
    """How many of them are new."""
    steps: int
    damaged: tuple[DamagedEntry, ...] = ()
    notes: tuple[str, ...] = ()
    """What was changed or left out on the way, one sentence each."""


def import_lerobot(
    folder: Path,
    workspace: Workspace,
    *,
    scenario: str | None = None,
    progress: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Imported:
    """Record the episodes of a LeRobot dataset as demonstrations.

    Cameras get legal names, units stay empty where the dataset does not know them, ranges are
    those of the numbers. If episodes of the scenario are there whose interface differs in ranges
    only, theirs is kept, so that old and new ones train together. Images with odd sides are
    padded by repeating their edge. A success column becomes an operator's verdict.

    Args:
        folder: The dataset; it holds ``meta/info.json``.
        workspace: Where to.
        scenario: Id of the scenario; ``lerobot/`` and the folder's name by default.
        progress: Wraps the episodes' indices, to show how far it is.

    Raises:
        InvalidConfig: It is no LeRobot dataset, of a version that is not read, or without actions.
        DamagedData: What describes all episodes is damaged.
        StorageError: The operating system refused.
    """
    folder = Path(folder).resolve()
    source = open_source(folder)
    scenario = scenario or f"lerobot/{_legal(folder.name)}"
    cameras = _cameras(source)
    reader = RowReader(source)
    surveyed, damaged = _survey(source, reader)
    damaged = [DamagedEntry(episode=index, reason=text) for index, text in source.damaged] + damaged
    if not surveyed.entries:
        return Imported(scenario=scenario, episodes=(), added=0, steps=0, damaged=tuple(damaged))
    interface, notes = _interface(source, cameras, surveyed)
    interface, kept = _kept(workspace, scenario, interface)
    notes = [*_left_out(source, cameras, reader), *notes, *kept]
    recorder = _Recorder(workspace, source, reader, cameras, interface, scenario)
    ids: list[str] = []
    for index in progress([entry.index for entry in surveyed.entries]):
        entry = surveyed.by_index[index]
        try:
            ids.append(recorder.record(entry))
        except DamagedData as error:
            damaged.append(DamagedEntry(episode=index, reason=str(error)))
    return Imported(
        scenario=scenario,
        episodes=tuple(ids),
        added=recorder.added,
        steps=recorder.steps,
        damaged=tuple(sorted(damaged, key=lambda d: -1 if d.episode is None else d.episode)),
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Survey:
    """What a first look at every row has shown."""

    entries: tuple[Entry, ...]
    """Those whose rows are sound."""
    ranges: Mapping[str, tuple[np.ndarray, np.ndarray]]
    """Least and greatest values of the state and the action."""

    @property
    def by_index(self) -> dict[int, Entry]:
        return {entry.index: entry for entry in self.entries}


class _Recorder:
    """Records one entry after the other."""

    def __init__(
        self,
        workspace: Workspace,
        source: Source,
        reader: RowReader,
        cameras: Mapping[str, Feature],
        interface: Interface,
        scenario: str,
    ) -> None:
        self.added = self.steps = 0
        self._workspace, self._source, self._reader = workspace, source, reader
        self._cameras, self._interface, self._scenario = cameras, interface, scenario
        self._writer = EpisodeWriter(workspace)

    def record(self, entry: Entry) -> str:
        """Record an episode, unless it is there, and return its id."""
        rows = self._reader.read(entry)
        header = self._header(entry, rows)
        if self._workspace.ledger.episode(header.id) is None:
            self._film(entry, rows, header)
            self.added += 1
        verdict = _verdict(header, entry, rows)
        if verdict is not None:
            self._workspace.ledger.add_verdict(verdict)
        self.steps += entry.num_steps
        return header.id

    def _header(self, entry: Entry, rows: Rows) -> EpisodeHeader:
        named = self._source.tasks.get(rows.task) if rows.task is not None else None
        instruction = named if named is not None else next(iter(entry.tasks), "")
        return EpisodeHeader(
            scenario=self._scenario,
            kind="demo",
            seed=split_seed("train", entry.index),
            start={},
            instruction=instruction,
            body=self._source.body,
            interface=self._interface,
            evidence=self._reader.evidence,
            behaviour=f"recorded {rows.digest[:16]}",
        )

    def _film(self, entry: Entry, rows: Rows, header: EpisodeHeader) -> None:
        self._writer.on_begin(header)
        try:
            frames = {name: self._frames(entry, rows, name) for name in self._cameras}
            for t in range(entry.num_steps):
                observation = Observation(
                    images={name: next(images) for name, images in frames.items()},
                    proprio=rows.proprio[t],
                    instruction=header.instruction,
                    time_s=float(rows.time_s[t]),
                )
                step = WorldStep(
                    observation=observation, evidence=rows.evidence[t], applied=rows.applied[t]
                )
                self._writer.on_step(observation, rows.requested[t], step)
            self._writer.on_end(None)
            self._writer.commit()
        finally:
            self._writer.discard()

    def _frames(self, entry: Entry, rows: Rows, camera: str) -> Iterator[np.ndarray]:
        feature = self._cameras[camera]
        size_px = feature.image_size_px
        if feature.dtype == "video":
            images = film_frames(
                entry.films[feature.key], rows.timestamp_s, size_px=size_px, fps=self._source.fps
            )
        else:
            first = self._reader.first_row(entry)
            place = slice(first, first + entry.num_steps)
            images = table_images(entry.data, feature.key, place, size_px)
        return map(_padded, images)


def _survey(source: Source, reader: RowReader) -> tuple[_Survey, list[DamagedEntry]]:
    """Look at the rows of every episode; their statistics in ``meta`` are not trusted."""
    good: list[Entry] = []
    damaged: list[DamagedEntry] = []
    extremes: list[tuple[np.ndarray, ...]] = []
    for entry in source.entries:
        try:
            rows = reader.read(entry)
        except DamagedData as error:
            damaged.append(DamagedEntry(episode=entry.index, reason=str(error)))
            continue
        good.append(entry)
        actions = np.concatenate([rows.applied, rows.requested])
        extremes.append((rows.proprio.min(0), rows.proprio.max(0), actions.min(0), actions.max(0)))
    ranges = {}
    if extremes:
        lows_p, highs_p, lows_a, highs_a = (np.stack(part) for part in zip(*extremes, strict=True))
        ranges = {
            layout.STATE: (lows_p.min(0), highs_p.max(0)),
            layout.ACTION: (lows_a.min(0), highs_a.max(0)),
        }
    return _Survey(entries=tuple(good), ranges=ranges), damaged


def _cameras(source: Source) -> dict[str, Feature]:
    """Return the colour cameras under names that are legal here."""
    action = source.features.get(layout.ACTION)
    if action is None or not action.is_vector:
        raise InvalidConfig(
            f"{source.folder} has no feature {layout.ACTION!r} of one dimension; demonstrations "
            "need actions, one vector a step"
        )
    cameras: dict[str, Feature] = {}
    for key, feature in source.features.items():
        if feature.is_camera and feature.channels == 3:
            wanted = name = _legal(key.removeprefix(layout.IMAGES).removeprefix("observation."))
            number = 2
            while name in cameras:
                name, number = f"{wanted}-{number}", number + 1
            cameras[name] = feature
    return cameras


def _legal(text: str) -> str:
    """Return a name that can be a file's, as near as possible to ``text``."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", text)[:_LONGEST_NAME]
    return name if re.search(r"[0-9A-Za-z]", name) else "unnamed"


def _interface(
    source: Source, cameras: Mapping[str, Feature], survey: _Survey
) -> tuple[Interface, list[str]]:
    """Return the interface of the dataset, and what had to be changed for it."""
    specs, notes = [], []
    for name, feature in cameras.items():
        height, width = feature.image_size_px
        even = _even(height), _even(width)
        specs.append(CameraSpec(name=name, height_px=even[0], width_px=even[1]))
        if even != (height, width):
            notes.append(
                f"images of {name!r} are padded from {height}x{width} to {even[0]}x{even[1]} px by "
                "repeating their edge: films need even sides of at least 16 px"
            )
        if name != feature.key.removeprefix(layout.IMAGES):
            notes.append(f"camera {feature.key!r} is called {name!r} here")
    vectors = {
        key: _spec(source.features.get(key), survey.ranges[key])
        for key in (layout.STATE, layout.ACTION)
    }
    interface = Interface(
        cameras=tuple(specs),
        proprio=vectors[layout.STATE],
        action=vectors[layout.ACTION],
        rate_hz=source.fps,
    )
    own = _own_interface(source, interface)
    return (own, notes) if own is not None else (interface, notes)


def _spec(feature: Feature | None, found: tuple[np.ndarray, np.ndarray]) -> VectorSpec:
    low, high = found
    names = feature.names if feature is not None else ()
    if len(names) != len(low) or len(set(names)) != len(names):
        stem = feature.key.removeprefix("observation.") if feature is not None else ""
        names = tuple(f"{stem}_{i}" for i in range(len(low)))
    return VectorSpec(
        names=names,
        units=("",) * len(low),
        low=tuple(map(float, low)),
        high=tuple(map(float, high)),
    )


def _own_interface(source: Source, read: Interface) -> Interface | None:
    """Return the interface that our export left in the dataset, if it is of this dataset."""
    try:
        own = Interface.from_json(source.extras["interface"])
        return own if _shape(own, units=False) == _shape(read, units=False) else None
    except (KeyError, TypeError, ValueError, AttributeError, InvalidConfig):
        return None


def _kept(workspace: Workspace, scenario: str, read: Interface) -> tuple[Interface, list[str]]:
    """Return the interface of the scenario's episodes, if it differs in ranges only."""
    rows = workspace.ledger.episodes(scenario=scenario)
    if not rows:
        return read, []
    there = EpisodeReader(workspace).header(rows[-1].id).interface
    if _shape(there) != _shape(read):
        return read, [
            f"the episodes of {scenario} that are there have another interface; "
            "they and the new ones cannot train together"
        ]
    wider = [
        name
        for kept, new in ((there.proprio, read.proprio), (there.action, read.action))
        for name, *ends in zip(new.names, kept.low, new.low, kept.high, new.high, strict=True)
        if ends[1] < ends[0] or ends[3] > ends[2]
    ]
    if wider:
        return there, [
            f"the ranges of the episodes that are there are kept, though {', '.join(wider[:5])} "
            "now go further; import into a new workspace to have them wider"
        ]
    return there, []


def _shape(interface: Interface, *, units: bool = True) -> Interface:
    """Return the interface without its ranges (and units): what must agree to be the same."""

    def bare(spec: VectorSpec) -> VectorSpec:
        zeros = (0.0,) * spec.size
        kept = spec.units if units else ("",) * spec.size
        return replace(spec, units=kept, low=zeros, high=zeros)

    return replace(interface, proprio=bare(interface.proprio), action=bare(interface.action))


def _left_out(source: Source, cameras: Mapping[str, Feature], reader: RowReader) -> list[str]:
    used = {feature.key for feature in cameras.values()} | set(reader.evidence)
    used |= {layout.STATE, layout.ACTION, layout.REQUESTED, layout.TIME, "timestamp"}
    used |= {"frame_index", "episode_index", "index", "task_index"}
    unused = sorted(set(source.features) - used)
    notes = [f"these features have no place here and are left out: {', '.join(unused)[:500]}"]
    return notes if unused else []


def _verdict(header: EpisodeHeader, entry: Entry, rows: Rows) -> Verdict | None:
    """Return what the dataset says about success, if it says anything."""
    if layout.SUCCESS in header.evidence:
        column = rows.evidence[:, header.evidence.index(layout.SUCCESS)]
        success, place = bool((column > 0).any()), layout.SUCCESS
    elif entry.success is not None:
        success, place = entry.success, "meta/episodes"
    else:
        return None
    return Verdict(
        episode=header.id,
        outcome="success" if success else "failure",
        score=float(success),
        verifier=VERIFIER,
        evidence_digest=digest_json({"place": place, "success": success, "rows": rows.digest}),
        reason=f"so says {place} of the dataset",
        authority="operator",
    )


def _even(side_px: int) -> int:
    return max(_SMALLEST_PX, side_px + side_px % 2)


def _padded(image: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    missing = (_even(height) - height, _even(width) - width)
    if not any(missing):
        return image
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
