"""An episode on disk: which files there are, what describes them, and what digest they have.

::

    episodes/<id>/
        episode.json    header, digest of every file, digest of the whole, when it was recorded
        data.parquet    a row per control step
        <camera>.mp4    a frame per control step
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopwright.core.digest import digest_file, digest_json
from loopwright.core.episode import SCHEMA_VERSION, EpisodeHeader
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.core.interface import VectorSpec
from loopwright.store.durable import make_folder, storing, write_text_file
from loopwright.store.ledger import EpisodeRow
from loopwright.store.recovery import Recovery

if TYPE_CHECKING:
    from loopwright.store.workspace import Workspace

DESCRIPTION = "episode.json"
TABLE = "data.parquet"
QUARANTINE = "quarantine"

_ID = re.compile(r"[0-9a-f]{20}(-[0-9a-f]{12})?")
_CUT_SHORT = re.compile(r"[0-9a-f]{20}-[0-9a-f]{12}")
_SEAL = "seal"
_KEYS = {"header", "num_steps", "files", "digest", "recorded_at", _SEAL}
_MOST_BYTES = 16 << 20
"""Longest description that is read; a real one has a few kilobytes."""
_LARGEST_INTEGER = 2**63 - 1


class DamagedEpisode(DamagedData):
    """Files of an episode are missing or are not what was committed."""

    def __init__(self, episode: str, message: str) -> None:
        """Keep the episode's id beside the message, so that it can be quarantined."""
        super().__init__(f"episode {episode}: {message}")
        self.episode = episode


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What ``episode.json`` says."""

    header: EpisodeHeader
    num_steps: int
    files: Mapping[str, str]
    """File name to SHA-256."""
    recorded_at: str
    """Wall clock, UTC. Not part of the digest: the same start gives the same episode."""

    @property
    def digest(self) -> str:
        """SHA-256 over the header and every file."""
        return digest_json({"header": self.header.to_json(), "files": self.files})

    @property
    def id(self) -> str:
        """Name of the episode's folder.

        That of a censored one ends in its digest: it must not take the place of the whole one,
        which a repeated collection will record under the header's id.
        """
        if self.header.censored is None:
            return self.header.id
        return f"{self.header.id}-{self.digest[:12]}"

    def row(self) -> EpisodeRow:
        """Return the entry for the ledger's index."""
        return EpisodeRow(
            id=self.id,
            digest=self.digest,
            kind=self.header.kind,
            scenario=self.header.scenario,
            seed=self.header.seed,
            start=dict(self.header.start),
            candidate=self.header.candidate,
            num_steps=self.num_steps,
            censored=self.header.censored,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data that :func:`read_description` reads back.

        The digest covers what makes it this episode, the seal covers the rest.
        """
        return {
            "header": self.header.to_json(),
            "num_steps": self.num_steps,
            "files": dict(self.files),
            "digest": self.digest,
            "recorded_at": self.recorded_at,
            _SEAL: _seal(self.num_steps, self.recorded_at),
        }


def is_episode_id(name: str) -> bool:
    """Tell whether a name can be that of an episode; no such name leads out of a folder."""
    return _ID.fullmatch(name) is not None


def film_name(camera: str) -> str:
    """Return the name of a camera's file."""
    return f"{camera}.mp4"


def file_names(header: EpisodeHeader) -> list[str]:
    """Return the files that an episode must have besides its description."""
    return [TABLE, *(film_name(camera.name) for camera in header.interface.cameras)]


def describe(folder: Path, header: EpisodeHeader, num_steps: int) -> Description:
    """Digest the files of a folder and write their description beside them."""
    description = Description(
        header=header,
        num_steps=num_steps,
        files={name: digest_file(folder / name) for name in file_names(header)},
        recorded_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    text = json.dumps(description.to_json(), indent=1, ensure_ascii=False)
    write_text_file(folder / DESCRIPTION, text + "\n", "description")
    return description


def read_description(folder: Path) -> Description:
    """Read what :func:`describe` wrote; the files themselves are not looked at.

    Raises:
        DamagedEpisode: It is missing, cannot be read, or is not what was written.
    """
    name, path = folder.name, folder / DESCRIPTION
    try:
        data = json.loads(read_regular_file(path, most_bytes=_MOST_BYTES))
        _check_seal(data)
        description = Description(
            header=header_from_json(data["header"]),
            num_steps=data["num_steps"],
            files=data["files"],
            recorded_at=data["recorded_at"],
        )
        _check_types(description)
        digest = description.digest
    except FileNotFoundError as error:
        raise DamagedEpisode(name, f"{path} is missing") from error
    except (DamagedData, InvalidConfig) as error:
        raise DamagedEpisode(name, f"{path} cannot be read: {error}") from error
    except UNREADABLE as error:
        raise DamagedEpisode(name, f"{path} cannot be read: {error!r}") from error
    if digest != data.get("digest"):
        raise DamagedEpisode(name, f"{path} was changed: its digest is {digest[:12]} by now")
    if set(description.files) != set(file_names(description.header)):
        raise DamagedEpisode(
            name,
            f"{path} names the files {sorted(description.files)}, "
            f"expected {file_names(description.header)}",
        )
    return description


UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What comes of making a header of JSON that once was none, besides our own errors."""


def header_from_json(data: Any) -> EpisodeHeader:
    """Make a header of plain data that may hold anything.

    Raises:
        InvalidConfig: A value is impossible.
        Exception: One of :data:`UNREADABLE`.
    """
    header = EpisodeHeader.from_json(data)
    _check_header(header)
    return header


def read_regular_file(path: Path, *, most_bytes: int | None = None) -> bytes:
    """Return the bytes of a plain file; a link, a pipe or a device is not followed or opened.

    Raises:
        DamagedData: It is something else, or longer than ``most_bytes``.
        OSError: The operating system refused.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise DamagedData(f"{path} is no plain file; a link or special file is not read")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most_bytes is not None and size > most_bytes:
            raise DamagedData(f"{path} has {size} bytes, expected {most_bytes} at most")
        return file.read()


def is_cut_short(episode_id: str) -> bool:
    """Tell whether an id is that of an episode that was cut short (see :attr:`Description.id`)."""
    return _CUT_SHORT.fullmatch(episode_id) is not None


def cause_of(episode_id: str) -> str:
    """Return the header's id of an episode, which a whole one and those cut short share."""
    return episode_id.partition("-")[0] if is_cut_short(episode_id) else episode_id


def _seal(num_steps: int, recorded_at: str) -> str:
    return digest_json([num_steps, recorded_at])


def _check_seal(data: Mapping[str, Any]) -> None:
    if strange := sorted(set(data) - _KEYS):
        raise ValueError(f"it has the keys {strange}, which no description has")
    # One that was written before there were seals has none.
    if _SEAL in data and data[_SEAL] != _seal(data["num_steps"], data["recorded_at"]):
        raise ValueError("it was changed: its seal does not fit")


def _check_types(description: Description) -> None:
    """Raise ValueError unless every value beside the header is of the type once written."""
    num_steps = description.num_steps
    _expect("num_steps", _is_integer(num_steps) and num_steps > 0, num_steps)
    for text in (description.recorded_at, *description.files.values()):
        _expect("a text", isinstance(text, str), text)


def _check_header(header: EpisodeHeader) -> None:
    """Raise ValueError unless every value of a header is of the type once written."""
    interface = header.interface
    _expect("schema_version", header.schema_version == SCHEMA_VERSION, header.schema_version)
    for camera in interface.cameras:
        for side_px in (camera.height_px, camera.width_px):
            _expect("the side of an image", _is_integer(side_px), side_px)
    _expect("seed", _is_integer(header.seed), header.seed)
    _expect("rate_hz", 0 < interface.rate_hz < math.inf, interface.rate_hz)
    texts: list[object] = [header.scenario, header.instruction, header.body, header.behaviour]
    texts += [
        text
        for text in (header.candidate, header.censored, header.scenario_code)
        if text is not None
    ]
    texts += [*header.evidence, *_texts(interface.proprio), *_texts(interface.action)]
    for text in texts:
        _expect("a text", isinstance(text, str), text)


def _texts(vector: VectorSpec) -> Iterable[object]:
    return (*vector.names, *vector.units)


def _is_integer(value: object) -> bool:
    return type(value) is int and abs(value) <= _LARGEST_INTEGER


def _expect(what: str, holds: bool, value: object) -> None:
    if not holds:
        raise ValueError(f"{what} is {str(value)[:60]!r}")


def index_folder(workspace: Workspace, folder: Path) -> EpisodeRow:
    """Enter a committed folder into the ledger and return its row.

    Raises:
        DamagedEpisode: Its description is damaged, or is that of another episode.
    """
    description = read_description(folder)
    if description.id != folder.name:
        raise DamagedEpisode(folder.name, f"{folder} holds the episode {description.id}")
    row = description.row()
    workspace.ledger.add_episode(row)
    return row


def quarantine_folder(workspace: Workspace, folder: Path, reason: str) -> Path:
    """Move a folder that cannot be trusted away, with the reason beside it; return its place."""
    shelter = workspace.episodes_folder / QUARANTINE
    kept = shelter / f"{folder.name}-{os.urandom(4).hex()}"
    with storing(kept):
        make_folder(shelter)
        kept.with_suffix(".txt").write_text(reason + "\n", encoding="utf-8")
        os.rename(folder, kept)
    return kept


def quarantine_episode(workspace: Workspace, episode_id: str, reason: str) -> Path:
    """Move a damaged episode away and forget it, so that it can be recorded again."""
    if not is_episode_id(episode_id):
        raise InvalidConfig(f"{episode_id!r} is no episode id; nothing of that name is moved")
    kept = quarantine_folder(workspace, workspace.episodes_folder / episode_id, reason)
    workspace.ledger.forget_episodes([episode_id])
    workspace.ledger.add_event("episode quarantined", episode=episode_id, reason=reason)
    return kept


def reconcile(workspace: Workspace) -> Recovery:
    """Make the ledger's index say what is on disk: the folders are right, the index follows."""
    known = workspace.ledger.episode_ids()
    present = {entry.name for entry in os.scandir(workspace.episodes_folder) if entry.is_dir()}
    present.discard(QUARANTINE)
    indexed, quarantined = [], []
    for name in sorted(present - known):
        folder = workspace.episodes_folder / name
        try:
            index_folder(workspace, folder)
            indexed.append(name)
        except DamagedEpisode as error:
            quarantine_folder(workspace, folder, str(error))
            quarantined.append(name)
    forgotten = sorted(known - present)
    if forgotten:
        workspace.ledger.forget_episodes(forgotten)
    return Recovery(
        reindexed=tuple(indexed), quarantined=tuple(quarantined), forgotten=tuple(forgotten)
    )
