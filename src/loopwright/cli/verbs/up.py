"""``loopwright up``: start a fleet, and let it work until it is told to end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from loopwright.cli.fleet_door import fleet_door
from loopwright.cli.fleet_episodes import EpisodesAside
from loopwright.cli.fleet_words import style_of
from loopwright.cli.progress import progress_bar
from loopwright.core.errors import InvalidConfig, StorageError, UnknownName
from loopwright.robot.access import Access
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import TaskState
from loopwright.robot.journal.journal import Entry
from loopwright.robot.journal.words import sentence
from loopwright.simulation.graphics import choose_backend

if TYPE_CHECKING:
    from loopwright.robot.fleet.fleet import Fleet
    from loopwright.robot.knowledge import Brain
    from loopwright.robot.memory.things import Things

SITES = ("tabletop",)
KEY = "LOOPWRIGHT_PLANNER_KEY"
"""Environment variable with the key of the planner's endpoint: no shell remembers it."""
_LOOK_EVERY_S = 0.5
_UNTOLD = (happened.CoordinatorStarted, happened.RobotJoined, happened.IntentStarted)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How a fleet is looked at."""

    view: bool = False
    """Show the fleet in the terminal, as is done at a terminal without --ask and --json."""
    film: bool = True
    """Draw a film of every task; not with the view, where tasks run side by side."""


@dataclass(frozen=True, kw_only=True)
class Doors:
    """Where a fleet is asked, and whom it asks for plans."""

    port: int = 0
    """Of its HTTP door and its page, on this machine; 0 for a free one."""
    planner: str = ""
    """Address of an OpenAI-compatible endpoint ("http://127.0.0.1:8000/v1") that makes the plans;
    its key is taken from LOOPWRIGHT_PLANNER_KEY. Each plan is checked before anything moves. The
    planner that comes along needs none."""
    model: str = ""
    """Which model of that endpoint."""

    def brain(self) -> Callable[[Things], Brain]:
        """Return who makes plans, given what there is.

        Raises:
            InvalidConfig: An endpoint without a model, or a model without an endpoint.
        """
        from loopwright.robot.brain.default import SymbolicBrain
        from loopwright.robot.brain.endpoint import Endpoint, EndpointBrain

        if bool(self.planner) != bool(self.model):
            raise InvalidConfig("--planner and --model go together: where to ask, and for whom")
        if not self.planner:
            return SymbolicBrain
        endpoint = Endpoint(
            base_url=self.planner, model=self.model, key=os.environ.get(KEY) or None
        )
        return lambda things: EndpointBrain(endpoint, things)


def main(
    site: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SITE")] = "tabletop",
    /,
    *,
    folder: Path = Path("runs/fleet"),
    ask: tuple[str, ...] = (),
    shown: Annotated[Shown, tyro.conf.OmitArgPrefixes] = Shown(),
    release: str = "",
    doors: Annotated[Doors, tyro.conf.OmitArgPrefixes] = Doors(),
    json_output: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> int:
    """Start a simulated warehouse with four robots, and give it instructions.

    At a terminal it shows the fleet: map, robots, tasks, journal; 's' stops all robots. Elsewhere,
    without --ask, it reads instructions from standard input, one a line, until that ends; if there
    is not one, it works for those who ask at its doors until it is told to end (SIGTERM). The page
    that it names shows the same in a browser, with cameras.

    Args:
        site: Which fleet; "tabletop" is the warehouse.
        folder: The fleet's folder: journal, memory, keys, black boxes. Used again, it goes on.
        ask: Instructions, in English or Chinese, carried out one after another.
        shown: How it is looked at.
        release: What was found and done about an open stop, to release it at the start.
        doors: Where it is asked, and whom it asks for plans.
        json_output: Print the tasks as JSON.
    """
    if site not in SITES:
        raise UnknownName("fleet", site, SITES)
    if shown.film:
        choose_backend()  # before anything imports the simulator, which picks its own else
    from loopwright.robot.drivers.warehouse.film import Filming
    from loopwright.robot.fleet.fleet import run_fleet
    from loopwright.robot.fleet.warehouse import world_folder

    brain = doors.brain()
    signal.signal(signal.SIGTERM, _interrupt)  # ends orderly, as control-c does
    begin = partial(run_fleet, folder, brain=brain, release=release, port=doors.port)
    console = Console(stderr=True, highlight=False)
    console.print("starting the world, guards, drives and agents of four robots ...")
    at_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if shown.view or (at_terminal and not (ask or json_output)):
        return _show(console, folder, ask, begin)
    done: list[TaskState] = []
    with (
        EpisodesAside(folder) as aside,
        begin(on_entry=lambda e: _heard(console, aside, e)) as fleet,
    ):
        console.print(f"[bold]{len(fleet.robots())} robots are at work[/]; {fleet.url}")
        console.print(f"look at it: {_page(console, fleet)}", soft_wrap=True, markup=False)
        for instruction in ask or _lines(console):
            with Filming(world_folder(fleet.site)) as filming:
                task = fleet.carry_out(instruction, by="operator")
            done.append(task)
            _report(console, task)
            if shown.film and task.intents:
                path = fleet.site.films / f"{task.id}.mp4"
                with progress_bar("drawing the film") as progress:
                    filming.draw(path, progress=lambda share: progress(share, ""))
                console.print(f"film: {path}")
        if not done:
            return _serve(console, fleet)
    if json_output:
        print(json.dumps([_plain(task) for task in done], ensure_ascii=False))
    else:
        for task in done:
            print(f"{task.id} {_word(task)}")
    return 0 if all(task.outcome == "succeeded" for task in done) else 1


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _serve(console: Console, fleet: Fleet) -> int:
    """Work for those who ask at the fleet's doors until somebody ends it, or it cannot go on."""
    console.print("no instructions here: it works for those who ask, until SIGTERM or control-c")
    with suppress(KeyboardInterrupt):
        while fleet.coordinator.failure is None:
            time.sleep(_LOOK_EVERY_S)
        with suppress(StorageError):  # they are told; a coordinator that failed writes nothing
            fleet.stop(None, by="up, since nobody directs the robots")
        console.print(f"[red]all robots are stopped: {fleet.coordinator.failure}[/]")
        return 1
    console.print("ending the fleet ...")
    return 0


def _show(console: Console, folder: Path, ask: tuple[str, ...], begin: Callable[..., Any]) -> int:
    """Show the fleet in the terminal until somebody ends it."""
    from loopwright.cli.fleet_terminal import FleetTerminal

    terminal = FleetTerminal()

    def take(entry: Entry) -> None:
        terminal.take(entry)
        aside.take(entry)

    with EpisodesAside(folder) as aside, begin(on_entry=take) as fleet:
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


def _lines(console: Console) -> Iterator[str]:
    console.print("say what to do, one instruction a line; the end of the input ends the fleet")
    for line in sys.stdin:
        if line.strip():
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
