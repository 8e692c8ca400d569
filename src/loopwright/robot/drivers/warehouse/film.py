"""A film of what happened: positions are kept while it happens, pictures are drawn afterwards."""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from loopwright.robot.drivers.warehouse.signals import (
    WorldSignals,
    read_scene,
    read_state,
)
from loopwright.simulation.graphics import choose_backend
from loopwright.simulation.warehouse import layout
from loopwright.simulation.warehouse.model import (
    scene,
)
from loopwright.simulation.warehouse.picture import Frame, place
from loopwright.store.video import FilmWriter

SAMPLES_PER_S = 10.0
FRAMES_PER_S = 20.0
"""Twice as fast as it was."""


class Filming:
    """Keeps where everything was, while it runs; use as a context manager."""

    def __init__(self, world: Path) -> None:
        """Read along with the signals of a world."""
        signals = WorldSignals(world)
        self._scene = signals.scene_reader()
        self._states = {name: signals.state_reader(name) for name in layout.ROBOTS}
        self._kept: list[Frame] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="filming", daemon=True)

    def __enter__(self) -> Filming:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; what was kept can be drawn."""
        self._ended.set()
        self._thread.join(timeout=5.0)

    def draw(self, path: Path, *, progress: Callable[[float], None] = lambda _: None) -> int:
        """Draw the film; returns the number of frames.

        Args:
            path: Where to; replaced if it is there.
            progress: Told the finished share.

        Raises:
            MissingSystemLibrary: There is no OpenGL without a screen.
        """
        choose_backend()
        import mujoco

        model = mujoco.MjModel.from_xml_string(scene())
        data = mujoco.MjData(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        renderer = mujoco.Renderer(model, height=480, width=640)
        writer = FilmWriter(path, height_px=480, width_px=640, rate_hz=FRAMES_PER_S)
        try:
            for number, frame in enumerate(self._kept):
                place(model, data, frame)
                mujoco.mj_kinematics(model, data)
                mujoco.mj_camlight(model, data)
                renderer.update_scene(data, camera="overview")
                writer.write(renderer.render())
                progress((number + 1) / len(self._kept))
        finally:
            writer.close()
            renderer.close()
        return len(self._kept)

    def _watch(self) -> None:
        while not self._ended.wait(1.0 / SAMPLES_PER_S):
            now = read_scene(self._scene)
            states = {n: read_state(reader, n) for n, reader in self._states.items()}
            if now is not None:
                positions = {n: s.position for n, s in states.items() if s}
                touched = {n: s.touched for n, s in states.items() if s}
                self._kept.append((now.poses, positions, touched))
