"""``loopwright up``: start a fleet, and let it work until it is told to end."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from loopwright.cli.fleet_door import fleet_door
from loopwright.cli.fleet_episodes import EpisodesAside
from loopwright.cli.fleet_words import style_of
from loopwright.cli.progress import progress_bar
from loopwright.core.errors import UnknownName
from loopwright.robot.access import Access
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Entry
from loopwright.robot.journal.words import sentence
from loopwright.simulation.graphics import choose_backend

if TYPE_CHECKING:
    from loopwright.robot.fleet.fleet import Fleet

SITES = ("tabletop",)
_UNTOLD = (happened.CoordinatorStarted, happened.RobotJoined, happened.IntentStarted)


def main(
    site: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SITE")] = "tabletop",
    /,
    *,
    folder: Path = Path("runs/fleet"),
    ask: tuple[str, ...] = (),
    view: bool = False,
    film: bool = True,
    release: str = "",
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Start a simulated warehouse with four robots, and give it instructions.

    At a terminal it shows the fleet: map, robots, tasks, journal; 's' stops all robots. Elsewhere,
    without --ask, it reads instructions from standard input, one a line, until that ends. The page
    that it names shows the same in a browser, with cameras.

    Args:
        site: Which fleet; "tabletop" is the warehouse.
        folder: The fleet's folder: journal, memory, keys, black boxes. Used again, it goes on.
        ask: Instructions, in English or Chinese, carried out one after another.
        view: Show the fleet in the terminal, as is done at a terminal without --ask and --json.
        film: Draw a film of every task; not with the view, where tasks run side by side.
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

    signal.signal(signal.SIGTERM, _interrupt)  # ends orderly, as control-c does
    console = Console(stderr=True, highlight=False)
    console.print("starting the world, guards, drives and agents of four robots ...")
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if view or (at_terminal and not (ask or json_output)):
        return _show(console, folder, ask, release)
    done: list[TaskState] = []
    with (
        EpisodesAside(folder) as aside,
        run_fleet(folder, on_entry=lambda e: _heard(console, aside, e), release=release) as fleet,
    ):
        console.print(f"[bold]{len(fleet.robots())} robots are at work[/]; {fleet.url}")
        console.print(f"look at it: {_page(console, fleet)}", soft_wrap=True, markup=False)
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


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _show(console: Console, folder: Path, ask: tuple[str, ...], release: str) -> int:
    """Show the fleet in the terminal until somebody ends it."""
    from loopwright.cli.fleet_terminal import FleetTerminal
    from loopwright.robot.fleet.fleet import run_fleet

    terminal = FleetTerminal()

    def take(entry: Entry) -> None:
        terminal.take(entry)
        aside.take(entry)

    with EpisodesAside(folder) as aside, run_fleet(folder, on_entry=take, release=release) as fleet:
        terminal.page = _page(console, fleet)
        for instruction in ask:
            fleet.coordinator.ask(instruction, by="operator")
        with fleet_door(fleet.site, "observe") as door, suppress(KeyboardInterrupt):
            terminal.run(fleet, door, Console())
        console.print("ending the fleet ...")
    return 0


def _page(console: Console, fleet: Fleet) -> str:
    """Return where the page is; the token behind the # goes to a terminal only, into no log."""
    if not console.is_terminal:
        return f"{fleet.url}/ with a token of {fleet.site.tokens}"
    token = Access.read(fleet.site.tokens).tokens["operate"]
    return f"{fleet.url}/#token={token}"


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
    if isinstance(entry.event, _UNTOLD):
        return
    clock = time.strftime("%H:%M:%S", time.localtime(entry.time_s))
    line = Text.assemble((clock, "dim"), " ")
    if isinstance(entry.event, (happened.IntentIssued, happened.IntentEnded)):
        line.append("  ")
    console.print(line.append(sentence(entry.event), style=style_of(entry.event)))


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
