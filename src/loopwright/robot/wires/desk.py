"""The desk of a fleet: what may be asked of it, whichever wire somebody comes by.

The desk itself checks no token: each wire does, before it comes here.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import Any, Protocol

from loopwright.core.errors import UnknownName
from loopwright.robot.coordinator.coordinator import Coordinator
from loopwright.robot.journal.fold import FleetState, RobotState, TaskStatus
from loopwright.robot.journal.journal import Journal
from loopwright.robot.logic import Symbols
from loopwright.robot.memory.estimate import Estimate
from loopwright.robot.memory.things import Things
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import TaskGraph
from loopwright.robot.wires import views
from loopwright.robot.wires.graphs import read_graph
from loopwright.robot.wires.views import Plain

_TASKS_SHOWN = 12
"""How many of the newest tasks are shown at a glance, besides all that are not over."""
_SAME_FOR_S = 0.25
"""How old a glance may be; any number of viewers cost as much as one."""


class Whereabouts(Protocol):
    """What the desk asks of a world memory."""

    @property
    def things(self) -> Things:
        """What there is."""
        ...

    def where(self, entity: str) -> Estimate | None:
        """Return where something is believed to be."""
        ...

    def where_was(self, entity: str, at_s: float) -> Sighting | None:
        """Return the last sighting of something at or before a moment."""
        ...

    def symbols(self) -> Symbols:
        """Return everything that is believed to hold."""
        ...


class StopButton(Protocol):
    """What stops robots, and releases them again; by default the coordinator itself."""

    def stop(self, robot: str | None, *, by: str) -> None:
        """Stop one robot, or all."""
        ...

    def release(self, robot: str | None, *, by: str, signature: str) -> None:
        """Hand on a signed release of one robot, or of all."""
        ...


class Cameras(Protocol):
    """Pictures of the world, for people."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every camera."""
        ...

    def picture(self, name: str) -> bytes:
        """Return what a camera sees, as a JPEG; may wait, so that cameras cost little.

        Raises:
            UnknownName: There is no such camera.
            NoPicture: It has nothing to show just now.
        """
        ...


