"""Writing, committing and reading recorded episodes, beside LeRobot on the same frames.

Two cameras of 240x320, 5 s at 30 Hz: a textured scene in which a gripper moves, with the noise of a
sensor, which is what costs a codec time. Everything is CPU time of one process. LeRobot's writer
and loader run in an environment of their own (``tools/lerobot_venv.sh .lerobot-venv``); without it
the table shows the figures that were published for it.
"""

from __future__ import annotations

import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import Benchmark, Measurement, figure
from loopwright.core.episode import EpisodeHeader
from loopwright.core.interface import CameraSpec, Interface, Observation, VectorSpec
from loopwright.core.scenario import WorldStep
from loopwright.store.episode_files import DESCRIPTION, Description, read_description
from loopwright.store.episodes import EpisodeWriter
from loopwright.store.exchange.lerobot_stats import image_stats
from loopwright.store.ledger import EpisodeRow
from loopwright.store.video import KEYFRAME_INTERVAL
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace

SEED = 0
HEIGHT_PX, WIDTH_PX, RATE_HZ, NUM_STEPS = 240, 320, 30.0, 150
CAMERAS = ("front", "wrist")
NOISE_LEVELS = 2.0
MANY = 10_000
LEROBOT_PYTHON = Path(__file__).parent.parent / ".lerobot-venv" / "bin" / "python"
PUBLISHED = {
    "default_images_per_s": 50.0,
    "streaming_images_per_s": 124.0,
    "sample_ms": 17.5,
    "window_ms": 24.5,
}
"""LeRobot 0.4.4 on another scene and machine; ranges were 15-20 and 20-29 ms."""
WINDOW = {"frame_offsets": (-1, 0), "row_offsets": range(16), "columns": ("proprio", "applied")}
SAMPLE = {"columns": ("proprio", "applied")}


def vector(size: int) -> VectorSpec:
    names = tuple(f"joint_{n}" for n in range(size))
    return VectorSpec(names=names, units=("rad",) * size, low=(-3.2,) * size, high=(3.2,) * size)


def header(seed: int, *, side_px: int | None = None) -> EpisodeHeader:
    height_px, width_px = (side_px, side_px) if side_px else (HEIGHT_PX, WIDTH_PX)
    cameras = tuple(CameraSpec(name=n, height_px=height_px, width_px=width_px) for n in CAMERAS)
    interface = Interface(cameras=cameras, proprio=vector(14), action=vector(7), rate_hz=RATE_HZ)
    return EpisodeHeader(
        scenario="bench-episodes-v1",
        kind="demo",
        seed=seed,
        start={},
        instruction="put the red block on the tray",
        body="robot",
        interface=interface,
        evidence=("height_m",),
    )


