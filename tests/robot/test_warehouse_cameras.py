"""Pictures of the warehouse: painted by somebody else, seldom, and said when there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.core.errors import UnknownName
from loopwright.robot.drivers.warehouse.cameras import EVERY_S, WarehouseCameras
from loopwright.robot.drivers.warehouse.signals import WorldSignals
from loopwright.robot.knowledge import NoPicture


@pytest.fixture
def cameras(tmp_path: Path) -> Iterator[WarehouseCameras]:
    WorldSignals(tmp_path / "world").create()
    cameras = WarehouseCameras(tmp_path / "world", tmp_path / "painter.err")
    yield cameras
    cameras.close()
    assert cameras._painter is None


def test_pictures_are_painted_on_demand_and_not_more_often_than_is_meant(
    cameras: WarehouseCameras,
) -> None:
    assert cameras._painter is None  # nobody has asked
    first = cameras.picture("overview")
    assert first[:2] == b"\xff\xd8"
    assert cameras.picture("overview") is first
    began_s = time.monotonic()
    others = [cameras.picture(name) for name in cameras.names if name != "overview"]
    assert time.monotonic() - began_s > EVERY_S * (len(others) - 1)
    assert len({first, *others}) == len(cameras.names)
    with pytest.raises(UnknownName, match="did you mean 'bench'"):
        cameras.picture("benc")


def test_a_painter_that_died_is_said_and_replaced(cameras: WarehouseCameras) -> None:
    cameras.picture("bench")
    assert cameras._painter is not None
    cameras._painter.kill()
    cameras._painter.wait()
    with pytest.raises(NoPicture, match=r"painter\.err"):
        cameras.picture("door")
    assert cameras.picture("door")[:2] == b"\xff\xd8"