class Desk:
    """Asks, tells and answers in plain data; from any thread."""

    def __init__(
        self,
        coordinator: Coordinator,
        memory: Whereabouts,
        journal: Journal,
        *,
        button: StopButton | None = None,
        cameras: Cameras | None = None,
    ) -> None:
        """Stand in front of a fleet.

        Args:
            coordinator: At work already.
            memory: Where things are.
            journal: What the coordinator writes; only read here.
            button: What a stop presses, if more than the coordinator (the line of the guards).
            cameras: What there is to be seen.
        """
        self._button: StopButton = button or coordinator
        self._cameras = cameras
        self._glance: tuple[float, Plain] | None = None
        self._coordinator, self._memory, self._journal = coordinator, memory, journal
        self._read = coordinator.look_at

    # Looking -------------------------------------------------------------------------------------

    def tasks(self, *, status: TaskStatus | None = None, limit: int = 100) -> list[Plain]:
        """Return the newest tasks, the oldest of them first."""

        def read(state: FleetState) -> list[Plain]:
            found = (t for t in state.newest_tasks() if status is None or t.status == status)
            return [views.task_summary(t) for t in islice(found, limit)][::-1]

        return self._read(read)

    def task(self, identity: str) -> Plain:
        """Return a task.

        Raises:
            UnknownName: There is no such task.
        """
        return views.task_view(self._coordinator.task(identity), self._read(_contracts))

    def result(self, identity: str) -> Plain:
        """Return how a task ended, or stands.

        Raises:
            UnknownName: There is no such task.
        """
        return views.task_summary(self._coordinator.task(identity))

    def roboos_plan(self, identity: str) -> Plain:
        """Return the plan of a task in RoboOS's form."""
        return views.roboos_plan(self._coordinator.task(identity).graph)

    def robots(self) -> list[Plain]:
        """Return all robots, the lost ones too."""
        return self._read(lambda s: [views.robot_view(r, s) for r in s.robots.values()])

    def roboos_robots(self) -> list[Plain]:
        """Return the robots at work in RoboOS's form."""
        return self._read(views.roboos_robots)

    def skills(self) -> dict[str, tuple[SkillContract, tuple[str, ...]]]:
        """Return the skills of the robots at work, with who has them."""

        def read(state: FleetState) -> dict[str, tuple[SkillContract, tuple[str, ...]]]:
            found: dict[str, tuple[SkillContract, tuple[str, ...]]] = {}
            for robot in _at_work(state).values():
                for name, contract in robot.skills.items():
                    first, owners = found.get(name, (contract, ()))
                    found[name] = (first, (*owners, robot.name))
            return found

        return self._read(read)

    def things(self) -> list[Plain]:
        """Return everything that has a name, with where it is believed to be."""
        now_s = time.time()
        return [
            views.thing_view(t, self._memory.where(t.name), now_s, None)
            for t in self._memory.things
        ]

    def thing(self, name: str, *, at_s: float | None = None) -> Plain:
        """Return where something is and, for a moment of the past, where it was last seen by then.

        Raises:
            UnknownName: There is no such thing.
        """
        belief = self._memory.where(name)
        view = views.thing_view(
            self._memory.things[name], belief, time.time(), self._memory.symbols()
        )
        if at_s is not None:
            view["was"] = views.sighting_view(self._memory.where_was(name, at_s))
        return view

    def glance(self) -> Plain:
        """Return what a person wants to see of the fleet at once; the same to all for a moment."""
        known, now_s = self._glance, time.monotonic()
        if known and now_s - known[0] < _SAME_FOR_S and known[1]["number"] == self.newest():
            return known[1]
        seen = self._look_around()
        self._glance = (now_s, seen)
        return seen

    def _look_around(self) -> Plain:
        now_s, symbols = time.time(), self._memory.symbols()
        things = [
            views.thing_outline(t, self._memory.where(t.name), now_s, _relations(t.name, symbols))
            for t in self._memory.things
        ]

        def read(state: FleetState) -> Plain:
            contracts = _contracts(state)
            newest = list(islice(state.newest_tasks(), _TASKS_SHOWN))[::-1]
            shown = {t.id for t in newest}
            older = [t for t in state.open_tasks if t.id not in shown]
            return {
                "number": state.number,
                "time_s": now_s,
                "robots": [views.robot_glance(r, state) for _, r in sorted(state.robots.items())],
                "tasks": [views.task_view(t, contracts) for t in (*older, *newest)],
                "things": things,
                "cameras": list(self.cameras()),
            }

        return self._read(read)

    def cameras(self) -> tuple[str, ...]:
        """Return the names of the cameras."""
        return self._cameras.names if self._cameras else ()

    def picture(self, camera: str) -> bytes:
        """Return what a camera sees, as a JPEG; may take a second.

        Raises:
            UnknownName: There is no such camera.
            NoPicture: It has nothing to show just now.
        """
        if self._cameras is None or camera not in self._cameras.names:
            raise UnknownName("camera", camera, self.cameras())
        return self._cameras.picture(camera)

    def newest(self) -> int:
        """Return the number of the last event."""
        return self._read(lambda s: s.number)

    def events(self, *, since: int, limit: int = 500, task: str | None = None) -> list[Plain]:
        """Return events of the journal after a number."""
        found = list(self._journal.entries(since=since, limit=limit, task=task))
        named = {entry.number: getattr(entry.event, "intent", "") for entry in found}

        intents = self._read(lambda s: {n: s.intents.get(i) for n, i in named.items()})
        return [views.event_view(entry, intents[entry.number]) for entry in found]

    # Acting --------------------------------------------------------------------------------------

    def ask(
        self, instruction: str, *, by: str, graph: Any = None, deadline_s: float | None = None
    ) -> str:
        """Take on a task; durable when this returns.

        Args:
            instruction: What is wanted, in words.
            by: Who asks.
            graph: How, as plain data; None leaves it to the brain.
            deadline_s: Seconds from now until it should be over.

        Raises:
            InvalidConfig: The graph is none, or the deadline no time to come.
            NoPlan: The graph cannot be carried out.
            StorageError: Nothing was taken on.
        """
        read: TaskGraph | None = None
        if graph is not None:
            robots = self._read(_at_work)
            read = read_graph(graph, robots, self._memory.things, self._memory.symbols())
        return self._coordinator.ask(instruction, by=by, graph=read, deadline_s=deadline_s)

    def cancel(self, task: str, *, by: str) -> Plain:
        """Stop a task, and return how it stands."""
        self._coordinator.cancel(task, by=by)
        return self.result(task)

    def pause(self, task: str, *, by: str) -> Plain:
        """Begin no further step of a task, and return how it stands."""
        self._coordinator.pause(task, by=by)
        return self.result(task)

    def resume(self, task: str, *, by: str) -> Plain:
        """Let a paused task go on, and return how it stands."""
        self._coordinator.resume(task, by=by)
        return self.result(task)

    def stop(self, robot: str | None, *, by: str) -> Plain:
        """Stop one robot or all, now.

        Raises:
            UnknownName: There is no such robot; nothing was stopped.
            StorageError: The robots were told, but it could not be written down.
        """
        self._know(robot)
        self._button.stop(robot, by=by)
        return {"stopped": robot or "all"}

    def release(self, robot: str | None, *, by: str, signature: str) -> Plain:
        """Hand a signed release on to one robot or all; each checks the signature itself."""
        self._know(robot)
        self._button.release(robot, by=by, signature=signature)
        return {"released": robot or "all"}

    def _know(self, robot: str | None) -> None:
        names = self._read(lambda s: tuple(s.robots))
        if robot is not None and robot not in names:
            raise UnknownName("robot", robot, names)


def _at_work(state: FleetState) -> dict[str, RobotState]:
    return {r.name: r for r in state.robots.values() if r.alive}


def _contracts(state: FleetState) -> dict[str, SkillContract]:
    return {name: c for robot in state.robots.values() for name, c in robot.skills.items()}


def _relations(name: str, symbols: Symbols) -> dict[str, list[str]]:
    """Return what something is on, at and holding."""
    found: dict[str, list[str]] = {}
    for fact in sorted(symbols.true):
        if len(fact.args) == 2 and fact.args[0] == name:
            found.setdefault(fact.name, []).append(fact.args[1])
    return found
