"""Files that mean harm: a typed error or a finding, in bounded time and memory, and no traceback.

Each attack runs in a process of its own, whose memory and time the kernel limits.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_doctor_workspace import sound_episode, staged

from loopwright.core.digest import digest_file, digest_json
from loopwright.core.errors import DamagedData, InvalidConfig, LoopwrightError
from loopwright.store.doctor.examination import examine
from loopwright.store.doctor.lerobot import examine_lerobot
from loopwright.store.episode_files import read_description
from loopwright.store.episodes import EpisodeReader, quarantine_episode, read_episode, write_episode
from loopwright.store.objects import Objects
from loopwright.store.snapshots import Snapshot, load_snapshot, save_snapshot
from loopwright.store.video import FilmWriter
from loopwright.store.workspace import Workspace

MEMORY_BYTES = 3 << 30
CPU_S = 120
SECRET = b"never to be read"


def forge(folder: Path, **changes: Any) -> None:
    """Describe changed files anew, as an attacker would who knows the format."""
    before = read_description(folder)
    files = {name: digest_file(folder / name) for name in before.files}
    after = replace(before, files=files, **changes)
    (folder / "episode.json").write_text(json.dumps(after.to_json()))


def open_and_read(root: Path, identity: str) -> None:
    """Do all that is done with an episode; what is refused must be refused by name."""
    for _ in examine(root):
        pass
    with Workspace.open(root, exclusive=True) as workspace:  # indexes what it finds
        reader = EpisodeReader(workspace)
        for act in (
            lambda: reader.read(identity),
            lambda: reader.frames(identity, "front", [0, 3]),
            lambda: reader.header(identity),
        ):
            with contextlib.suppress(LoopwrightError):
                act()
        reader.close()


def one_episode(root: Path, **changes: Any) -> tuple[Path, str]:
    """Make a workspace with one episode that its ledger has not heard of."""
    with Workspace.create(root) as workspace:
        row = write_episode(workspace, sound_episode(num_steps=6, **changes))
        workspace.ledger.forget_episodes([row.id])
        return workspace.episodes_folder / row.id, row.id


hostile = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -(2**63), 2**63, 0, -1, 10**18]),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(["../../x", "/etc/passwd", "a" * 100_000, "\ud800", "\x1b[2J", "\x00", "NaN"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)


def paths_in(value: Any, path: tuple = ()) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else []
    items = enumerate(value) if isinstance(value, list) else items
    return [path] + [found for key, item in items for found in paths_in(item, (*path, key))]


def changed(value: Any, path: tuple, new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


def sealed(data: Any) -> Any:
    """Make digest and seal fit again, where the data still has the shape for it."""
    try:
        data["digest"] = digest_json({"header": data["header"], "files": data["files"]})
        data["seal"] = digest_json([data["num_steps"], data["recorded_at"]])
    except (TypeError, KeyError, ValueError):
        pass
    return data


def attack_descriptions() -> None:
    folder = Path(tempfile.mkdtemp())
    episode, identity = one_episode(folder / "ws")
    original = json.loads((episode / "episode.json").read_text())
    places = paths_in(original)

    @settings(
        max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(places), hostile, st.booleans())
    def attack(place: tuple, value: Any, reseals: bool) -> None:
        data = changed(original, place, value)
        episode.mkdir(exist_ok=True)
        text = json.dumps(sealed(data) if reseals else data)
        (episode / "episode.json").write_text(text)
        with Workspace.open(folder / "ws") as w, contextlib.suppress(LoopwrightError):
            EpisodeReader(w).read(identity)
        for finding in examine(folder / "ws", deep=False):
            assert finding.message

    attack()
    shutil.rmtree(folder)


def attack_starts() -> None:
    """An exclusive start reads what it finds, and must neither crash nor trust it."""
    for path, value in (
        (("header", "seed"), 10**30),
        (("header", "seed"), "seven"),
        (("header", "scenario"), 7),
        (("header", "candidate"), ["a"]),
        (("num_steps",), 10**30),
        (("num_steps",), "many"),
        (("header", "start"), {"x": "y"}),
        (("header", "interface", "rate_hz"), 0),
        (("header", "interface", "cameras", 0, "height_px"), 10**9),
        (("header", "interface", "cameras", 0, "name"), "../../x"),
        (("files",), {"../../x": "0" * 64}),
        (("files", "data.parquet"), 5),
    ):
        folder = Path(tempfile.mkdtemp())
        episode, identity = one_episode(folder / "ws")
        data = json.loads((episode / "episode.json").read_text())
        (episode / "episode.json").write_text(json.dumps(sealed(changed(data, path, value))))
        (folder / "x").write_bytes(SECRET)
        open_and_read(folder / "ws", identity)
        shutil.rmtree(folder)


def attack_deep_json() -> None:
    folder = Path(tempfile.mkdtemp())
    episode, identity = one_episode(folder / "ws")
    for text in ("[" * 200_000, '{"header":' * 100_000, "1" * 5000, "[NaN, Infinity]", "null", ""):
        for path in (
            episode / "episode.json",
            folder / "ws/snapshots" / ("0" * 64 + ".json"),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        for _ in examine(folder / "ws"):
            pass
        with Workspace.open(folder / "ws") as workspace:
            for act in (
                lambda w=workspace: read_episode(w, identity),
                lambda w=workspace, t=text: load_snapshot(w, w.objects.put_bytes(t.encode())),
                lambda w=workspace, t=text: w.objects.has_folder(w.objects.put_bytes(t.encode())),
            ):
                with pytest.raises(LoopwrightError):
                    act()
    with (episode / "episode.json").open("wb") as file:
        file.truncate(50 << 30)  # a hole of 50 GiB
    with Workspace.open(folder / "ws") as workspace, pytest.raises(DamagedData, match="bytes"):
        read_episode(workspace, identity)
    shutil.rmtree(folder)


def hostile_tables() -> dict[str, Callable[[Path], None]]:
    steps = 6

    def columns(**changes: Any) -> pa.Table:
        def numbers(kind: pa.DataType, width: int) -> pa.Array:
            return pa.FixedSizeListArray.from_arrays(pa.array([0.0] * steps * width, kind), width)

        arrays = {
            "time_s": pa.array([t / 12.5 for t in range(steps)]),
            "proprio": numbers(pa.float32(), 4),
            "requested": numbers(pa.float32(), 3),
            "applied": numbers(pa.float32(), 3),
            "evidence": numbers(pa.float64(), 2),
        }
        return pa.table({**arrays, **changes})

    def bomb(path: Path) -> None:
        """Write 140 million rows of nothing into a few kilobytes."""
        chunk = pa.table({"time_s": pa.array(np.zeros(5_000_000))})
        with pq.ParquetWriter(path, chunk.schema, compression="zstd") as writer:
            for _ in range(28):
                writer.write_table(chunk)

    def other(**changes: Any) -> Callable[[Path], None]:
        return lambda path: pq.write_table(columns(**changes), path)

    nested = pa.array([[[[0.0]]]] * steps)
    return {
        "bomb": bomb,
        "text": other(time_s=pa.array(["now"] * steps)),
        "null": other(time_s=pa.array([None] * steps, pa.float64())),
        "nulls inside": other(
            proprio=pa.array([[0.0, None, 0.0, 0.0]] * steps, pa.list_(pa.float32(), 4))
        ),
        "lists of other lengths": other(proprio=pa.array([[0.0]] * steps, pa.list_(pa.float32()))),
        "deep lists": other(proprio=nested),
        "another width": other(
            proprio=pa.array([[0.0] * 1000] * steps, pa.list_(pa.float32(), 1000))
        ),
        "another column": other(x=pa.array([0] * steps)),
        "booleans": other(time_s=pa.array([True] * steps)),
        "no rows": lambda path: pq.write_table(columns().slice(0, 0), path),
        "one row": lambda path: pq.write_table(columns().slice(0, 1), path),
        "not a number": other(time_s=pa.array([float("nan")] * steps)),
        "huge": other(time_s=pa.array([1e308 * (t - 3) for t in range(steps)])),
    }


def attack_tables() -> None:
    for name, make in hostile_tables().items():
        folder = Path(tempfile.mkdtemp())
        episode, identity = one_episode(folder / "ws")
        make(episode / "data.parquet")
        steps = pq.read_metadata(episode / "data.parquet").num_rows
        forge(episode, num_steps=max(1, steps))
        if name == "bomb":
            shutil.rmtree(episode)
            episode, identity = one_episode(folder / "ws", kind="video", seed=8)
            make(episode / "data.parquet")
            assert (episode / "data.parquet").stat().st_size < 1 << 20
            forge(episode, num_steps=steps)
        assert list(examine(folder / "ws")), name
        open_and_read(folder / "ws", identity)
        shutil.rmtree(folder)


def attack_table_bytes() -> None:
    folder = Path(tempfile.mkdtemp())
    episode, identity = one_episode(folder / "ws")
    flip_many(folder / "ws", episode, "data.parquet", identity, rounds=250)
    shutil.rmtree(folder)


def attack_film_bytes() -> None:
    folder = Path(tempfile.mkdtemp())
    episode, identity = one_episode(folder / "ws")
    flip_many(folder / "ws", episode, "front.mp4", identity, rounds=150)
    shutil.rmtree(folder)


def attack_staged_recordings() -> None:
    """Whatever a crash and a bad disk leave in staging, the next start goes on."""
    folder = Path(tempfile.mkdtemp())
    with Workspace.create(folder / "ws"):
        pass
    original = staged(folder / "ws")
    kept = shutil.move(original, folder / "kept")
    rng = random.Random(0)
    for turn in range(60):
        shutil.copytree(kept, original)
        path = original / rng.choice(sorted(os.listdir(kept)))
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 4])):
            data[rng.choice([rng.randrange(min(900, len(data))), rng.randrange(len(data))])] ^= 255
        path.write_bytes(bytes(data))
        assert any(f.where.startswith("staging/") for f in examine(folder / "ws")), turn
        with Workspace.open(folder / "ws", exclusive=True) as workspace:
            assert workspace.recovery.salvaged or workspace.recovery.quarantined
            for row in workspace.ledger.episodes(censored=True):
                assert read_episode(workspace, row.id).num_steps == row.num_steps
                shutil.rmtree(workspace.episodes_folder / row.id)
                workspace.ledger.forget_episodes([row.id])
    shutil.rmtree(folder)


def flip_many(root: Path, episode: Path, name: str, identity: str, *, rounds: int) -> None:
    """Change bytes, most of them in the headers, and make every digest fit."""
    original, rng = (episode / name).read_bytes(), random.Random(0)
    for _ in range(rounds):
        data = bytearray(original)
        for _ in range(rng.choice([1, 1, 2, 8])):
            near_edge = rng.choice([rng.randrange(900), -1 - rng.randrange(900), None])
            place = rng.randrange(len(data)) if near_edge is None else near_edge % len(data)
            data[place] = rng.choice([0, 255, 127, 128, rng.randrange(256)])
        if rng.random() < 0.1:
            data = data[: rng.randrange(len(data))]
        (episode / name).write_bytes(bytes(data))
        forge(episode)
        for finding in examine(root):
            assert finding.message
        with Workspace.open(root) as workspace:
            reader = EpisodeReader(workspace)
            try:
                episode_read = reader.read(identity)
                assert episode_read.images["front"].shape == (6, 64, 64, 3)
                reader.frames(identity, "front", [5, 0])
            except (DamagedData, InvalidConfig):
                pass
            reader.close()


def attack_films() -> None:
    def film(path: Path, frames: int, height_px: int, width_px: int) -> None:
        path.unlink(missing_ok=True)
        writer = FilmWriter(path, height_px=height_px, width_px=width_px, rate_hz=12.5)
        image = np.zeros((height_px, width_px, 3), np.uint8)
        for _ in range(frames):
            writer.write(image)
        writer.close()

    attacks: dict[str, Callable[[Path], object]] = {
        "longer": lambda path: film(path, 7, 64, 64),
        "much longer": lambda path: film(path, 3000, 64, 64),
        "shorter": lambda path: film(path, 5, 64, 64),
        "larger": lambda path: film(path, 6, 2048, 2048),
        "text": lambda path: path.write_text("ftyp" * 1000),
        "another container": lambda path: path.write_bytes(b"\x1aE\xdf\xa3" + b"\0" * 500),
        "playlist": lambda path: path.write_text(
            "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
        ),
    }
    for name, make in attacks.items():
        folder = Path(tempfile.mkdtemp())
        episode, identity = one_episode(folder / "ws")
        make(episode / "front.mp4")
        forge(episode)
        findings = [f for f in examine(folder / "ws") if f.where.endswith("front.mp4")]
        assert {f.severity for f in findings} == {"damage"}, name
        with Workspace.open(folder / "ws") as w, pytest.raises(DamagedData, match=identity):
            read_episode(w, identity)
        shutil.rmtree(folder)


def attack_lerobot() -> None:
    """A dataset of others with hostile metadata."""
    folder = Path(tempfile.mkdtemp())
    (folder / "meta").mkdir()
    feature = {"dtype": "video", "shape": [64, 64, 3]}
    good = {
        "codebase_version": "v2.1",
        "fps": 10,
        "total_episodes": 1,
        "total_frames": 5,
        "total_tasks": 1,
        "chunks_size": 1000,
        "features": {"observation.images.top": feature},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (folder / "meta/episodes.jsonl").write_text(
        '{"episode_index": 0, "tasks": ["x"], "length": 5}\n'
        '{"episode_index": 10000000000000000000000, "tasks": 5, "length": 1e308}\n'
        "null\n" + "[" * 100_000 + "\n"
    )
    (folder / "meta/tasks.jsonl").write_text('{"task_index": "zero", "task": 5}\n[]\n')
    for changes in (
        {},
        {"data_path": "{episode_index:999999999999}"},
        {"data_path": "{episode_index.__class__.__mro__}"},
        {"data_path": "../../../../etc/passwd"},
        {"data_path": "/etc/passwd"},
        {"data_path": 7},
        {"video_path": "../x{video_key}"},
        {"features": {"../../x": feature}},
        {"features": {"a": 5}},
        {"features": []},
        {"fps": 0},
        {"fps": float("nan")},
        {"fps": "fast"},
        {"chunks_size": 0},
        {"chunks_size": "x"},
        {"codebase_version": None},
        {"codebase_version": "v3.0"},
        {"total_frames": 10**400},
    ):
        (folder / "meta/info.json").write_text(json.dumps({**good, **changes}))
        findings = list(examine_lerobot(folder))
        assert findings
        assert not any("root:" in finding.message for finding in findings)
    for text in ("[" * 100_000, "{}", "[]", "null", "", '"x"'):
        (folder / "meta/info.json").write_text(text)
        assert [finding.where for finding in examine_lerobot(folder)] == ["meta/info.json"]
    shutil.rmtree(folder)


ATTACKS = [name for name in list(globals()) if name.startswith("attack_")]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_in_bounded_time_and_memory(attack: str, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import test_doctor_hostile as t; t.{attack}()"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TMPDIR": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "", "a/b", "0" * 19 + "G"])
def test_a_name_that_leads_out_of_the_folder_is_not_followed(
    workspace: Workspace, name: str
) -> None:
    digest = save_snapshot(workspace, Snapshot(episodes=(name,)))
    for episode in load_snapshot(workspace, digest).episodes:
        with pytest.raises(DamagedData):
            read_episode(workspace, episode)
    with pytest.raises(InvalidConfig):
        quarantine_episode(workspace, name, "it was asked for")


@pytest.mark.parametrize(
    "manifest",
    [
        {"folder": {"a": 5}},
        {"folder": {"../a": "0" * 64}},
        {"folder": {"a": "../../x"}},
        {"folder": {"a": None}},
        {"folder": {"": "0" * 64}},
        {"folder": []},
        [],
        {"episodes": [1, 2]},
        {"episodes": [["a"]], "label_filter": None, "split_seed": 0},
    ],
)
def test_a_hostile_object_is_no_folder_and_no_snapshot(tmp_path: Path, manifest: Any) -> None:
    objects = Objects(tmp_path / "objects")
    digest = objects.put_json(manifest)
    with pytest.raises(LoopwrightError):
        objects.checkout(digest, tmp_path / "out")
    assert not (tmp_path / "a").exists()
    with Workspace.create(tmp_path / "ws") as workspace, pytest.raises(LoopwrightError):
        load_snapshot(workspace, workspace.objects.put_json(manifest))
