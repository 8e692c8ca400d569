"""LeRobot datasets as others write them: many episodes a file, odd images, names in odd forms."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from drawn_episodes import draw

FPS = 10
SIZE_PX = (33, 47)
CAMERA = "observation.images.top view"
LENGTHS = (12, 7, 9)
TASKS = ("push the T", "pull it back")


def state(episode: int, length: int) -> np.ndarray:
    return np.random.default_rng(episode).uniform(-2, 2, (length, 3)).astype(np.float32)


def action(episode: int, length: int) -> np.ndarray:
    return np.random.default_rng(100 + episode).uniform(-1, 1, (length, 2)).astype(np.float32)


def frames(episode: int, length: int) -> np.ndarray:
    return np.stack([draw(*SIZE_PX, episode, t) for t in range(length)])


def write_dataset(
    folder: Path, version: str, *, lengths: Sequence[int] = LENGTHS, images: str = "video"
) -> Path:
    """Write a small dataset; the last episode fails, the others succeed."""
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    tables = [
        _table(i, n, int(b), images, failed=i == len(lengths) - 1)
        for i, (n, b) in enumerate(zip(lengths, begins, strict=True))
    ]
    if version == "v3.0":
        _write_v3(folder, lengths, begins, tables, images)
    else:
        _write_v2(folder, lengths, tables, images)
    write_json(folder / "meta/info.json", _info(version, lengths, images))
    return folder


def write_json(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def edit_info(folder: Path, **changes: Any) -> None:
    path = folder / "meta/info.json"
    write_json(path, {**json.loads(path.read_text()), **changes})


def write_film(path: Path, images: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = images.shape[1:3]
        stream.pix_fmt, stream.options = "yuv444p", {"crf": "10", "g": "4"}
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def png(image: np.ndarray) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def _info(version: str, lengths: Sequence[int], images: str) -> dict[str, Any]:
    chunk, file = "chunk-{chunk_index:03d}/file-{file_index:03d}", "episode_{episode_index:06d}"
    old = "chunk-{episode_chunk:03d}"
    paths = {
        "v3.0": (f"data/{chunk}.parquet", f"videos/{{video_key}}/{chunk}.mp4"),
        "v2.1": (f"data/{old}/{file}.parquet", f"videos/{old}/{{video_key}}/{file}.mp4"),
    }
    number = {"dtype": "int64", "shape": [1], "names": None}
    return {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "chunks_size": 1000,
        "fps": FPS,
        "data_path": paths[version][0],
        "video_path": paths[version][1],
        "features": {
            CAMERA: {
                "dtype": images,
                "shape": [3, *SIZE_PX],
                "names": ["channels", "height", "width"],
            },
            "observation.state": {
                "dtype": "float32",
                "shape": [3],
                "names": {"motors": ["pan", "lift", "grip"]},
            },
            "observation.effort": {"dtype": "float32", "shape": [3], "names": None},
            "action": {"dtype": "float32", "shape": [2], "names": ["same", "same"]},
            "next.success": {"dtype": "bool", "shape": [1], "names": None},
            "timestamp": {"dtype": "float32", "shape": [1], "names": None},
            "frame_index": number,
            "episode_index": number,
            "index": number,
            "task_index": number,
        },
    }


def _table(episode: int, length: int, begin: int, images: str, *, failed: bool) -> pa.Table:
    columns: dict[str, Any] = {
        "observation.state": list(state(episode, length)),
        "action": pa.array(list(action(episode, length)), pa.list_(pa.float32(), 2)),
        "next.success": np.arange(length) >= (length if failed else length - 2),
        "timestamp": (np.arange(length) / FPS).astype(np.float32),
        "frame_index": np.arange(length),
        "episode_index": np.full(length, episode),
        "index": begin + np.arange(length),
        "task_index": np.full(length, episode % 2),
    }
    if images == "image":
        columns[CAMERA] = [{"bytes": png(i), "path": None} for i in frames(episode, length)]
    return pa.table(columns)


def _write_v3(
    folder: Path, lengths: Sequence[int], begins: np.ndarray, tables: list[pa.Table], images: str
) -> None:
    place = "chunk-000/file-000.parquet"
    rows = [
        {
            "episode_index": i,
            "tasks": [TASKS[i % 2]],
            "length": n,
            "data/chunk_index": 0,
            "data/file_index": 0,
            f"videos/{CAMERA}/chunk_index": 0,
            f"videos/{CAMERA}/file_index": 0,
            f"videos/{CAMERA}/from_timestamp": begins[i] / FPS,
            f"videos/{CAMERA}/to_timestamp": (begins[i] + n) / FPS,
            "stats/action/min": [0.0, 0.0],
        }
        for i, n in enumerate(lengths)
    ]
    for name in ("data", "meta/episodes"):
        (folder / name / "chunk-000").mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), folder / "data" / place, row_group_size=10)
    pq.write_table(pa.Table.from_pylist(rows), folder / "meta/episodes" / place)
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": list(TASKS)})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    if images == "video":
        film = np.concatenate([frames(i, n) for i, n in enumerate(lengths)])
        write_film(folder / f"videos/{CAMERA}/chunk-000/file-000.mp4", film)


def _write_v2(folder: Path, lengths: Sequence[int], tables: list[pa.Table], images: str) -> None:
    (folder / "data/chunk-000").mkdir(parents=True)
    (folder / "meta").mkdir()
    for i, table in enumerate(tables):
        pq.write_table(table, folder / f"data/chunk-000/episode_{i:06d}.parquet")
        if images == "video":
            film = folder / f"videos/chunk-000/{CAMERA}/episode_{i:06d}.mp4"
            write_film(film, frames(i, lengths[i]))
    episodes = [
        {"episode_index": i, "tasks": [TASKS[i % 2]], "length": n} for i, n in enumerate(lengths)
    ]
    tasks = [{"task_index": i, "task": text} for i, text in enumerate(TASKS)]
    for name, lines in (("episodes", episodes), ("tasks", tasks)):
        text = "\n".join(json.dumps(line) for line in lines) + "\n"
        (folder / f"meta/{name}.jsonl").write_text(text)
