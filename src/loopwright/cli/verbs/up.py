"""``loopwright up``: start a fleet, and let it work until it is told to end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from loopwright.cli.fleet_episodes import EpisodesAside
from loopwright.cli.progress import progress_bar
from loopwright.core.errors import UnknownName
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Entry
from loopwright.simulation.graphics import choose_backend

SITES = ("tabletop",)


def main(
    site: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SITE")] = "tabletop",
    /,
    *,
    folder: Path = Path("runs/fleet"),
    ask: tuple[str, ...] = (),
    film: bool = True,
    release: str = "",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Start a simulated warehouse with four robots, and give it instructions.

    Without --ask it reads instructions from standard input, one a line, until that ends.

    Args:
        site: Which fleet; "tabletop" is the warehouse.
        folder: The fleet's folder: journal, memory, keys, black boxes. Used again, it goes on.
        ask: Instructions, in English or Chinese, carried out one after another.
        film: Draw a film of every task.
        release: What was found and done about an open stop, to release it at the start.
        json_output: Print the tasks as JSON.
    """
    if site not in SITES:
        raise UnknownName("fleet", site, SITES)
    if film:
        choose_backend()  # before anything imports the simulator, which picks its own else
    from loopwright.robot.drivers.warehouse.film import Filming
    from loopwright.robot.fleet.fleet import run_fleet
    from loopwright.robot.fleet.warehouse import world_folder

    console = Console(stderr=True, highlight=False)
    console.print("starting the world, guards, drives and agents of four robots ...")
    done: list[TaskState] = []
    with (
        EpisodesAside(folder) as aside,
        run_fleet(folder, on_entry=lambda e: _heard(console, aside, e), release=release) as fleet,
    ):
        console.print(f"[bold]{len(fleet.robots())} robots are at work[/]; {fleet.url}")
        for instruction in ask or _lines(console):
            with Filming(world_folder(fleet.site)) as filming:
                task = fleet.carry_out(instruction, by="operator")
            done.append(task)
            _report(console, task)
            if film and task.intents:
                path = fleet.site.films / f"{task.id}.mp4"
                with progress_bar("drawing the film") as progress:
                    filming.draw(path, progress=lambda share: progress(share, ""))
                console.print(f"film: {path}")
    if json_output:
        print(json.dumps([_plain(task) for task in done], ensure_ascii=False))
    else:
        for task in done:
            print(f"{task.id} {_word(task)}")
    return 0 if all(task.outcome == "succeeded" for task in done) else 1


def _lines(console: Console) -> Any:
    console.print("say what to do, one instruction a line; an empty line ends the fleet")
    for line in sys.stdin:
        if not line.strip():
            return
        yield line.strip()


def _heard(console: Console, aside: EpisodesAside, entry: Entry) -> None:
    """Tell of an event; have episodes made of a task that has ended."""
    _tell(console, entry)
    aside.take(entry)


def _tell(console: Console, entry: Entry) -> None:
    """Print one event as a line of what happens."""
    clock = time.strftime("%H:%M:%S", time.localtime(entry.time_s))
    event, text = entry.event, ""
    if isinstance(event, happened.TaskAsked):
        text = f"[bold]{event.instruction}[/]"
    elif isinstance(event, happened.TaskPlanned):
        steps: Any = event.graph["steps"]
        text = f"a plan of {len(steps)} steps" + (f", because {event.reason}" * bool(event.reason))
    elif isinstance(event, happened.IntentIssued):
        values = " ".join(str(v) for v in event.values.values())
        text = f"  {event.robot}: {event.skill} {values}"
    elif isinstance(event, happened.IntentEnded):
        color = {"succeeded": "green", "failed": "red"}.get(event.outcome, "yellow")
        text = f"  [{color}]{event.outcome}[/] in {event.lasted_s:.1f} s {event.reason}"
    elif isinstance(event, happened.RobotLost):
        text = f"[red]{event.robot} is lost: {event.reason}[/]"
    elif isinstance(event, happened.StopPressed):
        text = f"[red]stop {event.robot or 'of all robots'} by {event.by}[/]"
    if text:
        console.print(f"[dim]{clock}[/] {text}")


def _report(console: Console, task: TaskState) -> None:
    color = {"succeeded": "green", "failed": "red"}.get(task.outcome or "", "yellow")
    console.print(f"[{color} bold]{_word(task)}[/]")


def _word(task: TaskState) -> str:
    word = "refused" if task.refused else task.outcome or task.status
    return f"{word}: {task.instruction}" + (f" ({task.reason})" if task.reason else "")


def _plain(task: TaskState) -> dict[str, Any]:
    return {
        "task": task.id,
        "instruction": task.instruction,
        "outcome": task.outcome,
        "refused": task.refused,
        "reason": task.reason,
        "steps": [
            {
                "step": i.step,
                "robot": i.robot,
                "skill": i.skill,
                "values": dict(i.values),
                "outcome": i.outcome,
                "reason": i.reason,
            }
            for i in task.intents
        ],
    }
