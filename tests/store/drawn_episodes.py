"""Episodes to record: a small drawn scene, the same for everyone who asks with the same seed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from loopwright.core.episode import Episode, EpisodeHeader, SourceKind
from loopwright.core.interface import CameraSpec, Interface, VectorSpec
from loopwright.store.episodes import write_episode
from loopwright.store.snapshots import Snapshot, save_snapshot
from loopwright.store.workspace import Workspace


def vector(*names: str) -> VectorSpec:
    size = len(names)
    return VectorSpec(names=names, units=("m",) * size, low=(-1.0,) * size, high=(1.0,) * size)


INTERFACE = Interface(
    cameras=(
        CameraSpec(name="front", height_px=64, width_px=64),
        CameraSpec(name="wrist", height_px=32, width_px=48),
    ),
    proprio=vector("x", "y", "z", "gripper"),
    action=vector("dx", "dy", "dz"),
    rate_hz=12.5,
)


def header(*, kind: SourceKind = "attempt", seed: int = 7, **changes: object) -> EpisodeHeader:
    fields: dict = {
        "scenario": "drawer-open-v1",
        "kind": kind,
        "seed": seed,
        "start": {"drawer_x_m": 0.1 + seed / 100},
        "instruction": "open the drawer",
        "body": "robot",
        "interface": INTERFACE,
        "evidence": () if kind == "video" else ("opening_m", "handle_x_m"),
        "candidate": "c" * 64 if kind == "attempt" else None,
    }
    return EpisodeHeader(**{**fields, **changes})


def draw(height_px: int, width_px: int, seed: int, t: int) -> np.ndarray:
    """Draw a shaded scene with a small coloured square that moves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height_px, :width_px]
    ramps = rng.uniform(0.2, 1.0, (3, 2))
    image = np.stack([60 + 80 * (a * x / width_px + b * y / height_px) for a, b in ramps], -1)
    left = (t + seed) % (width_px - 8)
    image[8:16, left : left + 8] = (200, 40, 40)
    return image.astype(np.uint8)


def make_episode(*, num_steps: int = 25, seed: int = 7, **changes: object) -> Episode:
    top = header(seed=seed, **changes)
    images = {
        c.name: np.stack([draw(c.height_px, c.width_px, seed, t) for t in range(num_steps)])
        for c in top.interface.cameras
    }
    time_s = np.arange(num_steps) / top.interface.rate_hz
    if top.kind == "video":
        return Episode(header=top, images=images, time_s=time_s)
    rng = np.random.default_rng(seed)
    return Episode(
        header=top,
        images=images,
        time_s=time_s,
        proprio=rng.standard_normal((num_steps, 4)).astype(np.float32),
        requested=rng.standard_normal((num_steps, 3)).astype(np.float32),
        applied=rng.standard_normal((num_steps, 3)).astype(np.float32),
        evidence=rng.standard_normal((num_steps, len(top.evidence))),
    )


def record_all(root: Path, *, num_episodes: int, num_steps: int) -> None:
    """Do what a collection does, and say aloud what is committed."""
    with Workspace.create(root, exclusive=True) as workspace:
        say("ready")
        rows = []
        for seed in range(num_episodes):
            workspace.objects.put_json({"before episode": seed})
            rows.append(write_episode(workspace, make_episode(seed=seed, num_steps=num_steps)))
            say(f"committed {rows[-1].id} {rows[-1].digest}")
        save_snapshot(workspace, Snapshot(episodes=tuple(row.id for row in rows)))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
