"""LeRobot's part of ``benchmarks/episodes.py``, run by the Python of ``.lerobot-venv``.

Usage: ``python episodes_lerobot.py FRAMES.npy FOLDER`` with uint8 frames ``(E, 2, T, H, W, 3)``.
Prints one line of JSON. Loopwright is not importable here. LeRobot runs unchanged; where
torchvision has no ``VideoReader`` and no compiled operators, the stand-ins of the conformance test
take their place.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "store"))

import lerobot_judge

RATE_HZ = 30
CAMERAS = ("observation.images.front", "observation.images.wrist")
NUM_READS = 60


def cpu_s() -> float:
    """Return the CPU-seconds of this process, its threads and its finished children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def write(frames: np.ndarray, root: Path, **settings: Any) -> dict[str, float]:
    """Record episodes with LeRobot's writer."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    shape = frames.shape[3:]
    features: dict[str, dict] = {
        name: {"dtype": "video", "shape": shape, "names": ["height", "width", "channels"]}
        for name in CAMERAS
    }
    for name, size in (("observation.state", 14), ("action", 7)):
        joints = [f"joint_{n}" for n in range(size)]
        features[name] = {"dtype": "float32", "shape": (size,), "names": joints}
    dataset = LeRobotDataset.create(
        "local/bench", RATE_HZ, features, root=root, use_videos=True, **settings
    )
    random = np.random.default_rng(0)
    rates, saves_ms = [], []
    for episode in frames:
        num_steps = episode.shape[1]
        state, action = (
            random.uniform(-1, 1, (num_steps, size)).astype(np.float32) for size in (14, 7)
        )
        began = cpu_s()
        for t in range(num_steps):
            images = dict(zip(CAMERAS, episode[:, t], strict=True))
            dataset.add_frame(
                {**images, "observation.state": state[t], "action": action[t], "task": "put"}
            )
        filled = cpu_s()
        dataset.save_episode()
        ended = cpu_s()
        rates.append(2 * num_steps / (ended - began))
        saves_ms.append(1000.0 * (ended - filled))
    dataset.finalize()
    return {"images_per_s": float(np.median(rates)), "save_ms": float(np.median(saves_ms))}


def read_ms(root: Path, deltas: dict[str, list[float]] | None) -> float:
    """Return the median CPU milliseconds of a random item."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset(
        "local/bench", root=root, video_backend="pyav", delta_timestamps=deltas
    )
    taken = []
    for index in np.random.default_rng(1).integers(0, len(dataset), NUM_READS):
        began = time.process_time()
        dataset[int(index)]
        taken.append(1000.0 * (time.process_time() - began))
    return float(np.median(taken))


def psnr_db(root: Path, episode: np.ndarray) -> float:
    """Return how true the films are, over some frames of the first episode."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/bench", root=root, video_backend="pyav")
    errors = []
    for t in range(0, episode.shape[1], 5):
        item = dataset[t]
        for camera, name in enumerate(CAMERAS):
            found = item[name].permute(1, 2, 0).numpy() * 255.0
            errors.append(np.mean((found - episode[camera, t]) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors)))


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    lerobot_judge.stand_in()
    import datasets

    datasets.disable_progress_bars()
    frames, folder = np.load(sys.argv[1], mmap_mode="r"), Path(sys.argv[2])
    datasets.config.HF_DATASETS_CACHE = str(folder / "cache")
    write(frames[:1, :, :20], folder / "unseen", vcodec="h264", streaming_encoding=True)
    default = write(frames, folder / "default")
    streaming = write(frames, folder / "streaming", vcodec="h264", streaming_encoding=True)
    root = folder / "streaming"
    videos = [path.stat().st_size for path in (root / "videos").rglob("*.mp4")]
    window = {name: [-1 / RATE_HZ, 0.0] for name in CAMERAS}
    window |= {name: [n / RATE_HZ for n in range(16)] for name in ("action", "observation.state")}
    answer = {
        "version": metadata.version("lerobot"),
        "default_images_per_s": default["images_per_s"],
        "streaming_images_per_s": streaming["images_per_s"],
        "streaming_save_ms": streaming["save_ms"],
        "sample_ms": read_ms(root, None),
        "window_ms": read_ms(root, window),
        "kib_per_image": sum(videos) / 1024 / (frames.shape[0] * 2 * frames.shape[2]),
        "psnr_db": psnr_db(root, frames[0]),
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
