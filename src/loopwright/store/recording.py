"""Recording: an episode is streamed to ``staging/`` and appears under its id when it is whole."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from loopwright.core.digest import canonical_json, digest_file
from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.errors import (
    ContractError,
    DamagedData,
    InvalidConfig,
    StorageError,
    WorldError,
)
from loopwright.core.interface import Observation
from loopwright.core.scenario import WorldStep
from loopwright.store.crashpoints import reach
from loopwright.store.durable import make_folder, publish, storing, try_lock
from loopwright.store.episode_files import (
    DESCRIPTION,
    TABLE,
    UNREADABLE,
    DamagedEpisode,
    describe,
    film_name,
    header_from_json,
    index_folder,
    quarantine_episode,
    read_description,
)
from loopwright.store.ledger import EpisodeRow
from loopwright.store.table import read_rows, row_type, write_table
from loopwright.store.video import FilmWriter
from loopwright.store.workspace import Workspace

HEADER = "header.json"
ROWS = "rows.bin"
_NAME = re.compile(r"[0-9a-f]{20}-[0-9a-f]{8}")
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST}


class EpisodeWriter:
    """A subscriber of the control loop that records one episode after another.

    Each step is with the operating system once the next one is (the film format wants to know how
    long a frame lasts), so a recorder that is killed loses one step. An episode that ends early
    is committed at once, marked with the reason; one that ends well waits for :meth:`commit` or
    :meth:`discard`.
    """

    def __init__(self, workspace: Workspace) -> None:
        """Record into ``workspace``."""
        self._workspace = workspace
        self._recording: _Recording | None = None
        self._row: EpisodeRow | None = None

    def on_begin(self, header: EpisodeHeader) -> None:
        """Begin to record.

        Raises:
            ContractError: The last episode is neither committed nor discarded.
            StorageError: The operating system refused.
        """
        if self._recording is not None:
            raise ContractError(
                f"episode {self._recording.header.id} is still open; commit or discard it first"
            )
        self._row = None
        self._recording = _Recording(self._workspace, header)

    def on_step(self, observation: Observation, requested: np.ndarray, step: WorldStep) -> None:
        """Record one step.

        Raises:
            StorageError: The operating system refused.
        """
        values = {
            "time_s": observation.time_s,
            "proprio": observation.proprio,
            "requested": requested,
            "applied": step.applied,
            "evidence": step.evidence,
        }
        self._open().append(observation.images, values)

    def on_end(self, censored: str | None) -> None:
        """End the recording; one that was cut short is committed as such."""
        recording = self._open()
        try:
            if recording.is_torn:
                self._leave()
                return
            recording.finish()
            if censored is not None and recording.num_steps:
                self._row = recording.commit(censored)
        except StorageError:
            self._leave()
            raise
        if censored is not None:
            self.discard()

    def commit(self) -> EpisodeRow:
        """Make the episode appear, whole and durable, and return its entry in the index.

        If an episode of that id is there already, that one stays and is returned.

        Raises:
            WorldError: Nothing was recorded.
            StorageError: The operating system refused.
        """
        if self._row is None:
            recording = self._open()
            if not recording.num_steps:
                raise WorldError("nothing was recorded: the episode has no step")
            self._row = recording.commit(None)
            self._recording = None
        return self._row

    def discard(self) -> None:
        """Forget what was recorded since the last commit; idempotent."""
        if self._recording is not None:
            self._recording.discard()
            self._recording = None

    def _leave(self) -> None:
        """Leave what there is in staging, for the next start to salvage."""
        self._open().release()
        self._recording = None

    def _open(self) -> _Recording:
        if self._recording is None:
            raise ContractError("no episode is being recorded; on_begin comes first")
        return self._recording


def write_episode(workspace: Workspace, episode: Episode) -> EpisodeRow:
    """Commit an episode that is in memory; the films are lossy, so read it back for training.

    Raises:
        StorageError: The operating system refused.
    """
    recording = _Recording(workspace, episode.header)
    try:
        for t in range(episode.num_steps):
            images = {camera: frames[t] for camera, frames in episode.images.items()}
            names = row_type(episode.header).names or ()
            recording.append(images, {name: getattr(episode, name)[t] for name in names})
        recording.finish()
        return recording.commit(episode.header.censored)
    except BaseException:
        recording.discard()
        raise


def commit_folder(workspace: Workspace, folder: Path, header: EpisodeHeader) -> EpisodeRow:
    """Turn a staged folder, whose films are whole and synced, into a committed episode.

    Raises:
        StorageError: The operating system refused.
    """
    if not is_described(folder):
        rows = read_rows(folder / ROWS, header)
        with storing(folder):
            write_table(folder / TABLE, rows)
            reach("recording.table_stored")
            describe(folder, header, len(rows))
    return publish_folder(workspace, folder)


def is_described(folder: Path) -> bool:
    """Tell whether a staged folder holds an episode to which only its place is missing."""
    try:
        files = read_description(folder).files
    except DamagedEpisode:
        return False
    return all((folder / n).exists() and digest_file(folder / n) == d for n, d in files.items())


def publish_folder(workspace: Workspace, folder: Path) -> EpisodeRow:
    """Move a described folder to its place and index it; what is there already stays.

    Raises:
        StorageError: The operating system refused.
    """
    description = read_description(folder)
    final = workspace.episodes_folder / description.id
    with storing(final):
        for path in folder.iterdir():
            if path.name != DESCRIPTION and path.name not in description.files:
                path.unlink()  # what only the recorder needed
        if not _published(folder, final):
            try:
                row = index_folder(workspace, final)
            except DamagedEpisode as error:
                quarantine_episode(workspace, final.name, str(error))
                _published(folder, final)
            else:
                shutil.rmtree(folder)
                return row
    return index_folder(workspace, final)


def _published(folder: Path, final: Path) -> bool:
    try:
        publish(folder, final, "episode")
    except OSError as error:
        if error.errno not in _NOT_EMPTY:
            raise
        return False
    return True


def recordings_folder(workspace: Workspace) -> Path:
    """Return where recordings under way lie."""
    return workspace.staging_folder / "recordings"


def read_header(folder: Path) -> EpisodeHeader:
    """Read the header of a recording under way.

    Raises:
        DamagedData: It is missing or cannot be read.
    """
    try:
        header = header_from_json(json.loads((folder / HEADER).read_bytes()))
        identity = header.id
    except (*UNREADABLE, InvalidConfig) as error:
        raise DamagedData(f"{folder / HEADER} cannot be read: {error!r}") from error
    # The folder was named after the header: the one check there is before it is committed.
    if _NAME.fullmatch(folder.name) and not folder.name.startswith(f"{identity}-"):
        raise DamagedData(f"{folder / HEADER} was changed: it is that of {identity} by now")
    return header


class _Recording:
    """One recording under way: a locked folder with a row file and a film per camera."""

    def __init__(self, workspace: Workspace, header: EpisodeHeader) -> None:
        self.header = header
        self.num_steps = 0
        self.is_torn = False
        """A step was begun and not finished: films and rows may differ in length."""
        self._workspace = workspace
        self._row_type = row_type(header)
        self._films: dict[str, FilmWriter] = {}
        self._open_files = ExitStack()
        with storing(recordings_folder(workspace)):
            make_folder(recordings_folder(workspace))
            self._folder, lock = _locked_folder(recordings_folder(workspace), header.id)
            self._open_files.callback(os.close, lock)
            try:
                self._begin(header)
            except BaseException:
                self.discard()
                raise
        reach("recording.begun")

    def _begin(self, header: EpisodeHeader) -> None:
        (self._folder / HEADER).write_bytes(canonical_json(header.to_json()))
        self._rows = self._open_files.enter_context((self._folder / ROWS).open("xb", buffering=0))
        for camera in header.interface.cameras:
            film = FilmWriter(
                self._folder / film_name(camera.name),
                height_px=camera.height_px,
                width_px=camera.width_px,
                rate_hz=header.interface.rate_hz,
            )
            self._open_files.callback(film.abandon)
            self._films[camera.name] = film

    def append(self, images: Mapping[str, np.ndarray], values: Mapping[str, object]) -> None:
        self.is_torn = True
        row = np.zeros((), self._row_type)
        for name in self._row_type.names or ():
            row[name] = values[name]
        with storing(self._folder):
            for camera, film in self._films.items():
                film.write(images[camera])
            reach("recording.step_filmed")
            self._write_row(row.tobytes())
        self.num_steps += 1
        self.is_torn = False
        reach("recording.step_stored")

    def finish(self) -> None:
        with storing(self._folder):
            for film in self._films.values():
                film.close()
        reach("recording.films_closed")

    def commit(self, censored: str | None) -> EpisodeRow:
        header = replace(self.header, censored=censored)
        row = commit_folder(self._workspace, self._folder, header)
        self.release()
        return row

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Close every file and let the lock go; what is on disk stays."""
        self._open_files.close()

    def _write_row(self, data: bytes) -> None:
        """Write a whole record; an unbuffered file may take less of it at a time."""
        written = self._rows.write(data) or 0
        while written < len(data):
            written += self._rows.write(data[written:]) or 0


def _locked_folder(parent: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder and take its lock, which tells a recovery that someone works on it."""
    while True:
        folder = parent / f"{prefix}-{os.urandom(4).hex()}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        # A recovery may have been faster and taken it for an abandoned one.
        if try_lock(descriptor) and folder.exists():
            return folder, descriptor
        os.close(descriptor)