def scene(seed: int, num_steps: int, height_px: int, width_px: int) -> np.ndarray:
    """Return the frames of one camera, uint8 ``(T, H, W, 3)``."""
    random = np.random.default_rng(seed)
    cells = random.integers(50, 150, (height_px // 8, width_px // 8, 3))
    light = np.linspace(0.6, 1.1, width_px)[None, :, None]
    table = np.repeat(np.repeat(cells, 8, 0), 8, 1) * light
    frames = np.empty((num_steps, height_px, width_px, 3), np.uint8)
    for t in range(num_steps):
        frame = table + NOISE_LEVELS * random.standard_normal(table.shape, dtype=np.float32)
        row = round(height_px * (0.5 + 0.25 * math.cos(t / 25)))
        column = round(width_px * (0.5 + 0.25 * math.sin(t / 20)))
        high, wide = height_px // 12, width_px // 10
        frame[row - high : row + high, column - wide : column + wide] = (200, 40, 40)
        frame[row + high : row + 3 * high, column - 4 : column + 4] = (60, 70, 200)
        frames[t] = np.clip(frame, 0, 255)
    return frames


@dataclass(frozen=True, kw_only=True)
class Written:
    """CPU-seconds of one episode's writing."""

    row: EpisodeRow
    steps_s: float
    statistics_s: float
    commit_s: float

    @property
    def images_per_s(self) -> float:
        total_s = self.steps_s + self.statistics_s + self.commit_s
        return len(CAMERAS) * self.row.num_steps / total_s


def write(workspace: Workspace, top: EpisodeHeader, images: Mapping[str, np.ndarray]) -> Written:
    """Record an episode as the control loop does, and take the time of each part."""
    random = np.random.default_rng(top.seed)
    num_steps = len(images[CAMERAS[0]])
    proprio, action = (
        random.uniform(-1, 1, (num_steps, size)).astype(np.float32) for size in (14, 7)
    )
    writer = EpisodeWriter(workspace)
    began = time.process_time()
    writer.on_begin(top)
    for t in range(num_steps):
        seen = Observation(
            images={name: frames[t] for name, frames in images.items()},
            proprio=proprio[t],
            time_s=t / RATE_HZ,
        )
        writer.on_step(
            seen, action[t], WorldStep(observation=seen, applied=action[t], evidence=np.zeros(1))
        )
    filmed = time.process_time()
    for frames in images.values():
        image_stats(frames)
    counted = time.process_time()
    writer.on_end(None)
    row = writer.commit()
    return Written(
        row=row,
        steps_s=filmed - began,
        statistics_s=counted - filmed,
        commit_s=time.process_time() - counted,
    )


def cpu_ms(call: Callable[[int], object], arguments: Sequence[int]) -> np.ndarray:
    """Return the CPU milliseconds of each call, in order of size, the collector switched off."""
    taken = []
    gc.collect()
    gc.disable()
    try:
        for argument in arguments:
            began = time.process_time()
            call(argument)
            taken.append(1000.0 * (time.process_time() - began))
    finally:
        gc.enable()
    return np.sort(taken)


def median_of(
    metric: str,
    values: Sequence[float] | np.ndarray,
    unit: str,
    *,
    compared_with: str = "",
    target: str = "",
) -> Measurement:
    """Return the median, with a 95 % interval from order statistics."""
    ordered = np.sort(values)
    spread = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - spread))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + spread))
    return Measurement(
        metric=metric,
        value=float(np.median(ordered)),
        unit=unit,
        interval=(float(ordered[low]), float(ordered[high])),
        n=len(ordered),
        compared_with=compared_with,
        target=target,
    )


