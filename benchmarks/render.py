"""Frames per CPU-second: Meta-World's default renderer against the fast one, in one run.

Both draw the same state of the same simulation through the same kind of OpenGL context.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import numpy as np

from benchmarks.harness import Benchmark, Measurement
from loopwright.scenarios.metaworld.bodies import BODIES
from loopwright.scenarios.metaworld.catalogue import TASKS
from loopwright.simulation.graphics import choose_backend

SIDES_PX = (64, 84, 128)
TARGET_FPS = ">= 300"


def main() -> None:
    backend = choose_backend()
    from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

    from loopwright.scenarios.metaworld.renderer import CAMERA, FastRenderer
    from loopwright.scenarios.metaworld.simulation import make_simulation, start_simulation

    with Benchmark("render", "Drawing: frames per CPU-second of one thread") as bench:
        simulation = make_simulation(TASKS[0])
        start_simulation(simulation, TASKS[0].start_vector(0))
        model, data = simulation.model, simulation.data
        repeats = 3 if bench.quick else 10
        for side_px in bench.track(SIDES_PX, "drawing"):
            default = MujocoRenderer(model, data, None, side_px, side_px, camera_name=CAMERA)
            with closing(default):
                rival = frame_rates(lambda d=default: d.render("rgb_array"), 3, frames=5)
            for body in BODIES:
                with closing(FastRenderer(model, image_px=side_px, body=body)) as fast:
                    ours = frame_rates(lambda f=fast: f.draw(data), repeats, frames=100)
                bench.add(
                    Measurement(
                        metric=f"{side_px} px, {body}",
                        value=float(np.median(ours)),
                        unit="frames/CPU-s",
                        interval=(min(ours), max(ours)),
                        n=repeats,
                        compared_with=f"default, robot: {np.median(rival):.1f}",
                        target=TARGET_FPS if (side_px, body) == (64, "robot") else "",
                    )
                )
        bench.note(f"{TASKS[0].id} at its start, {backend}, 100 frames a repeat.")
        bench.note("Values are medians, intervals the slowest and the fastest repeat.")


def frame_rates(draw: Callable[[], object], repeats: int, *, frames: int) -> list[float]:
    """Return frames per CPU-second of each repeat, after one frame to warm up."""
    draw()
    rates = []
    for _ in range(repeats):
        began_s = time.process_time()
        for _ in range(frames):
            draw()
        rates.append(frames / (time.process_time() - began_s))
    return rates


if __name__ == "__main__":
    main()
