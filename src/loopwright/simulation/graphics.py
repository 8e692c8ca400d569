"""Headless OpenGL: choosing a backend when the first world needs one, and saying what is missing.

Nothing happens at import. ``MUJOCO_GL`` is respected when it is set; else the first of EGL and
OSMesa whose library is installed is chosen.
"""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import os
import sys
import weakref
from collections.abc import Callable
from typing import Protocol

from loopwright.core.errors import InvalidConfig, MissingSystemLibrary

_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_APT_LINE = "sudo apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri libosmesa6"


_open: weakref.WeakSet[Closable] = weakref.WeakSet()


class Closable(Protocol):
    """What holds an OpenGL context."""

    def close(self) -> None:
        """Release it; idempotent."""
        ...


class GlContext(Protocol):
    """An OpenGL context, as MuJoCo's bindings make them."""

    def make_current(self) -> None:
        """Direct the OpenGL calls of this thread to this context."""
        ...

    def free(self) -> None:
        """Destroy it."""
        ...


def choose_backend() -> str:
    """Return the OpenGL backend of this process and prepare the environment for it.

    Must run before ``mujoco`` is first imported: its bindings pick their default at import.

    Raises:
        MissingSystemLibrary: Neither EGL nor OSMesa can be loaded.
    """
    # Mesa's software rasteriser starts a thread per core, which costs more than it brings for
    # small images and takes the cores from whoever else is computing.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    chosen = os.environ.get("MUJOCO_GL", "").lower().strip()
    if chosen:
        return chosen
    if sys.platform != "linux":
        return "native"
    for backend, library in _LIBRARIES.items():
        if _loads(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise MissingSystemLibrary("EGL or OSMesa", "drawing without a screen", _APT_LINE)


def make_context(width_px: int, height_px: int) -> GlContext:
    """Return a new offscreen OpenGL context of this process's backend.

    Raises:
        MissingSystemLibrary: The backend is there in name, but gives no context.
        InvalidConfig: ``MUJOCO_GL`` names no backend that can draw.
    """
    backend = choose_backend()
    try:
        return _context_class(backend)(width_px, height_px)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        raise MissingSystemLibrary(
            f"a working {backend} ({error})", "drawing without a screen", _APT_LINE
        ) from error


def close_at_exit(holder: Closable) -> None:
    """Close ``holder`` when the interpreter ends, if nobody did before.

    Call it once the context exists: handlers run last in, first out, and the one that ends EGL
    for the whole process is registered with the first context.
    """
    if not _open:
        atexit.register(_close_open)
    _open.add(holder)


def _close_open() -> None:
    for holder in list(_open):
        holder.close()


def _context_class(backend: str) -> Callable[[int, int], GlContext]:
    if backend == "egl":
        from mujoco.egl import GLContext
    elif backend == "osmesa":
        from mujoco.osmesa import GLContext
    elif backend in {"native", "glfw", "cgl", "wgl", "glx", "enable", "enabled", "on", "true", "1"}:
        from mujoco import GLContext
    else:
        raise InvalidConfig(
            f"MUJOCO_GL={backend!r} draws nothing; unset it, or set it to one of "
            f"{sorted(_LIBRARIES)}"
        )
    return GLContext


def _loads(library: str) -> bool:
    name = ctypes.util.find_library(library)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
