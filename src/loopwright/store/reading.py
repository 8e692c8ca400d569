"""Reading episodes: every byte is checked against its digest before anything is made of it."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loopwright.core.digest import digest_bytes
from loopwright.core.episode import Episode, EpisodeHeader
from loopwright.core.errors import DamagedData
from loopwright.core.interface import CameraSpec
from loopwright.store.episode_files import (
    TABLE,
    DamagedEpisode,
    Description,
    film_name,
    is_episode_id,
    read_description,
    read_regular_file,
)
from loopwright.store.table import read_table
from loopwright.store.video import Film, read_film
from loopwright.store.workspace import Workspace


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecoded:
    """An episode whose every byte was checked, but none of whose films was decoded."""

    description: Description
    series: Episode
    """Everything but the images."""
    films: Mapping[str, bytes]
    """Camera name to the content of its file."""


class EpisodeReader:
    """Reads many episodes of a workspace; keeps the decoders of the last films open.

    Not to be shared by threads.
    """

    def __init__(self, workspace: Workspace, *, open_films: int = 64) -> None:
        """Read from ``workspace``.

        Args:
            workspace: Where the episodes are.
            open_films: How many films :meth:`frames` keeps open, with their bytes.
        """
        self._workspace = workspace
        self._open_films = open_films
        self._films: OrderedDict[tuple[str, str], Film] = OrderedDict()

    def header(self, episode_id: str) -> EpisodeHeader:
        """Return the header of an episode, checked.

        Raises:
            DamagedEpisode: It is missing or damaged.
        """
        return self._description(episode_id).header

    def read(self, episode_id: str) -> Episode:
        """Return an episode, whole.

        Raises:
            DamagedEpisode: A file of it is missing or damaged; the message names it.
            ContractError: It is a video that carries more than images and times.
        """
        description = self._description(episode_id)
        header = description.header
        columns = self._columns(description)
        with _of_episode(episode_id):
            images = {
                camera.name: self._all_frames(description, camera)
                for camera in header.interface.cameras
            }
        return Episode(header=header, images=images, **columns)

    def read_undecoded(self, episode_id: str) -> Undecoded:
        """Return an episode with its films as they are, for whoever copies them.

        Raises:
            DamagedEpisode: A file of it is missing or damaged; the message names it.
            ContractError: It is a video that carries more than images and times.
        """
        description = self._description(episode_id)
        columns = self._columns(description)
        names = [camera.name for camera in description.header.interface.cameras]
        return Undecoded(
            description=description,
            series=Episode(header=description.header, images={}, **columns),
            films={name: self._bytes(description, film_name(name)) for name in names},
        )

    def frames(self, episode_id: str, camera: str, indices: Sequence[int]) -> np.ndarray:
        """Return single frames of one camera, uint8 ``(len(indices), H, W, 3)``.

        Raises:
            DamagedEpisode: The film is missing or damaged.
            InvalidConfig: There is no such frame.
        """
        key = (episode_id, camera)
        film = self._films.pop(key, None)
        if film is None:
            name = film_name(camera)
            data = self._bytes(self._description(episode_id), name)
            with _of_episode(episode_id):
                film = Film(io.BytesIO(data), str(self._path(episode_id, name)))
        self._films[key] = film
        if len(self._films) > self._open_films:
            self._films.popitem(last=False)[1].close()
        with _of_episode(episode_id):
            return film.frames(indices)

    def close(self) -> None:
        """Release the decoders; idempotent."""
        for film in self._films.values():
            film.close()
        self._films.clear()

    def _description(self, episode_id: str) -> Description:
        if not is_episode_id(episode_id):
            raise DamagedEpisode(episode_id, "that is no name of an episode; nothing is read")
        row = self._workspace.ledger.episode(episode_id)
        folder = self._workspace.episodes_folder / episode_id
        return checked_description(folder, row.digest if row is not None else None)

    def _bytes(self, description: Description, name: str) -> bytes:
        path = self._path(description.id, name)
        try:
            data = read_regular_file(path)
        except FileNotFoundError as error:
            raise DamagedEpisode(description.id, f"{path} is missing") from error
        except OSError as error:
            raise DamagedEpisode(description.id, f"{path} cannot be read: {error}") from error
        except DamagedData as error:
            raise DamagedEpisode(description.id, str(error)) from error
        found = digest_bytes(data)
        if found != description.files[name]:
            raise DamagedEpisode(
                description.id,
                f"{path} ({len(data)} bytes) has the digest {found[:12]}, "
                f"expected {description.files[name][:12]}",
            )
        return data

    def _columns(self, description: Description) -> Mapping[str, np.ndarray]:
        path = str(self._path(description.id, TABLE))
        with _of_episode(description.id):
            columns = read_table(self._bytes(description, TABLE), description.header, path)
        if len(columns["time_s"]) != description.num_steps:
            raise DamagedEpisode(
                description.id,
                f"{path} has {len(columns['time_s'])} rows, expected {description.num_steps}",
            )
        return columns

    def _all_frames(self, description: Description, camera: CameraSpec) -> np.ndarray:
        name = film_name(camera.name)
        expected = (description.num_steps, camera.height_px, camera.width_px)
        path = self._path(description.id, name)
        return read_film(self._bytes(description, name), str(path), expected)

    def _path(self, episode_id: str, name: str) -> Path:
        return self._workspace.episodes_folder / episode_id / name


@contextmanager
def _of_episode(episode_id: str) -> Iterator[None]:
    """Say of damage inside the block which episode has it."""
    try:
        yield
    except DamagedEpisode:
        raise
    except DamagedData as error:
        raise DamagedEpisode(episode_id, str(error)) from error


def checked_description(folder: Path, digest: str | None) -> Description:
    """Return the description of a committed episode; its files are not looked at.

    Args:
        folder: The episode's folder.
        digest: What the ledger has on record for it; None if it knows nothing of it.

    Raises:
        DamagedEpisode: It is missing, damaged, or that of another episode.
    """
    episode_id = folder.name
    if not folder.is_dir():
        raise DamagedEpisode(episode_id, f"{folder} is missing; record it again")
    description = read_description(folder)
    if digest is not None and digest == description.digest:
        return description
    if description.id != episode_id:
        raise DamagedEpisode(episode_id, f"{folder} holds the episode {description.id}")
    if digest is not None:
        raise DamagedEpisode(
            episode_id,
            f"{folder} has the digest {description.digest[:12]}, the ledger says {digest[:12]}",
        )
    return description


def read_episode(workspace: Workspace, episode_id: str) -> Episode:
    """Return one episode, whole and checked; see :meth:`EpisodeReader.read`."""
    return EpisodeReader(workspace).read(episode_id)
