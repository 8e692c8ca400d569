"""An episode on disk: which files there are, what describes them, and what digest they have.

::

    episodes/<id>/
        episode.json    header, digest of every file, digest of the whole, when it was recorded
        data.parquet    a row per control step
        <camera>.mp4    a frame per control step
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopwright.core.digest import digest_file, digest_json
from loopwright.core.episode import EpisodeHeader
from loopwright.core.errors import DamagedData, InvalidConfig
from loopwright.store.durable import make_folder, storing, write_text_file
from loopwright.store.ledger import EpisodeRow
from loopwright.store.recovery import Recovery

if TYPE_CHECKING:
    from loopwright.store.workspace import Workspace

DESCRIPTION = "episode.json"
TABLE = "data.parquet"
QUARANTINE = "quarantine"


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
        """Return plain data that :func:`read_description` reads back."""
        return {
            "header": self.header.to_json(),
            "num_steps": self.num_steps,
            "files": dict(self.files),
            "digest": self.digest,
            "recorded_at": self.recorded_at,
        }


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
        data = json.loads(path.read_bytes())
        description = Description(
            header=EpisodeHeader.from_json(data["header"]),
            num_steps=data["num_steps"],
            files=data["files"],
            recorded_at=data["recorded_at"],
        )
        digest = description.digest
    except FileNotFoundError as error:
        raise DamagedEpisode(name, f"{path} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, InvalidConfig) as error:
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
