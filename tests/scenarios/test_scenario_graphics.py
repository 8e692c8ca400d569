"""Headless drawing: which backend is chosen, and what is said when there is none."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys

import pytest

from loopwright.core.errors import InvalidConfig, MissingSystemLibrary
from loopwright.simulation import graphics

APT = r"sudo apt-get install -y .*libegl1.*libosmesa6"


@pytest.fixture
def unset(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(sys, "platform", "linux")


def test_a_backend_that_was_chosen_is_kept(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert graphics.choose_backend() == "osmesa"
    assert os.environ["MUJOCO_GL"] == "osmesa"


@pytest.mark.parametrize(("installed", "backend"), [("EGL", "egl"), ("OSMesa", "osmesa")])
def test_the_first_library_that_loads_is_chosen(unset, monkeypatch, installed, backend):
    monkeypatch.setattr(graphics, "_loads", lambda library: library == installed)
    assert graphics.choose_backend() == backend
    assert os.environ["MUJOCO_GL"] == backend


def test_without_a_library_the_exact_command_is_printed(unset, monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingSystemLibrary, match=APT):
        graphics.choose_backend()


def test_a_library_that_is_listed_but_does_not_load_counts_as_absent(unset, monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libnothing.so.0")
    with pytest.raises(MissingSystemLibrary, match=APT):
        graphics.choose_backend()


def test_a_backend_that_cannot_draw_is_refused(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(InvalidConfig, match="MUJOCO_GL='disable'"):
        graphics.make_context(16, 16)


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_both_backends_draw_the_same_scene(backend):
    if not graphics._loads(graphics._LIBRARIES[backend]):
        pytest.skip(f"{backend} is not installed here")
    code = (
        "from loopwright.scenarios.registry import get_scenario\n"
        "world = get_scenario('button-press-v1').make_world()\n"
        "image = world.reset(0).images['front']\n"
        "world.close()\n"
        "print(int(image.mean()), int(image.std()))\n"
    )
    environment = {**os.environ, "MUJOCO_GL": backend}
    environment.pop("PYOPENGL_PLATFORM", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    mean, deviation = map(int, done.stdout.split())
    assert 90 < mean < 130
    assert 30 < deviation < 70


def test_importing_the_room_sets_no_environment_variable():
    code = (
        "import os\n"
        "before = dict(os.environ)\n"
        "import loopwright.scenarios.registry, loopwright.scenarios.sources\n"
        "import loopwright.scenarios.metaworld.scenario, loopwright.scenarios.gymnasium\n"
        "print(dict(os.environ) == before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
