"""The log of the warehouse: what was written down happens again, to the last bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loopwright.core.errors import DamagedData
from loopwright.simulation.warehouse.physics import Warehouse
from loopwright.simulation.warehouse.worldlog import (
    MOMENT_EVERY_STEPS,
    Commands,
    WorldLogWriter,
    read_world_log,
)

STEPS = MOMENT_EVERY_STEPS + 150


def command(step: int, random: np.random.Generator) -> Commands:
    """Return some of the robots moving some of the time."""
    arm = None if step % 200 < 60 else random.normal(0.0, 0.4, 8)
    mover = random.normal(0.0, 0.3, 11) if step % 120 < 80 else None
    return {"arm-1": arm, "mover-1": mover}


@pytest.fixture(scope="module")
def happened(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    """Write the log of a world and keep every moment of it."""
    path = tmp_path_factory.mktemp("log") / "some.world"
    world, log, random = Warehouse(), WorldLogWriter(path), np.random.default_rng(0)
    moments = []
    for step in range(STEPS):
        commands = command(step, random)
        moments.append(world.moment())
        log.step(world, commands)
        world.step(commands)
    log.close()
    return path, moments


def test_every_moment_comes_again(happened: tuple[Path, list[np.ndarray]]) -> None:
    path, moments = happened
    log, world = read_world_log(path), Warehouse()
    for step, _ in enumerate(log.replay(world, 40, log.end), 40):
        assert np.array_equal(world.moment(), moments[step])
    assert np.array_equal(log.moment_at(log.end - 1), moments[log.end - 1])


def test_a_part_is_a_log_of_its_own(
    happened: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    path, moments = happened
    read_world_log(path).write_part(tmp_path / "part.world", 330, 420)
    part, world = read_world_log(tmp_path / "part.world"), Warehouse()
    for step, _ in enumerate(part.replay(world, 330, 420), 330):
        assert np.array_equal(world.moment(), moments[step])
    with pytest.raises(DamagedData, match="knows the steps up to 420"):
        part.moment_at(329)


def test_a_killed_writer_loses_no_whole_record(
    happened: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    path, moments = happened
    raw, cut = path.read_bytes(), tmp_path / "cut.world"
    for lost_bytes in (1, 37, 200):
        cut.write_bytes(raw[:-lost_bytes])
        log = read_world_log(cut)
        assert STEPS - 60 < log.end < STEPS
        assert np.array_equal(log.moment_at(log.end - 1), moments[log.end - 1])


def test_a_changed_byte_is_noticed(happened: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    path, _ = happened
    for at in (5, 4_000, 60_000):
        raw = bytearray(path.read_bytes())
        raw[at] ^= 1
        (tmp_path / "changed.world").write_bytes(raw)
        with pytest.raises(DamagedData):
            read_world_log(tmp_path / "changed.world")


def test_a_moment_of_another_world_is_refused() -> None:
    world = Warehouse()
    with pytest.raises(DamagedData, match="another version of the warehouse"):
        world.restore(world.moment()[:-1])
