"""Episodes as a LeRobotDataset v3.0 that any LeRobot loader reads.

Films are hard links to the episodes' own files (copies where the disk cannot link), a file an
episode; the numbers of many episodes share a data file. Everything under ``meta`` is computed.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from loopwright.core.episode import Episode
from loopwright.store.durable import storing, sync
from loopwright.store.episode_files import film_name
from loopwright.store.exchange import Exported
from loopwright.store.exchange import lerobot_layout as layout
from loopwright.store.exchange.lerobot_plan import Plan, film_rate, plan_export
from loopwright.store.exchange.lerobot_stats import (
    Stats,
    image_stats,
    merged,
    series_stats,
)
from loopwright.store.exchange.lerobot_tables import (
    ORIGIN,
    TableFile,
    episode_schema,
    row_schema,
    row_table,
    write_json,
    write_tasks,
)
from loopwright.store.exchange.new_folder import new_folder, refuse_place
from loopwright.store.reading import EpisodeReader
from loopwright.store.workspace import Workspace

_CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS}
_EPISODES_PER_ROW_GROUP = 256


def export_lerobot(
    workspace: Workspace,
    episodes: Sequence[str],
    folder: Path,
    *,
    link: bool = True,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Exported:
    """Write episodes as a LeRobotDataset v3.0.

    Args:
        workspace: Where they are.
        episodes: Their ids, in the order that they get in the dataset. All of one interface.
        folder: Where to; absent or empty. It appears under this name when it is whole.
        link: Hard-link the films where the disk allows. They are then the episodes' own bytes:
            whoever edits one in place damages its episode (and the reader says so). False copies.
        progress: Wraps the ids, to show how far it is.

    Returns:
        What was written; the notes say what LeRobot has no place for.

    Raises:
        InvalidConfig: The episodes cannot be one dataset (different interfaces, a video without
            actions, none at all), or the folder is taken.
        DamagedEpisode: A file of an episode is missing or damaged.
        StorageError: The operating system refused.
    """
    folder = Path(os.path.abspath(folder))
    refuse_place(workspace, folder)
    reader = EpisodeReader(workspace)
    plan = plan_export(workspace, reader, episodes)
    with new_folder(folder) as place, storing(folder), _Writer(place, plan) as writer:
        for episode_id in progress(episodes):
            writer.add(reader.read(episode_id), episode_id)
            source = workspace.episodes_folder / episode_id
            for camera in plan.interface.cameras:
                _place_film(source / film_name(camera.name), writer.film(camera.name), link)
        writer.finish()
    return Exported(
        folder=folder, episodes=len(episodes), steps=writer.num_rows, notes=plan.notes()
    )


class _Writer(AbstractContextManager["_Writer"]):
    """Writes one episode after the other; only their tasks are kept in memory."""

    def __init__(self, place: Path, plan: Plan) -> None:
        self.num_rows = 0
        self._place, self._plan = place, plan
        self._features = plan.features()
        self._tasks: dict[str, int] = {}
        self._total: dict[str, Stats] = {}
        self._number = -1
        self._data = TableFile(place, row_schema(self._features))
        self._episodes = TableFile(place, episode_schema(self._features))
        self._pending: list[dict[str, Any]] = []
        self._data_number = 0
        self._episodes.begin(layout.EPISODES / "chunk-000/file-000.parquet")
        self._data.begin(layout.data_path(0))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._data.close()
        self._episodes.close()

    def add(self, episode: Episode, episode_id: str) -> None:
        """Write the rows of the next episode and what ``meta`` says about it."""
        self._number += 1
        if self._data.size_bytes > layout.DATA_FILE_MB << 20:
            self._data_number += 1
            self._data.begin(layout.data_path(self._data_number))
        columns = self._columns(episode, episode_id)
        self._data.write(row_table(columns, self._data.schema))
        stats = self._stats(episode, columns)
        for key, part in stats.items():
            self._total[key] = merged([self._total[key], part]) if key in self._total else part
        self._pending.append(self._description(episode, episode_id, stats))
        if len(self._pending) == _EPISODES_PER_ROW_GROUP:
            self._write_pending()
        self.num_rows += episode.num_steps

    def film(self, camera: str) -> Path:
        """Return the place of a camera's film of the episode that was added last."""
        return self._place / layout.film_path(layout.IMAGES + camera, self._number)

    def finish(self) -> None:
        """Write what is known once every episode is there, and sync all of it."""
        self._write_pending()
        self._episodes.close()
        self._data.close()
        write_tasks(self._place / layout.TASKS, list(self._tasks))
        listed = {
            key: {name: values.tolist() for name, values in stats.items()}
            for key, stats in self._total.items()
        }
        write_json(self._place / layout.STATS, listed)
        write_json(self._place / layout.EXTRAS, self._extras())
        write_json(self._place / layout.INFO, self._info())
        for parent, _, _ in os.walk(self._place):
            sync(Path(parent))

    def _columns(self, episode: Episode, episode_id: str) -> dict[str, np.ndarray]:
        num, header = episode.num_steps, self._plan.headers[episode_id]
        task = self._tasks.setdefault(header.instruction, len(self._tasks))
        frame = np.arange(num)
        last = (frame == num - 1) & (header.censored is None)
        known = {
            layout.STATE: episode.proprio,
            layout.ACTION: episode.applied,
            layout.REQUESTED: episode.requested,
            layout.TIME: episode.time_s,
            layout.SUCCESS: last & bool(self._plan.success(episode_id)),
            layout.DONE: last,
            "timestamp": (frame / float(film_rate(header.interface))).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(num, self._number),
            "index": self.num_rows + frame,
            "task_index": np.full(num, task),
        }
        return {key: np.asarray(known[key]) for key in self._data.schema.names}

    def _stats(self, episode: Episode, columns: Mapping[str, np.ndarray]) -> dict[str, Stats]:
        stats: dict[str, Stats] = {
            layout.IMAGES + name: image_stats(frames) for name, frames in episode.images.items()
        }
        stats |= {key: series_stats(values) for key, values in columns.items()}
        return stats

    def _description(
        self, episode: Episode, episode_id: str, stats: Mapping[str, Stats]
    ) -> dict[str, Any]:
        header = self._plan.headers[episode_id]
        data_chunk, data_file = layout.chunk_and_file(self._data_number)
        chunk, file = layout.chunk_and_file(self._number)
        row: dict[str, Any] = {
            "episode_index": self._number,
            "tasks": [header.instruction],
            "length": episode.num_steps,
            "data/chunk_index": data_chunk,
            "data/file_index": data_file,
            "dataset_from_index": self.num_rows,
            "dataset_to_index": self.num_rows + episode.num_steps,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            "success": self._plan.success(episode_id),
        }
        row |= dict(zip(ORIGIN, (episode_id, header.scenario, header.seed), strict=True))
        for camera in header.interface.cameras:
            film = f"videos/{layout.IMAGES}{camera.name}"
            row[f"{film}/chunk_index"], row[f"{film}/file_index"] = chunk, file
            row[f"{film}/from_timestamp"] = 0.0
            row[f"{film}/to_timestamp"] = episode.num_steps / float(film_rate(header.interface))
        for key, part in stats.items():
            row |= {f"stats/{key}/{name}": values.tolist() for name, values in part.items()}
        return row

    def _write_pending(self) -> None:
        if self._pending:
            self._episodes.write(pa.Table.from_pylist(self._pending, schema=self._episodes.schema))
            self._pending.clear()

    def _info(self) -> dict[str, Any]:
        bodies = {header.body for header in self._plan.headers.values()}
        count = self._number + 1
        return {
            "codebase_version": layout.V3,
            "robot_type": bodies.pop() if len(bodies) == 1 else None,
            "total_episodes": count,
            "total_frames": self.num_rows,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.FILES_PER_CHUNK,
            "data_files_size_in_mb": layout.DATA_FILE_MB,
            "video_files_size_in_mb": layout.FILM_FILE_MB,
            "fps": self._plan.fps,
            "splits": {"train": f"0:{count}"},
            "data_path": layout.DATA_TEMPLATE,
            "video_path": layout.FILM_TEMPLATE if self._plan.interface.cameras else None,
            "features": self._features,
        }

    def _extras(self) -> dict[str, Any]:
        """Return what an import of Loopwright reads back: the interface with units and ranges."""
        return {"schema_version": 1, "interface": self._plan.interface.to_json()}


def _place_film(source: Path, target: Path, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
        else:
            return
    shutil.copyfile(source, target)
    sync(target)
