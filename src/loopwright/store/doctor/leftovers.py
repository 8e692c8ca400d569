"""Recordings that a crash left in staging, and views that no longer fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from loopwright.core.digest import digest_file
from loopwright.core.errors import DamagedData
from loopwright.store.doctor import Finding
from loopwright.store.doctor.lerobot import examine_lerobot, is_lerobot
from loopwright.store.durable import if_abandoned
from loopwright.store.episode_files import (
    DESCRIPTION,
    DamagedEpisode,
    film_name,
    read_description,
)
from loopwright.store.recording import HEADER, ROWS, read_header
from loopwright.store.table import row_type
from loopwright.store.video import count_whole_frames

_SALVAGE = "make an episode of what is whole, marked as censored, or quarantine it"


def examine_recordings(root: Path) -> Iterator[Finding]:
    """Look at recordings whose recorder is gone; those under way are let be."""
    for folder in _listed(root / "staging/recordings"):
        if not folder.is_dir():
            yield _finding(root, folder, "it is no recording; nothing reads it", repair=None)
            continue
        with if_abandoned(folder) as abandoned:
            if abandoned:
                yield _finding(root, folder, "its recorder is gone")
                yield from _recording(root, folder)


def _recording(root: Path, folder: Path) -> Iterator[Finding]:
    if (folder / DESCRIPTION).exists():
        yield from _described(root, folder)
        return
    try:
        header = read_header(folder)
    except DamagedData as error:
        message = str(error).replace(f"{folder}{os.sep}", "")
        yield _finding(root, folder / HEADER, message)
        return
    rows = folder / ROWS
    num_rows, rest = 0, 0
    if rows.is_file():
        num_rows, rest = divmod(rows.stat().st_size, row_type(header).itemsize)
        if rest:
            yield _finding(root, rows, f"{rest} bytes of an unfinished row follow row {num_rows}")
    else:
        yield _finding(root, rows, "it is missing; without it there is no step")
    for camera in header.interface.cameras:
        film = folder / film_name(camera.name)
        frames = count_whole_frames(film) if film.is_file() else 0
        if frames > num_rows + 1:  # images are written first, but never two ahead
            yield _finding(root, rows, f"{num_rows} whole rows for {frames} frames of {film.name}")
        if frames + 1 < num_rows:  # the last one is kept back until the next one comes
            yield _finding(
                root, film, f"{frames} whole frames for {num_rows} rows; the rest is lost"
            )


def _described(root: Path, folder: Path) -> Iterator[Finding]:
    try:
        files = read_description(folder).files
    except DamagedEpisode as error:
        message = str(error).replace(f"{folder}{os.sep}", "")
        yield _finding(root, folder / DESCRIPTION, message)
        return
    for name, digest in files.items():
        path = folder / name
        if not path.is_file() or digest_file(path) != digest:
            yield _finding(root, path, "it is missing or not what the description says")


def examine_views(root: Path, *, deep: bool) -> Iterator[Finding]:
    """Look at views, which are made of links to the episodes and can be made again."""
    for view in _listed(root / "views"):
        for folder in sorted({path.parent.parent for path in view.glob("**/meta/info.json")}):
            if is_lerobot(folder):
                for finding in examine_lerobot(folder, deep=deep):
                    yield Finding(
                        check=f"view/{finding.check}",
                        severity=finding.severity,
                        where=(folder / finding.where).relative_to(root).as_posix(),
                        message=f"{finding.message}; delete the view and export it again",
                    )


def _finding(root: Path, path: Path, message: str, *, repair: str | None = _SALVAGE) -> Finding:
    return Finding(
        check="staging/recording",
        severity="suspicion",
        where=path.relative_to(root).as_posix(),
        message=message,
        repair=repair,
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder / name for name in os.listdir(folder))
    except OSError:
        return []  # a missing folder is told by itself
