"""Paints what a camera of the warehouse sees, in a process of its own that comes last.

::

    python -m loopwright.robot.drivers.warehouse.painter WORLD

reads the names of cameras from its input, one a line, and answers each with the length (4 bytes,
the largest first) and the bytes of a JPEG. It ends when its input ends. It is as nice as a process
can be: guards and drives never wait for a picture.
"""

# MuJoCo's bindings are compiled and carry no types.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import os
import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from loopwright.robot.drivers.warehouse.signals import WorldSignals, read_scene, read_state
from loopwright.simulation.graphics import choose_backend
from loopwright.simulation.warehouse import layout

WIDTH_PX, HEIGHT_PX = 480, 360
OVERVIEW = "overview"
CAMERAS = (OVERVIEW, *layout.STATIONS)
"""One of everything, and one above each station."""
LENGTH = struct.Struct(">I")
_QUALITY = "4"
_NICENESS = 19


class Painter:
    """The model of the warehouse, and what draws it."""

    def __init__(self, world: Path) -> None:
        """Read along with the signals of a world.

        Raises:
            MissingSystemLibrary: There is no OpenGL without a screen.
        """
        choose_backend()  # before anything imports the simulator, which picks its own else
        import mujoco

        from loopwright.simulation.warehouse.model import scene

        self._mujoco = mujoco
        self._model = mujoco.MjModel.from_xml_string(scene())
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, height=HEIGHT_PX, width=WIDTH_PX)
        signals = WorldSignals(world)
        self._scene = signals.scene_reader()
        self._states = {name: signals.state_reader(name) for name in layout.ROBOTS}

    def paint(self, camera: str) -> np.ndarray:
        """Return what a camera sees now, uint8 ``(H, W, 3)``."""
        from loopwright.simulation.warehouse.picture import place

        now = read_scene(self._scene)
        if now is not None:
            states = {n: read_state(reader, n) for n, reader in self._states.items()}
            positions = {n: s.position for n, s in states.items() if s}
            touched = {n: s.touched for n, s in states.items() if s}
            place(self._model, self._data, (now.poses, positions, touched))
        self._mujoco.mj_kinematics(self._model, self._data)
        self._mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera=self._view(camera))
        return self._renderer.render()

    def _view(self, camera: str) -> Any:
        view = self._mujoco.MjvCamera()
        if camera == OVERVIEW:
            x, y = np.mean([centre for centre, _ in layout.STATIONS.values()], axis=0)
            view.lookat = (x + 0.5, y + 0.2, 0.0)
            view.distance, view.azimuth, view.elevation = 7.2, 90.0, -55.0
        else:
            view.lookat = (*layout.STATIONS[camera][0], layout.TABLE_TOP_M + 0.2)
            # From the middle of the hall where the door would hide what is behind it.
            azimuth = 125.0 if view.lookat[0] < layout.AISLE_X_M else 55.0
            view.distance, view.azimuth, view.elevation = 2.9, azimuth, -36.0
        return view


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """Return uint8 ``(H, W, 3)`` as a JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.height, encoder.width = pixels.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1)
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY, "threads": "1"}
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def main(world: str) -> None:
    """Paint until nobody asks any more."""
    os.nice(_NICENESS)
    painter = Painter(Path(world))
    for line in sys.stdin:
        picture = encode_jpeg(painter.paint(line.strip()))
        sys.stdout.buffer.write(LENGTH.pack(len(picture)) + picture)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
