"""A fleet in a terminal, drawn from plain data: map, robots, tasks with their steps, journal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from loopwright.cli.fleet_words import (
    Plain,
    call_of,
    done_of,
    robot_stands,
    standing,
    step_stands,
    steps_of,
    tone,
)

_HEADINGS = "→↗↑↖←↙↓↘"
_COLORS = {"red": "red", "blue": "blue", "green": "green", "yellow": "yellow"}
_CELL_HEIGHT = 2.0
"""A character is about twice as high as it is wide."""
_MARGIN_M = 0.3
_JOURNAL_LINES = 8


@dataclass(frozen=True, slots=True)
class Said:
    """A line of the journal."""

    clock: str
    text: str
    style: str = ""


def draw(fleet: Plain, journal: Sequence[Said], foot: str, *, width: int, height: int) -> Layout:
    """Return everything as one picture.

    Args:
        fleet: What ``GET /fleet`` answers.
        journal: Its last lines, the oldest first.
        foot: What can be typed, or is being typed.
        width: Of the terminal, in characters.
        height: Of the terminal, in lines.
    """
    screen = Layout()
    journal_height = min(_JOURNAL_LINES + 2, max(4, height // 4))
    screen.split_column(
        Layout(_head(fleet), size=1),
        Layout(name="middle"),
        Layout(_journal(journal[-(journal_height - 2) :]), size=journal_height),
        Layout(Text(foot, style="reverse", no_wrap=True, overflow="ellipsis"), size=1),
    )
    map_width = min(max(24, width // 2), 70)
    map_height = height - journal_height - 2
    robots_height = min(2 * len(fleet["robots"]) + 2, max(4, map_height // 2))
    grid = draw_map(fleet, columns=map_width - 4, rows=map_height - 2)
    screen["middle"].split_row(
        Layout(Panel(grid, title="map", border_style="dim"), size=map_width),
        Layout(name="right"),
    )
    screen["right"].split_column(
        Layout(Panel(_robots(fleet), title="robots", border_style="dim"), size=robots_height),
        Layout(Panel(_tasks(fleet), title="tasks", border_style="dim")),
    )
    return screen


def _head(fleet: Plain) -> Text:
    alive = [robot for robot in fleet["robots"] if robot["alive"]]
    held = [robot["name"] for robot in alive if robot["stopped"]]
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(" fleet ", style="bold reverse")
    at_work = [robot for robot in alive if robot["directed"] and not robot["stopped"]]
    text.append(f"  {len(at_work)} of {len(fleet['robots'])} robots at work")
    if held:
        which = "all robots" if len(held) == len(alive) else ", ".join(held)
        text.append(f"  STOPPED: {which}  ", style="bold white on red")
        text.append('  release: loopwright robot release --note "..."', style="red")
    if fleet["failure"]:
        text.append(f"  {fleet['failure']}  ", style="bold white on red")
    return text


def _robots(fleet: Plain) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for robot in fleet["robots"]:
        word, color, because = robot_stands(robot)
        table.add_row(Text(robot["name"], style="bold"), Text(word, style=color), Text(because))
    return table


def _tasks(fleet: Plain) -> RenderableType:
    lines: list[Text] = []
    for task in reversed(fleet["tasks"]):
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(standing(task), style=f"bold {tone(task)}")
        head.append(f" {done_of(task)}  ", style="dim")
        head.append(task["instruction"])
        lines.append(head)
        if task["status"] != "ended":
            lines += list(_steps(task))
        elif task["reason"]:
            lines.append(
                Text(f"  {task['reason']}", style="dim", no_wrap=True, overflow="ellipsis")
            )
    return Group(*lines) if lines else Text("nothing has been asked yet", style="dim")


def _steps(task: Plain) -> Iterator[Text]:
    for step in steps_of(task):
        sign, color, robot = step_stands(task, step)
        line = Text("  ", no_wrap=True, overflow="ellipsis")
        line.append(f"{sign} {step['id']} ", style=color)
        line.append(f"{robot}: {call_of(step)}")
        if step["after"]:
            line.append(f"  after {', '.join(step['after'])}", style="dim")
        yield line


def _journal(lines: Sequence[Said]) -> RenderableType:
    shown = []
    for line in lines:
        text = Text(f"{line.clock} ", style="dim", no_wrap=True, overflow="ellipsis")
        text.append(line.text, style=line.style or "not dim")
        shown.append(text)
    return Panel(Group(*shown), title="journal", border_style="dim")


# The map -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Grid:
    """Characters over metres; x to the right, y upwards."""

    left_m: float
    top_m: float
    column_m: float
    columns: int
    rows: int
    cells: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def cell(self, x_m: float, y_m: float) -> tuple[int, int]:
        row = round((self.top_m - y_m) / (self.column_m * _CELL_HEIGHT))
        column = round((x_m - self.left_m) / self.column_m)
        return row, column

    def is_free(self, cell: tuple[int, int]) -> bool:
        row, column = cell
        inside = 0 <= row < self.rows and 0 <= column < self.columns
        return inside and self.cells.get(cell, (".", ""))[0] in "·░"

    def put(self, cell: tuple[int, int], sign: str, style: str) -> None:
        if 0 <= cell[0] < self.rows and 0 <= cell[1] < self.columns:
            self.cells[cell] = (sign, style)

    def put_near(self, cell: tuple[int, int], sign: str, style: str) -> tuple[int, int]:
        """Put a mark where it is, or as near as nothing else is."""
        around = [(row, column) for row in range(-2, 3) for column in range(-4, 5)]
        around.sort(key=lambda d: math.hypot(d[0] * _CELL_HEIGHT, d[1]))
        spots = [(cell[0] + row, cell[1] + column) for row, column in around]
        spot = next((s for s in spots if not self._is_mark(s)), cell)
        self.put(spot, sign, style)
        return spot

    def _is_mark(self, cell: tuple[int, int]) -> bool:
        return self.cells.get(cell, ("·", ""))[0] not in "·░"

    def write(self, cell: tuple[int, int], text: str, style: str) -> None:
        """Write beside a mark, where it covers none."""
        for row, column in (
            (cell[0], cell[1] + 2),
            (cell[0], cell[1] - 1 - len(text)),
            (cell[0] + 1, cell[1] - len(text) // 2),
            (cell[0] - 1, cell[1] - len(text) // 2),
        ):
            spots = [(row, column + offset) for offset in range(len(text))]
            inside = 0 <= row < self.rows and column >= 0 and column + len(text) <= self.columns
            if inside and not any(self._is_mark(spot) for spot in spots):
                for spot, letter in zip(spots, text, strict=True):
                    self.put(spot, letter, style)
                return

    def text(self) -> Text:
        drawn = Text(no_wrap=True)
        for row in range(self.rows):
            for column in range(self.columns):
                sign, style = self.cells.get((row, column), (" ", ""))
                drawn.append(sign, style=style)
            drawn.append("\n")
        return drawn


def draw_map(fleet: Plain, *, columns: int, rows: int) -> Text:
    """Return the fleet from above."""
    seen = [thing for thing in fleet["things"] if thing["position_m"]]
    if not seen or columns < 8 or rows < 4:
        return Text("nothing has been seen yet", style="dim")
    grid = _grid_over(seen, columns, rows)
    for thing in seen:
        if thing["kind"] == "station":
            _draw_station(grid, thing)
        elif thing["kind"] == "surface":
            _draw_surface(grid, thing)
    conditions = {robot["name"]: robot_stands(robot)[1] for robot in fleet["robots"]}
    robots = [thing for thing in seen if thing["kind"] == "robot"]
    objects = [thing for thing in seen if thing["kind"] == "object"]
    marks = []
    for thing in robots:
        style = f"bold {conditions.get(thing['name'], 'dim')}"
        mark = grid.put_near(grid.cell(*thing["position_m"][:2]), _heading(thing), style)
        marks.append((mark, thing["name"], style))
    for thing in objects:
        style = _COLORS.get(thing["color"] or "", "magenta")
        grid.put_near(grid.cell(*thing["position_m"][:2]), "■", style)
    for mark, name, style in marks:
        grid.write(mark, name, style)
    for thing in seen:
        if thing["kind"] in ("surface", "station"):
            _name_place(grid, thing)
    return grid.text()


def _grid_over(things: Sequence[Plain], columns: int, rows: int) -> _Grid:
    def edges(axis: int) -> tuple[float, float]:
        spans = [(t["position_m"][axis], (t["radius_m"] or 0.2) + _MARGIN_M) for t in things]
        return min(x - r for x, r in spans), max(x + r for x, r in spans)

    (left_m, right_m), (bottom_m, top_m) = edges(0), edges(1)
    column_m = max((right_m - left_m) / columns, (top_m - bottom_m) / (rows * _CELL_HEIGHT))
    return _Grid(left_m, top_m, column_m, columns, rows)


def _draw_station(grid: _Grid, thing: Plain) -> None:
    x, y = thing["position_m"][:2]
    for number in range(120):
        angle = 2.0 * math.pi * number / 120
        edge = (x + thing["radius_m"] * math.cos(angle), y + thing["radius_m"] * math.sin(angle))
        grid.put(grid.cell(*edge), "·", "dim")


def _draw_surface(grid: _Grid, thing: Plain) -> None:
    x, y = thing["position_m"][:2]
    width, height = thing["size_m"][:2]
    top, left = grid.cell(x - width / 2, y + height / 2)
    bottom, right = grid.cell(x + width / 2, y - height / 2)
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            grid.put((row, column), "░", "dim")


def _name_place(grid: _Grid, thing: Plain) -> None:
    x, y = thing["position_m"][:2]
    if thing["kind"] == "station":
        row, column = grid.cell(x, y + thing["radius_m"])
        grid.write((row - 1, column - 2 - len(thing["name"]) // 2), thing["name"], "dim")
    else:
        row, column = grid.cell(x, y - thing["size_m"][1] / 2)
        grid.write((row + 1, column - 2 - len(thing["name"]) // 2), thing["name"], "dim italic")


def _heading(thing: Plain) -> str:
    if thing["heading_rad"] is None:
        return "◆"
    return _HEADINGS[round(thing["heading_rad"] / (math.pi / 4)) % 8]
