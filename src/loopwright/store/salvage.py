"""Salvage: what a dead recorder left becomes a readable episode, or is kept with a reason."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from loopwright.core.errors import DamagedData
from loopwright.store.durable import if_abandoned, storing
from loopwright.store.episode_files import film_name, quarantine_folder
from loopwright.store.ledger import EpisodeRow
from loopwright.store.recording import (
    ROWS,
    commit_folder,
    is_described,
    publish_folder,
    read_header,
    recordings_folder,
)
from loopwright.store.recovery import Recovery
from loopwright.store.table import read_rows, row_type
from loopwright.store.video import count_whole_frames, cut_film
from loopwright.store.workspace import Workspace


def salvage_recordings(workspace: Workspace) -> Recovery:
    """Deal with every recording whose recorder is gone; those under way are let be.

    Raises:
        StorageError: The operating system refused; what was not dealt with is left as it was.
    """
    removed, salvaged, quarantined = [], [], []
    for folder in sorted(recordings_folder(workspace).iterdir()):
        with if_abandoned(folder) as abandoned:
            if not abandoned:
                continue
            try:
                row = _salvage(workspace, folder)
            except DamagedData as error:
                quarantine_folder(workspace, folder, str(error))
                quarantined.append(folder.name)
                continue
            if row is None:
                shutil.rmtree(folder)
                removed.append(folder.name)
            else:
                salvaged.append(row.id)
    return Recovery(
        removed=tuple(removed), salvaged=tuple(salvaged), quarantined=tuple(quarantined)
    )


def _salvage(workspace: Workspace, folder: Path) -> EpisodeRow | None:
    """Commit what there is of a recording; None if there is not a single step."""
    if is_described(folder):
        return publish_folder(workspace, folder)
    rows_path = folder / ROWS
    if not rows_path.exists() or not rows_path.stat().st_size:
        return None  # it died before the first step was stored
    header = read_header(folder)
    num_rows = len(read_rows(rows_path, header))
    films = [folder / film_name(camera.name) for camera in header.interface.cameras]
    lengths = [count_whole_frames(film) if film.exists() else 0 for film in films]
    num_steps = min([num_rows, *lengths])
    if num_steps == 0:
        if num_rows <= 1:
            return None  # a film keeps its last frame back until the next one comes
        raise DamagedData(
            f"{folder} has {num_rows} rows, but films of {lengths} frames; none is a whole step"
        )
    with storing(folder):
        os.truncate(rows_path, num_steps * row_type(header).itemsize)
        for film in films:
            cut = film.with_suffix(".cut")
            cut_film(film, cut, num_steps)
            os.replace(cut, film)
    reason = f"the recorder died after step {num_steps}"
    return commit_folder(workspace, folder, replace(header, censored=reason))
