"""Windows: the moments around a step, from any of many episodes, at the price of that moment.

::

    with WindowReader(
        workspace, snapshot.episodes,
        frame_offsets=(-1, 0), row_offsets=range(16), columns=("proprio", "applied"),
    ) as reader:
        window = reader.read(reader.locate(episode, 2.5))
        window.images["front"]      # uint8 (2, H, W, 3)
        window.columns["applied"]   # float32 (16, A)

How long the episodes are is asked of the ledger, once for all of them; no episode's file is touched
before one of its steps is read. Then its files are held against their digests, and decoders stay
open for the episodes that were read last.

Shapes: F frame offsets, R row offsets, H and W pixels of a camera.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from loopwright.core.errors import ContractError, DamagedData, InvalidConfig, UnknownName
from loopwright.core.interface import CameraSpec, Interface
from loopwright.store.checked_file import CheckedFile, Proof
from loopwright.store.episode_files import (
    TABLE,
    DamagedEpisode,
    Description,
    film_name,
    is_episode_id,
)
from loopwright.store.ledger import EpisodeRow
from loopwright.store.reading import checked_description
from loopwright.store.table import read_table
from loopwright.store.video import Film
from loopwright.store.window_order import shuffled_steps
from loopwright.store.workspace import Workspace

COLUMNS = ("time_s", "proprio", "requested", "applied", "evidence")
"""What there is to ask for; a ``video`` has the time only."""

_MOST_CHECKED = 20_000
"""Episodes whose description and checksums are remembered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What was seen and done around one step. Its arrays belong to the caller."""

    episode: str
    """Id of the episode."""
    step: int
    """The step that the offsets count from."""
    images: Mapping[str, np.ndarray]
    """Camera name to uint8 ``(F, H, W, 3)``."""
    columns: Mapping[str, np.ndarray]
    """Column name to ``(R, ...)``: ``time_s`` float64 ``(R,)``, ``proprio``, ``requested`` and
    ``applied`` float32, ``evidence`` float64."""
    frames_inside: np.ndarray
    """bool ``(F,)``: false where the offset leaves the episode and its end stands in."""
    rows_inside: np.ndarray
    """bool ``(R,)``, likewise."""


class WindowReader:
    """Reads windows of many episodes; every step of every episode is one, in order.

    Not to be shared by threads. It may be pickled or forked into worker processes: what travels
    is the index and the settings, the child opens files of its own, and the ledger is not needed
    there. Damaged data is never returned; :class:`DamagedEpisode` says whose it is.
    """

    def __init__(
        self,
        workspace: Workspace,
        episodes: Sequence[str],
        *,
        frame_offsets: Sequence[int] = (0,),
        row_offsets: Sequence[int] = (0,),
        cameras: Sequence[str] | None = None,
        columns: Sequence[str] = ("time_s",),
        open_episodes: int = 64,
    ) -> None:
        """Look the episodes up; no file of theirs is touched.

        Args:
            workspace: Where they are; not used any more once this returns.
            episodes: Their ids, each once.
            frame_offsets: Steps from the one asked for to each image, ``(-1, 0)``.
            row_offsets: Steps to each row of the columns, ``range(16)``.
            cameras: Which to look through; None for all that an episode has.
            columns: Which of :data:`COLUMNS` to read.
            open_episodes: How many episodes stay open, with a decoder for each camera.

        Raises:
            UnknownName: The ledger does not know an episode, or there is no such column.
            ContractError: More than the time is asked for, and one of the episodes is a video.
            InvalidConfig: An episode or camera is named twice, or nothing may stay open.
        """
        _check_settings(episodes, cameras, columns, open_episodes)
        rows = _rows(workspace, episodes)
        _refuse_columns_of_videos(rows, columns)
        self._folder = workspace.episodes_folder
        self._frame_offsets = np.asarray(frame_offsets, np.int64).reshape(-1)
        self._row_offsets = np.asarray(row_offsets, np.int64).reshape(-1)
        self._cameras = None if cameras is None else tuple(cameras)
        self._columns = tuple(columns)
        self._open_episodes = open_episodes
        self._digests = tuple(row.digest for row in rows)
        self._begins = np.concatenate([[0], np.cumsum([row.num_steps for row in rows])])
        """Index of each episode's first step, and the number of all steps."""
        self._places = {row.id: place for place, row in enumerate(rows)}
        self._ids = tuple(self._places)
        self._forget()

    def _forget(self) -> None:
        self._opened: OrderedDict[int, _OpenEpisode] = OrderedDict()
        self._checked: OrderedDict[int, _CheckedEpisode] = OrderedDict()
        self._interfaces: dict[Interface, Interface] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave open files behind."""
        left = ("_opened", "_checked", "_interfaces")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with no file open."""
        self.__dict__.update(state)
        self._forget()

    def __enter__(self) -> WindowReader:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def __len__(self) -> int:
        """Return the number of steps over all episodes."""
        return int(self._begins[-1])

    def __getitem__(self, index: int) -> Window:
        """Return :meth:`read` of an index; a wrong one ends an iteration."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.read(index)

    def __iter__(self) -> Iterator[Window]:
        """Go through all windows in order; every frame is decoded once."""
        return (self.read(index) for index in range(len(self)))

    @property
    def episodes(self) -> tuple[str, ...]:
        """Ids of the episodes, in order."""
        return self._ids

    def read(self, index: int) -> Window:
        """Return the window around a step.

        Args:
            index: Number of the step, counted over all episodes in order.

        Raises:
            DamagedEpisode: A file of the episode is missing or damaged; the message names it.
            InvalidConfig: There is no such step, or the episode lacks a camera.
        """
        place, step = self.place(index)
        episode = self._open(place)
        frames, frames_inside = _clipped(step + self._frame_offsets, episode.num_steps)
        rows, rows_inside = _clipped(step + self._row_offsets, episode.num_steps)
        try:
            images = {camera: episode.frames(camera, frames) for camera in episode.cameras}
            columns = {name: episode.columns[name][rows] for name in self._columns}
        except DamagedData as error:
            raise self._damaged(place, error) from error
        return Window(
            episode=self._ids[place],
            step=step,
            images=images,
            columns=columns,
            frames_inside=frames_inside,
            rows_inside=rows_inside,
        )

    def shuffled(self, seed: int, *, at_once: int = 32) -> Iterator[int]:
        """Return the index of every step once, in a random order that is cheap to read.

        ::

            for index in reader.shuffled(seed=epoch):
                window = reader.read(index)

        At any time the steps come from ``at_once`` episodes, so each is opened once and not, as in
        a wholly random order of many episodes, for nearly every step. The price is correlation:
        a batch holds steps of about ``at_once`` episodes, however many there are. Skip what an
        interrupted epoch had read (``itertools.islice``) to go on where it stopped.

        Args:
            seed: Names the order.
            at_once: Most episodes that have begun and not ended.

        Raises:
            InvalidConfig: None at once, or more than half of those that may stay open.
        """
        # The reader closes what was not read for longest; with room to spare that is a used-up one.
        most = max(1, self._open_episodes // 2)
        if not 1 <= at_once <= most:
            raise InvalidConfig(
                f"at_once is {at_once}; expected 1 to {most}, half of the {self._open_episodes} "
                "episodes that this reader keeps open (open_episodes)"
            )
        return shuffled_steps(self._begins.tolist(), at_once=at_once, seed=seed)

    def place(self, index: int) -> tuple[int, int]:
        """Return which episode (position in :attr:`episodes`) and which of its steps an index is.

        Raises:
            InvalidConfig: There is no such step.
        """
        if not 0 <= index < len(self):
            raise InvalidConfig(f"there is no step {index}; the episodes have {len(self)} steps")
        place = int(np.searchsorted(self._begins, index, side="right")) - 1
        return place, int(index - self._begins[place])

    def index(self, episode: str, step: int) -> int:
        """Return the index of an episode's step.

        Raises:
            UnknownName: The reader was not given that episode.
            InvalidConfig: The episode has no such step.
        """
        begin, end = self._range(episode)
        if not 0 <= step < end - begin:
            raise InvalidConfig(f"episode {episode} has {end - begin} steps, and no step {step}")
        return begin + step

    def locate(self, episode: str, time_s: float) -> int:
        """Return the index of the step nearest to a time; of two, the earlier one.

        Raises:
            UnknownName: The reader was not given that episode.
            InvalidConfig: The time is more than half a step before the first or after the last.
            DamagedEpisode: The episode's times cannot be read.
        """
        begin, _ = self._range(episode)
        opened = self._open(self._places[episode])
        try:
            times = opened.columns["time_s"]
        except DamagedData as error:
            raise self._damaged(self._places[episode], error) from error
        step = int(np.argmin(np.abs(times - time_s)))
        if not abs(times[step] - time_s) <= max(0.5 / opened.rate_hz, _longest_half(times)):
            raise InvalidConfig(
                f"episode {episode} goes from {times[0]:.3f} s to {times[-1]:.3f} s; "
                f"there is no step at {time_s:.3f} s"
            )
        return begin + step

    def close(self) -> None:
        """Close every file; the next read opens again. Idempotent."""
        for episode in self._opened.values():
            episode.close()
        self._opened.clear()

    def _range(self, episode: str) -> tuple[int, int]:
        place = self._places.get(episode)
        if place is None:
            raise UnknownName("episode", episode, self._places)
        return int(self._begins[place]), int(self._begins[place + 1])

    def _open(self, place: int) -> _OpenEpisode:
        episode = self._opened.pop(place, None)
        if episode is None:
            checked = self._check(place)
            wanted = self._cameras if len(self._frame_offsets) else ()
            episode = _OpenEpisode(checked, _cameras(checked.description, wanted))
        self._opened[place] = episode
        if len(self._opened) > self._open_episodes:
            self._opened.popitem(last=False)[1].close()
        return episode

    def _check(self, place: int) -> _CheckedEpisode:
        """Read an episode's description, or remember it from an earlier opening."""
        checked = self._checked.pop(place, None)
        if checked is None:
            identity = self._ids[place]
            if not is_episode_id(identity):
                raise DamagedEpisode(identity, "that is no name of an episode; nothing is read")
            folder = self._folder / identity
            description = checked_description(folder, self._digests[place])
            num_steps = int(self._begins[place + 1] - self._begins[place])
            if description.num_steps != num_steps:
                raise DamagedEpisode(
                    identity, f"it has {description.num_steps} steps, the ledger says {num_steps}"
                )
            checked = _CheckedEpisode(folder=folder, description=self._shared(description))
        self._checked[place] = checked
        if len(self._checked) > _MOST_CHECKED:
            self._checked.popitem(last=False)
        return checked

    def _shared(self, description: Description) -> Description:
        """Let equal interfaces be one: they are most of a description, and mostly equal."""
        header = description.header
        interface = self._interfaces.setdefault(header.interface, header.interface)
        return replace(description, header=replace(header, interface=interface))

    def _damaged(self, place: int, error: DamagedData) -> DamagedEpisode:
        """Name the episode, and let go of what was opened of it."""
        self._opened.pop(place).close()
        return DamagedEpisode(self._ids[place], str(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class _CheckedEpisode:
    """What is known of an episode that was opened once; a few KiB."""

    folder: Path
    description: Description
    proofs: dict[str, Proof] = field(default_factory=dict)
    """Of the files that were opened, by name."""

    def open(self, name: str) -> CheckedFile:
        """Open a file, all of which is read the first time and after a change."""
        digest = self.description.files[name]
        file = CheckedFile(self.folder / name, digest, self.proofs.get(name))
        self.proofs[name] = file.proof
        return file


class _OpenEpisode:
    """An episode whose files are opened when they are first asked for, and stay open."""

    def __init__(self, checked: _CheckedEpisode, cameras: Mapping[str, CameraSpec]) -> None:
        self.num_steps = checked.description.num_steps
        self.rate_hz = checked.description.header.interface.rate_hz
        self.cameras = cameras
        self._checked, self._folder = checked, checked.folder
        self._films: dict[str, Film] = {}
        self._files: dict[str, CheckedFile] = {}
        self._columns: Mapping[str, np.ndarray] | None = None
        self._recent: dict[str, dict[int, np.ndarray]] = {}

    @property
    def columns(self) -> Mapping[str, np.ndarray]:
        """Every column, ``(T, ...)``."""
        if self._columns is None:
            name = str(self._folder / TABLE)
            with self._checked.open(TABLE) as file:
                columns = read_table(file.read(), self._checked.description.header, name)
            if len(columns["time_s"]) != self.num_steps:
                raise DamagedData(
                    f"{name} has {len(columns['time_s'])} rows, expected {self.num_steps}"
                )
            self._columns = columns
        return self._columns

    def frames(self, camera: str, steps: np.ndarray) -> np.ndarray:
        """Return frames of a camera, uint8 ``(F, H, W, 3)``.

        Frames that the window before had too (of the next step, it often has) are not decoded
        again.
        """
        recent = self._recent.get(camera, {})
        missing = sorted({int(step) for step in steps} - recent.keys())
        found = dict(zip(missing, self._decoded(camera, missing), strict=True))
        images = {int(step): recent[step] if step in recent else found[step] for step in steps}
        self._recent[camera] = images
        return np.stack([images[int(step)] for step in steps])

    def _decoded(self, camera: str, steps: Sequence[int]) -> Sequence[np.ndarray]:
        if not steps:
            return ()
        try:
            frames = self._film(camera).frames(steps)
        except InvalidConfig as error:  # the film is shorter than the description says
            raise DamagedData(str(error)) from error
        spec = self.cameras[camera]
        if frames.shape[1:3] != (spec.height_px, spec.width_px):
            raise DamagedData(
                f"{self._folder / film_name(camera)} has frames of {frames.shape[1:3]} px, "
                f"expected {(spec.height_px, spec.width_px)}"
            )
        return list(frames)

    def _film(self, camera: str) -> Film:
        if camera not in self._films:
            name = film_name(camera)
            file = self._files[camera] = self._checked.open(name)
            film = self._films[camera] = Film(file, str(self._folder / name))
            film.check_length(self.num_steps)
        return self._films[camera]

    def close(self) -> None:
        for film in self._films.values():
            film.close()
        for file in self._files.values():
            file.close()


def _check_settings(
    episodes: Sequence[str],
    cameras: Sequence[str] | None,
    columns: Sequence[str],
    open_episodes: int,
) -> None:
    for kind, names in (("episode", episodes), ("camera", cameras or ()), ("column", columns)):
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            raise InvalidConfig(f"windows name each {kind} once, but {twice[:3]} come again")
    for name in columns:
        if name not in COLUMNS:
            raise UnknownName("column", name, COLUMNS)
    if open_episodes < 1:
        raise InvalidConfig(f"open_episodes is {open_episodes}; expected at least 1")


def _rows(workspace: Workspace, episodes: Sequence[str]) -> list[EpisodeRow]:
    known = workspace.ledger.episodes_by_id(episodes)
    for episode in episodes:
        if episode not in known:
            raise UnknownName("episode", episode, workspace.ledger.episode_ids())
    return [known[episode] for episode in episodes]


def _refuse_columns_of_videos(rows: Sequence[EpisodeRow], columns: Sequence[str]) -> None:
    asked = [name for name in columns if name != "time_s"]
    video = next((row.id for row in rows if row.kind == "video"), None)
    if asked and video is not None:
        raise ContractError(
            f"episode {video} is a video, which holds images and times only; it has no "
            f"{', '.join(asked)}. Ask for the column time_s, or leave the videos out"
        )


def _cameras(description: Description, wanted: Sequence[str] | None) -> dict[str, CameraSpec]:
    there = {camera.name: camera for camera in description.header.interface.cameras}
    for name in wanted or ():
        if name not in there:
            raise InvalidConfig(
                f"episode {description.id} has the cameras {sorted(there)}, "
                f"windows are to look through {name!r}"
            )
    return there if wanted is None else {name: there[name] for name in wanted}


def _clipped(steps: np.ndarray, num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps with the ends repeated, and which of them were inside."""
    return np.clip(steps, 0, num_steps - 1), (steps >= 0) & (steps < num_steps)


def _longest_half(times: np.ndarray) -> float:
    return float(np.diff(times).max(initial=0.0)) / 2
