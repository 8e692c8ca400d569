"""LeRobot datasets of others: healthy ones give no finding, each fault is named by its file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn_episodes import draw

from loopwright.store.doctor import Finding
from loopwright.store.doctor.lerobot import examine_lerobot
from loopwright.store.video import FilmWriter

FPS = 10
LENGTHS = (12, 9, 15)
CAMERA = "observation.images.top"


@dataclass(frozen=True)
class Dataset:
    """Where the parts of a made dataset lie."""

    folder: Path
    is_v3: bool

    def data(self, episode: int) -> Path:
        name = "file-000" if self.is_v3 else f"episode_{episode:06d}"
        return self.folder / f"data/chunk-000/{name}.parquet"

    def film(self, episode: int) -> Path:
        if self.is_v3:
            return self.folder / f"videos/{CAMERA}/chunk-000/file-000.mp4"
        return self.folder / f"videos/chunk-000/{CAMERA}/episode_{episode:06d}.mp4"

    def relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def change_table(self, path: Path, column: str, change: Callable[[list], Any]) -> None:
        table = pq.read_table(path)
        values = table.column(column).to_pylist()
        change(values)
        place = table.column_names.index(column)
        array = pa.array(values, table.schema.field(column).type)
        pq.write_table(table.set_column(place, table.schema.field(column), array), path)

    def change_json(self, name: str, change: Callable[[dict], Any]) -> None:
        path = self.folder / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))


def rows_of(episode: int, first: int) -> pa.Table:
    n = LENGTHS[episode]
    rng = np.random.default_rng(episode)
    return pa.table(
        {
            "observation.state": pa.FixedSizeListArray.from_arrays(
                pa.array(rng.uniform(-1, 1, n * 2).astype(np.float32)), 2
            ),
            "action": pa.FixedSizeListArray.from_arrays(
                pa.array(rng.uniform(-1, 1, n * 2).astype(np.float32)), 2
            ),
            "timestamp": pa.array((np.arange(n) / FPS).astype(np.float32)),
            "frame_index": pa.array(range(n)),
            "episode_index": pa.array([episode] * n),
            "index": pa.array(range(first, first + n)),
            "task_index": pa.array([episode % 2] * n),
        }
    )


def film(path: Path, lengths: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    writer = FilmWriter(path, height_px=32, width_px=32, rate_hz=FPS)
    for seed, length in enumerate(lengths):
        for t in range(length):
            writer.write(draw(32, 32, seed, t))
    writer.close()


def make(folder: Path, version: str) -> Dataset:
    dataset = Dataset(folder, version == "v3.0")
    (folder / "meta").mkdir(parents=True)
    firsts = [sum(LENGTHS[:episode]) for episode in range(len(LENGTHS))]
    tables = [rows_of(episode, first) for episode, first in enumerate(firsts)]
    dataset.data(0).parent.mkdir(parents=True)
    if dataset.is_v3:
        pq.write_table(pa.concat_tables(tables), dataset.data(0))
        film(dataset.film(0), list(LENGTHS))
        data_path = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        video_path = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        write_meta_v3(folder, firsts)
    else:
        for episode, table in enumerate(tables):
            pq.write_table(table, dataset.data(episode))
            film(dataset.film(episode), [LENGTHS[episode]])
        data_path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        video_path = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        write_meta_v2(folder)
    info = {
        "codebase_version": version,
        "fps": FPS,
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": 2,
        "chunks_size": 1000,
        "data_path": data_path,
        "video_path": video_path,
        "features": {
            CAMERA: {"dtype": "video", "shape": [32, 32, 3]},
            "observation.state": {"dtype": "float32", "shape": [2]},
            "action": {"dtype": "float32", "shape": [2]},
        },
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    one = {"min": [-1.0, -1.0], "max": [1.0, 1.0], "mean": [0.0, 0.0], "std": [0.5, 0.5]}
    stats = {"observation.state": one, "action": one, CAMERA: {"mean": [[[0.5]]] * 3}}
    (folder / "meta/stats.json").write_text(json.dumps(stats))
    return dataset


def write_meta_v3(folder: Path, firsts: list[int]) -> None:
    prefix = f"videos/{CAMERA}"
    rows = [
        {
            "episode_index": episode,
            "tasks": [f"task {episode % 2}"],
            "length": length,
            "data/chunk_index": 0,
            "data/file_index": 0,
            "dataset_from_index": first,
            "dataset_to_index": first + length,
            f"{prefix}/chunk_index": 0,
            f"{prefix}/file_index": 0,
            f"{prefix}/from_timestamp": first / FPS,
            f"{prefix}/to_timestamp": (first + length) / FPS,
        }
        for episode, (first, length) in enumerate(zip(firsts, LENGTHS, strict=True))
    ]
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["task 0", "task 1"]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")


def write_meta_v2(folder: Path) -> None:
    episodes = [
        {"episode_index": episode, "tasks": [f"task {episode % 2}"], "length": length}
        for episode, length in enumerate(LENGTHS)
    ]
    tasks = [{"task_index": index, "task": f"task {index}"} for index in range(2)]
    for name, rows in (("episodes", episodes), ("tasks", tasks)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"meta/{name}.jsonl").write_text(text)


@pytest.fixture(params=["v2.1", "v3.0"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    return make(tmp_path / "set", request.param)


def found(dataset: Dataset, *, deep: bool = True) -> list[Finding]:
    return list(examine_lerobot(dataset.folder, deep=deep))


def test_a_healthy_dataset_gives_no_finding(dataset: Dataset) -> None:
    assert found(dataset) == []
    assert found(dataset, deep=False) == []


@pytest.mark.parametrize("part", ["data", "film"])
@pytest.mark.parametrize("how", ["delete", "truncate", "garbage"])
def test_a_broken_file_is_named(dataset: Dataset, part: str, how: str) -> None:
    path = getattr(dataset, part)(1)
    if how == "delete":
        path.unlink()
    elif how == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(b"\0" * 5000)
    findings = [finding for finding in found(dataset) if finding.severity == "damage"]
    assert dataset.relative(path) in {finding.where for finding in findings}


@pytest.mark.parametrize("name", ["meta/info.json", "meta/stats.json", "tasks", "episodes"])
@pytest.mark.parametrize("how", ["delete", "truncate"])
def test_broken_metadata_is_named(dataset: Dataset, name: str, how: str) -> None:
    known = {
        "tasks": "meta/tasks.parquet" if dataset.is_v3 else "meta/tasks.jsonl",
        "episodes": "meta/episodes/chunk-000/file-000.parquet"
        if dataset.is_v3
        else "meta/episodes.jsonl",
    }
    path = dataset.folder / known.get(name, name)
    if how == "delete":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 30)
    findings = found(dataset)
    assert any(dataset.relative(path).startswith(f.where) for f in findings), findings


@pytest.mark.parametrize("total", ["episodes", "frames", "tasks"])
def test_a_total_that_does_not_add_up_is_named(dataset: Dataset, total: str) -> None:
    dataset.change_json("meta/info.json", lambda info: info.update({f"total_{total}": 99}))
    findings = found(dataset)
    assert {finding.check for finding in findings} == {"lerobot/total"}
    assert "99" in findings[0].message


COLUMN_FAULTS = [
    ("observation.state", lambda v: v[3].__setitem__(1, float("nan")), "not-finite", "row 3"),
    ("action", lambda v: v[4].__setitem__(0, 7.5), "stats", "row 4"),
    ("timestamp", lambda v: v.__setitem__(6, v[6] + 0.05), "timestamp", "row 6"),
    ("timestamp", lambda v: v.__setitem__(6, float("nan")), "timestamp", "row 6"),
    ("frame_index", lambda v: v.__setitem__(2, 7), "index", "frame_index"),
    ("index", lambda v: v.__setitem__(2, 700), "index", "'index'"),
    ("episode_index", lambda v: v.__setitem__(2, 9), "index", "[9]"),
    ("task_index", lambda v: v.__setitem__(2, 5), "task", "[5]"),
]


@pytest.mark.parametrize(("column", "change", "check", "told"), COLUMN_FAULTS)
def test_a_wrong_value_is_named_with_its_row(
    dataset: Dataset, column: str, change: Callable[[list], Any], check: str, told: str
) -> None:
    dataset.change_table(dataset.data(0), column, change)
    findings = [f for f in found(dataset) if f.check == f"lerobot/{check}"]
    assert findings
    assert told in findings[0].message
    assert findings[0].where == dataset.relative(dataset.data(0))


@pytest.mark.parametrize("change", [-2, 3])
def test_a_film_of_another_length_is_named(dataset: Dataset, change: int) -> None:
    lengths = list(LENGTHS) if dataset.is_v3 else [LENGTHS[2]]
    film(dataset.film(2), [*lengths[:-1], lengths[-1] + change])
    for deep in (True, False):
        [finding] = found(dataset, deep=deep)
        assert finding.check == "lerobot/film-length"
        assert finding.where == dataset.relative(dataset.film(2))


def test_rows_that_are_missing_are_named(dataset: Dataset) -> None:
    path = dataset.data(1)
    pq.write_table(pq.read_table(path).slice(0, 8), path)
    findings = found(dataset)
    assert {"lerobot/length", "lerobot/total"} <= {finding.check for finding in findings}


def test_missing_statistics_are_named(dataset: Dataset) -> None:
    dataset.change_json("meta/stats.json", lambda stats: stats.pop("action"))
    [finding] = found(dataset)
    assert (finding.check, finding.severity) == ("lerobot/stats", "suspicion")
    assert "'action'" in finding.message


def test_a_place_in_a_shared_film_that_is_too_short_is_named(tmp_path: Path) -> None:
    dataset = make(tmp_path / "set", "v3.0")
    path = dataset.folder / "meta/episodes/chunk-000/file-000.parquet"
    dataset.change_table(
        path, f"videos/{CAMERA}/from_timestamp", lambda values: values.__setitem__(1, 1.5)
    )
    [finding] = found(dataset)
    assert finding.check == "lerobot/film-length"
    assert "episode 1" in finding.message