class Rival:
    """LeRobot on the same frames, measured in this run or else as published."""

    def __init__(self, frames: Sequence[Mapping[str, np.ndarray]], folder: Path) -> None:
        self.measured: dict = {}
        if not LEROBOT_PYTHON.exists():
            return
        path = folder / "frames.npy"
        np.save(path, np.stack([[each[name] for name in CAMERAS] for each in frames]))
        script = Path(__file__).with_name("episodes_lerobot.py")
        done = subprocess.run(
            [LEROBOT_PYTHON, script, path, folder / "lerobot"],
            capture_output=True,  # its codecs talk a lot
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        path.unlink()
        if done.returncode:
            raise RuntimeError(f"{script.name} failed:\n{done.stderr[-2000:]}")
        self.measured = json.loads(done.stdout.splitlines()[-1])

    def says(self, label: str, key: str, unit: str) -> str:
        """Return LeRobot's figure for the column of rivals."""
        if key in self.measured:
            return f"{label} {figure(self.measured[key])} {unit}"
        if key in PUBLISHED:
            return f"{label} {figure(PUBLISHED[key])} {unit} (published)"
        return ""


def measure_writing(rival: Rival, written: Sequence[Written]) -> Iterator[Measurement]:
    yield median_of(
        "write, image statistics included",
        [each.images_per_s for each in written],
        "images/CPU-s",
        compared_with="; ".join(
            (
                rival.says("LeRobot default", "default_images_per_s", "AV1"),
                rival.says("streaming h264", "streaming_images_per_s", ""),
            )
        ).strip(),
        target=">= 450",
    )
    images = len(CAMERAS) * NUM_STEPS
    for part in ("steps", "statistics"):
        yield median_of(
            f"write, share of the {part}",
            [1000.0 * getattr(each, f"{part}_s") / images for each in written],
            "ms CPU/image",
        )
    yield median_of(
        "commit of a 5 s episode",
        [1000.0 * each.commit_s for each in written],
        "ms CPU",
        compared_with=rival.says("LeRobot streaming save_episode", "streaming_save_ms", "ms"),
        target="< 30",
    )


def measure_films(
    workspace: Workspace,
    rival: Rival,
    written: Sequence[Written],
    frames: Sequence[Mapping[str, np.ndarray]],
) -> Iterator[Measurement]:
    """Say what the films cost on disk and how true they are: speed is easily bought with either."""
    bytes_total, errors = 0, []
    for each, images in zip(written, frames, strict=False):
        folder = workspace.episodes_folder / each.row.id
        bytes_total += sum((folder / f"{name}.mp4").stat().st_size for name in CAMERAS)
        with WindowReader(workspace, [each.row.id], columns=()) as reader:
            for window in reader:
                for name, image in window.images.items():
                    truth = images[name][window.step].astype(np.float32)
                    errors.append(np.mean((truth - image[0]) ** 2))
    count = len(errors)
    yield Measurement(
        metric="film, size",
        value=bytes_total / count / 1024,
        unit="KiB/image",
        n=count,
        compared_with=rival.says("LeRobot h264", "kib_per_image", "KiB"),
    )
    yield Measurement(
        metric="film, PSNR",
        value=float(10 * np.log10(255**2 / np.mean(errors))),
        unit="dB",
        n=count,
        compared_with=rival.says("LeRobot h264", "psnr_db", "dB"),
    )


def measure_reading(
    workspace: Workspace, ids: Sequence[str], rival: Rival, repeats: int
) -> Iterator[Measurement]:
    random = np.random.default_rng(SEED)
    cases = (
        ("random sample, 2 cameras", SAMPLE, "sample_ms", "<= 7"),
        ("window of 2 frames + 16 rows, 2 cameras", WINDOW, "window_ms", "<= 10"),
    )
    for metric, settings, key, target in cases:
        rival_says = rival.says("LeRobot PyAV", key, "ms")
        with WindowReader(workspace, ids, **settings) as reader:
            for episode in ids:
                reader.read(reader.index(episode, 0))
            taken = cpu_ms(reader.read, random.integers(0, len(reader), repeats).tolist())
            yield median_of(metric, taken, "ms CPU", compared_with=rival_says, target=target)
        with WindowReader(workspace, ids, **settings, open_episodes=1) as reader:
            for episode in ids:
                reader.read(reader.index(episode, 0))
            turns = [
                reader.index(ids[turn % len(ids)], int(random.integers(0, NUM_STEPS)))
                for turn in range(repeats)
            ]
            taken = cpu_ms(reader.read, turns)
            yield median_of(
                f"{metric}, episode opened again", taken, "ms CPU", compared_with=rival_says
            )

        def first_touch(index: int, settings: dict = settings) -> None:
            with WindowReader(workspace, ids, **settings) as reader:
                reader.read(index)

        turns = random.integers(0, len(ids) * NUM_STEPS, repeats // 2).tolist()
        yield median_of(
            f"{metric}, episode never opened before", cpu_ms(first_touch, turns), "ms CPU"
        )
    with WindowReader(workspace, ids, frame_offsets=range(-2, 17)) as reader:
        turns = random.integers(0, len(reader), repeats // 4).tolist()
        yield median_of("window of 19 frames, 2 cameras", cpu_ms(reader.read, turns), "ms CPU")
    with WindowReader(workspace, ids[:1], **WINDOW) as reader:
        yield median_of(
            "window of 2 frames + 16 rows, in order",
            cpu_ms(reader.read, list(range(len(reader)))),
            "ms CPU",
        )


def make_many(workspace: Workspace) -> list[str]:
    """Fill a workspace with copies of one small episode, each under an id of its own.

    The files of the copies are hard links; description and index entry are their own.
    """
    images = {name: scene(n, 8, 64, 64) for n, name in enumerate(CAMERAS)}
    first = write(workspace, header(0, side_px=64), images).row
    source = workspace.episodes_folder / first.id
    files = read_description(source).files
    rows = [first]
    for seed in range(1, MANY):
        description = Description(
            header=header(seed, side_px=64),
            num_steps=first.num_steps,
            files=files,
            recorded_at="2026-01-01T00:00:00Z",
        )
        folder = workspace.episodes_folder / description.id
        folder.mkdir()
        for name in files:
            os.link(source / name, folder / name)
        (folder / DESCRIPTION).write_text(json.dumps(description.to_json()))
        rows.append(description.row())
        workspace.ledger.add_episode(rows[-1])
    return [row.id for row in rows]


_OPENING = """
import json, sys, time
from loopwright.store.windows import WindowReader
from loopwright.store.workspace import Workspace
from pathlib import Path
imported = time.process_time()
with Workspace.open(Path(sys.argv[1])) as workspace:
    ids = json.loads(Path(sys.argv[2]).read_text())
    with WindowReader(workspace, ids, columns=("applied",)) as reader:
        opened = time.process_time()
        # Of this program alone; getrusage counts the process that started it, too.
        [peak] = [x for x in open("/proc/self/status") if x.startswith("VmHWM")]
        print(json.dumps([imported, opened - imported, int(peak.split()[1]) * 1024 / 1e6]))
"""


def measure_many(folder: Path, repeats: int) -> Iterator[Measurement]:
    """Open 10,000 episodes in fresh processes, then read from all over them."""
    with Workspace.create(folder / "many") as workspace:
        ids = make_many(workspace)
        (folder / "ids.json").write_text(json.dumps(ids))
        runs = []
        for _ in range(repeats):
            program = [sys.executable, "-c", _OPENING, folder / "many", folder / "ids.json"]
            said = subprocess.run(program, check=True, capture_output=True, text=True).stdout
            runs.append(json.loads(said))
        imports_s, opening_s, peak_mb = np.transpose(runs)
        yield median_of("open 10,000 episodes", opening_s, "s CPU", target="< 0.5")
        yield median_of("open 10,000 episodes, imports and all", imports_s + opening_s, "s CPU")
        yield median_of("open 10,000 episodes, peak memory", peak_mb, "MB", target="< 200")
        with WindowReader(workspace, ids, **SAMPLE) as reader:
            turns = np.random.default_rng(SEED).integers(0, len(reader), 40 * repeats).tolist()
            yield median_of(
                "random sample among 10,000 of 64x64, each new",
                cpu_ms(reader.read, turns),
                "ms CPU",
            )


def main() -> None:
    title = "Recorded episodes: 2 cameras of 240x320 at 30 Hz, 5 s"
    with (
        Benchmark("episodes", title, seeds=(SEED,)) as bench,
        tempfile.TemporaryDirectory(prefix="episodes-") as place,
    ):
        folder, num_episodes = Path(place), 3 if bench.quick else 8
        frames = [
            {n: scene(2 * e + c, NUM_STEPS, HEIGHT_PX, WIDTH_PX) for c, n in enumerate(CAMERAS)}
            for e in range(3)
        ]
        bench.say("LeRobot on the same frames")
        rival = Rival(frames[: 1 if bench.quick else 2], folder)
        with Workspace.create(folder / "ws") as workspace:
            write(workspace, header(99), frames[0])  # once unseen
            written = [
                write(workspace, header(e), frames[e % len(frames)])
                for e in bench.track(range(num_episodes), "writing")
            ]
            ids = [each.row.id for each in written]
            parts = (
                measure_writing(rival, written),
                measure_films(workspace, rival, written[:1], frames),
                measure_reading(workspace, ids, rival, 120 if bench.quick else 300),
                measure_many(folder, 3 if bench.quick else 5),
            )
            for part in bench.track(parts, "measuring"):
                for measurement in part:
                    bench.add(measurement)
        explain(bench, rival)


def explain(bench: Benchmark, rival: Rival) -> None:
    bench.note(
        f"Scene: coloured texture, a moving block and gripper, sensor noise of {NOISE_LEVELS:g} "
        f"levels. Films: h264 ultrafast crf 15, 4:4:4, a keyframe every {KEYFRAME_INTERVAL}. "
        "CPU time of one process; intervals of medians by order statistics."
    )
    bench.note(
        "Statistics are those that a LeRobot export needs, of the frames that LeRobot samples. "
        "'Opened again': files checked before, as when more episodes are shuffled than stay open. "
        "'Never opened before': every digest is checked, and the reader is made anew."
    )
    bench.note(
        f"The {MANY:,} episodes are hard links to one committed episode of 8 steps, each with a "
        "description, an id and an index entry of its own."
    )
    if rival.measured:
        bench.note(
            f"LeRobot {rival.measured['version']} ran on the same frames in this run, one torch "
            "thread, its defaults (AV1 from PNG; h264 streaming: crf 30, 4:2:0, a keyframe every 2 "
            "frames); it reads with its PyAV routine, reopening the file for every sample, for its "
            "torchcodec build does not load beside a CPU torch. Its films are smaller and less "
            "true (size, PSNR), which is part of the differences, both ways."
        )
    else:
        bench.note(
            "LeRobot was not measured: .lerobot-venv is missing (tools/lerobot_venv.sh "
            ".lerobot-venv makes it); its figures are published ones, of another scene."
        )


if __name__ == "__main__":
    main()
