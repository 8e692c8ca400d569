"""Run by the Python of ``.lerobot-venv``: read a dataset with LeRobot and say what it saw.

Usage: ``python lerobot_judge.py DATASET ANSWER.npz``; with ``--write`` LeRobot's own writer makes
the dataset first. Loopwright is not importable here. LeRobot's
loader and its check of timestamps run unchanged; two things stand in for packages whose builds
need CUDA: names for torchvision's compiled operators, which loading never calls, and a
``torchvision.io.VideoReader`` over PyAV, which torchvision no longer has. Where torchvision and
torchcodec load as they are (``--as-installed``), nothing is replaced.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

_OPERATORS = (
    "nms",
    "qnms",
    "roi_align",
    "_roi_align_backward",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "roi_pool",
    "_roi_pool_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "qroi_align",
    "deform_conv2d",
    "_deform_conv2d_backward",
)


class VideoReader:
    """The part of torchvision's class of that name that LeRobot uses."""

    def __init__(self, path: str, stream: str) -> None:
        assert stream == "video"
        self.container = av.open(path)
        self._frames = self.container.decode(video=0)

    def seek(self, time_s: float, keyframes_only: bool) -> VideoReader:
        assert keyframes_only
        self.container.seek(int(time_s * av.time_base))
        self._frames = self.container.decode(video=0)
        return self

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for frame in self._frames:
            image = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            yield {"data": image, "pts": float(frame.pts * frame.time_base)}


def stand_in() -> None:
    """Make torchvision importable beside a CPU torch, with a ``VideoReader``."""
    library = torch.library.Library("torchvision", "DEF")
    for name in _OPERATORS:
        library.define(f"{name}(Tensor unused) -> Tensor")
    globals()["_keep"] = library  # it takes its definitions along when it is collected
    import torchvision

    torchvision.io.VideoReader = VideoReader
    torchvision.set_video_backend = lambda backend: None


def judge(root: Path, backend: str) -> dict[str, np.ndarray]:
    """Return everything that LeRobot says about a dataset."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("local/judged", root=root, video_backend=backend)
    items = [dataset[i] for i in range(len(dataset))]
    answer: dict[str, np.ndarray] = {}
    for key in items[0]:
        if key in dataset.meta.camera_keys:
            levels = torch.stack([item[key] for item in items]) * 255.0
            answer[key] = levels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        elif key != "task":
            answer[key] = torch.stack([torch.as_tensor(item[key]) for item in items]).numpy()
    said = {
        "num_episodes": dataset.num_episodes,
        "fps": dataset.fps,
        "features": list(dataset.features),
        "tasks": [item["task"] for item in items],
        "lengths": list(dataset.meta.episodes["length"]),
        "read_stats": listed(dataset.meta.stats),
        "computed_stats": listed(computed_stats(dataset, answer)),
        "window": windows(root, backend, dataset.fps),
    }
    answer["said"] = np.array(json.dumps(said))
    return answer


def write(root: Path) -> None:
    """Let LeRobot write a dataset of three episodes, several to a file."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    height_px, width_px = 48, 64
    camera = "observation.images.top"
    features = {
        camera: {
            "dtype": "video",
            "shape": (height_px, width_px, 3),
            "names": ["height", "width", "channels"],
        },
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["pan", "tilt"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["pan", "tilt"]},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }
    dataset = LeRobotDataset.create(
        "local/written", fps=15, features=features, root=root, vcodec="h264"
    )
    rng = np.random.default_rng(0)
    for episode, length in enumerate((11, 8, 14)):
        for t in range(length):
            image = np.full((height_px, width_px, 3), 40 + 50 * episode, np.uint8)
            image[10:30, 3 * t : 3 * t + 12] = (210, 190, 60)
            frame = {
                camera: image,
                "observation.state": rng.normal(size=2).astype(np.float32),
                "action": rng.normal(size=2).astype(np.float32),
                "next.success": np.array([episode != 1 and t == length - 1]),
                "task": ("wave", "nod")[episode % 2],
            }
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()


def computed_stats(dataset: Any, answer: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the statistics that LeRobot computes of what it has read, merged over episodes."""
    from lerobot.datasets.compute_stats import (
        aggregate_stats,
        auto_downsample_height_width,
        get_feature_stats,
        sample_indices,
    )

    parts = []
    for episode in range(dataset.num_episodes):
        mine = np.flatnonzero(answer["episode_index"] == episode)
        part = {}
        for key in dataset.features:
            values = answer[key][mine]
            if key in dataset.meta.camera_keys:
                frames = values[sample_indices(len(values))].transpose(0, 3, 1, 2)
                reduced = np.stack([auto_downsample_height_width(f) for f in frames])
                # As float: LeRobot squares uint8, which overflows.
                stats = get_feature_stats(reduced / 255.0, axis=(0, 2, 3), keepdims=True)
                part[key] = {k: v if k == "count" else v[0] for k, v in stats.items()}
            else:
                # As float: NumPy does not subtract booleans, and int64 squares are exact anyway.
                part[key] = get_feature_stats(
                    values.astype(np.float64), axis=0, keepdims=values.ndim == 1
                )
        parts.append(part)
    return aggregate_stats(parts)


def windows(root: Path, backend: str, fps: float) -> dict[str, Any]:
    """Read one window with ``delta_timestamps``, as a policy's training does."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset, LeRobotDatasetMetadata

    keys = LeRobotDatasetMetadata("local/judged", root=root).camera_keys
    deltas = {"action": [k / fps for k in range(-1, 4)]} | {key: [-1 / fps, 0.0] for key in keys}
    dataset = LeRobotDataset(
        "local/judged", root=root, video_backend=backend, delta_timestamps=deltas
    )
    item = dataset[1]
    return {
        "action": item["action"].tolist(),
        "images": {key: list(item[key].shape) for key in keys},
    }


def listed(stats: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, list]]:
    """Return statistics as plain data."""
    return {k: {n: np.asarray(v).tolist() for n, v in s.items()} for k, s in stats.items()}


def main() -> None:
    """Judge the dataset that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("answer", type=Path)
    parser.add_argument("--as-installed", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.as_installed:
        stand_in()
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        datasets.config.HF_DATASETS_CACHE = cache
        if arguments.write:
            write(arguments.dataset)
        backend = "torchcodec" if arguments.as_installed else "pyav"
        np.savez(arguments.answer, **judge(arguments.dataset, backend))


if __name__ == "__main__":
    main()
