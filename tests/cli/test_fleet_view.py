"""The terminal's picture of a fleet: everything is on it, at any size, and text is only text."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from loopwright.cli.fleet_view import Said, draw, draw_map


def thing(name: str, kind: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": kind, "position_m": [x, y, 0.0], "heading_rad": None, "color": None,
        "radius_m": 0.0, "size_m": [0.0, 0.0, 0.0], **more,
    }  # fmt: skip


def robot(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "alive": True, "lost_because": "", "stopped": False, "stopped_by": "",
        "directed": True, "skills": ["drive"], "running": [], **more,
    }  # fmt: skip


def a_fleet() -> dict[str, Any]:
    step = {"id": "s1", "skill": "drive", "values": {"to": "bench"}, "robot": "cart-1", "after": []}
    return {
        "failure": None,
        "robots": [robot("cart-1"), robot("arm-1", stopped=True, stopped_by="eve")],
        "things": [
            thing("bench", "station", 0.0, 0.0, radius_m=1.2),
            thing("table", "surface", 0.5, 0.0, size_m=[0.4, 0.7, 0.1]),
            thing("cart-1", "robot", -0.5, 0.5, heading_rad=1.57),
            thing("arm-1", "robot", -0.5, -0.5),
            thing("red-cube", "object", 0.5, 0.1, color="red"),
            thing("blue-cube", "object", 0.5, 0.1, color="blue"),
            {**thing("lost-cube", "object", 0.0, 0.0), "position_m": None},
        ],
        "tasks": [
            {
                "id": "t-1", "instruction": "[red]bring[/] it", "status": "running",
                "outcome": None, "reason": "", "refused": False, "cancelled": False,
                "graph": {"steps": [step]}, "attempts": [],
            }
        ],
    }  # fmt: skip


def shown(width: int, height: int, **other: Any) -> str:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    said = [Said("10:00:00", "[/] happened")]
    console.print(draw({**a_fleet(), **other}, said, "keys", width=width, height=height))
    return console.export_text()


def test_all_that_one_wants_to_know_is_on_it() -> None:
    text = shown(120, 36)
    for word in ("bench", "table", "cart-1", "arm-1", "↑", "◆", "stopped", "eve", "STOPPED: arm-1"):
        assert word in text, word
    assert text.count("■") == 2  # also where one lies on the other
    assert "[red]bring[/] it" in text
    assert "[/] happened" in text
    assert "cart-1: drive bench" in text


def test_a_fleet_that_nobody_directs_does_not_look_well() -> None:
    robots = [robot("cart-1", directed=False), robot("arm-1", directed=False)]
    text = shown(160, 36, failure="the coordinator has stopped: [/] disk full", robots=robots)
    assert "the coordinator has stopped: [/] disk full" in text
    assert "0 of 2 robots at work" in text
    assert text.count("undirected") == 2
    assert "free" not in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (200, 60), (20, 6)])
def test_it_fits_any_terminal(width: int, height: int) -> None:
    lines = shown(width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_a_fleet_that_has_seen_nothing_has_an_empty_map() -> None:
    nothing = {"robots": [], "things": [], "tasks": []}
    assert "nothing has been seen" in draw_map(nothing, columns=40, rows=10).plain
