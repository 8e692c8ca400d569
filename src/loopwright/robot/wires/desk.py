"""The desk of a fleet: what may be asked of it, whichever wire somebody comes by.

The desk itself checks no token: each wire does, before it comes here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from loopwright.core.errors import SafetyError, StorageError, UnknownName
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """What a release has ended."""

    robots: tuple[str, ...]
    """Robots whose stop it was about."""
    whole: bool
    """Whether nothing is left that anybody has stopped."""


class StopButton(Protocol):
    """What stops robots, and releases them again."""

    def stop(self, robot: str | None, *, by: str) -> None:
        """Stop one robot, or all: first the robots, then everything that may wait.

        Raises:
            UnknownName: There is no such robot; whoever bears that name was told all the same.
            StorageError: The robots were told, but it could not be written down.
        """
        ...

    def release(self, robot: str | None, *, by: str, signature: str) -> Released:
        """Check a signed release of one robot, or of all; then write it down and hand it on.

        Raises:
            InvalidConfig: It is no signed release, or holds none.
            Untrusted: It is not an operator's, or about another stop; nothing was released.
        """
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
            button: What a stop presses, if more than the coordinator (the line of the guards),
                and what checks a release; without one nothing is released here.
            cameras: What there is to be seen.
        """
        self._button = button
        self._press = (button or coordinator).stop
        self._told: dict[str | None, str] = {}
        """Stops that were told and are not in the journal (yet), with who pressed them."""
        self._cameras = cameras
        self._glance: tuple[float, Plain] | None = None
        self._coordinator, self._memory, self._journal = coordinator, memory, journal
        self._read = coordinator.look_at

    # Looking -------------------------------------------------------------------------------------

    @property
    def failure(self) -> str | None:
        """Why nobody directs the fleet any more; None while somebody does."""
        error = self._coordinator.failure
        if error is None:
            return None
        return f"the coordinator has stopped: {error or type(error).__name__}"

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

    def awaited(self, identity: str) -> Plain:
        """Return how a task ended, or stands while somebody goes on with it.

        Raises:
            UnknownName: There is no such task.
            StorageError: It is open, and nobody directs the fleet any more.
        """
        failure, stands = self.failure, self.result(identity)
        if failure and stands["status"] != "ended":
            raise StorageError(f"{failure}; nobody goes on with {identity}")
        return stands

    def roboos_plan(self, identity: str) -> Plain | None:
        """Return the plan of a task in RoboOS's form; None if it has none."""
        graph = self._coordinator.task(identity).graph
        return views.roboos_plan(graph) if graph else None

    def robots(self) -> Plain:
        """Return all robots, the lost ones too, and why nobody directs them if nobody does."""
        failure = self.failure

        def read(state: FleetState) -> list[Plain]:
            return [
                views.robot_view(r, state, self._stopped_by(r.name, state), failure)
                for r in state.robots.values()
            ]

        return {"robots": self._read(read), "failure": failure}

    def roboos_robots(self) -> list[Plain]:
        """Return the robots at work in RoboOS's form, which has no word for the undirected.

        Raises:
            StorageError: Nobody directs them any more.
        """
        self.check_directed()
        return self._read(views.roboos_robots)

    def check_directed(self) -> None:
        """Pass if somebody directs the fleet.

        Raises:
            StorageError: Nobody does.
        """
        if failure := self.failure:
            raise StorageError(failure)

    def skills(self) -> dict[str, dict[str, SkillContract]]:
        """Return the skills of the robots at work: name to robot to what that robot promises."""

        def read(state: FleetState) -> dict[str, dict[str, SkillContract]]:
            found: dict[str, dict[str, SkillContract]] = {}
            for owner, robot in sorted(_at_work(state).items()):  # not as they happened to join
                for name, contract in robot.skills.items():
                    found.setdefault(name, {})[owner] = contract
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

        failure = self.failure

        def read(state: FleetState) -> Plain:
            contracts = _contracts(state)
            newest = list(islice(state.newest_tasks(), _TASKS_SHOWN))[::-1]
            shown = {t.id for t in newest}
            older = [t for t in state.open_tasks if t.id not in shown]
            return {
                "number": state.number,
                "time_s": now_s,
                "failure": failure,
                "unheard": dict(self._coordinator.unheard),
                "robots": [
                    views.robot_glance(r, state, self._stopped_by(name, state), failure)
                    for name, r in sorted(state.robots.items())
                ],
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
        self,
        instruction: str,
        *,
        by: str,
        graph: Any = None,
        deadline_s: float | None = None,
        task: str | None = None,
    ) -> str:
        """Take on a task; durable when this returns.

        Args:
            instruction: What is wanted, in words.
            by: Who asks.
            graph: How, as plain data; None leaves it to the brain.
            deadline_s: Seconds from now until it should be over.
            task: The id that the caller gives it; None for a new one.

        Raises:
            InvalidConfig: The graph is none, the deadline no time to come, or there is a task of
                that id.
            NoPlan: The graph cannot be carried out.
            StorageError: Nothing was taken on.
        """
        read: TaskGraph | None = None
        if graph is not None:
            robots = self._read(_at_work)
            read = read_graph(graph, robots, self._memory.things, self._memory.symbols())
        return self._coordinator.ask(
            instruction, by=by, graph=read, deadline_s=deadline_s, task=task
        )

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
        """Stop one robot or all, now; nothing is looked up or waited for before it is pressed.

        Raises:
            UnknownName: There is no such robot; whoever bears that name was told all the same.
            StorageError: The robots were told, but it could not be written down.
        """
        self._told[robot], self._glance = by, None
        try:
            self._press(robot, by=by)
        except StorageError as error:  # the journal does not know, so it is shown from here
            who = robot or "all robots"
            raise StorageError(f"{who} told to stop, which is not written down: {error}") from error
        except UnknownName:
            self._told.pop(robot, None)
            raise
        self._told.pop(robot, None)
        return {"stopped": robot or "all"}

    def release(self, robot: str | None, *, by: str, signature: str) -> Plain:
        """Have a signed release checked, written down and handed on to the robots it is about.

        Raises:
            InvalidConfig: It is no signed release, or holds none.
            SafetyError: It is not an operator's, is about another stop, or nobody here can tell.
            UnknownName: There is no such robot.
        """
        if self._button is None:
            raise SafetyError("nobody here can check the signature of a release, so none is taken")
        names = self._read(lambda s: tuple(s.robots))
        if robot is not None and robot not in names:
            raise UnknownName("robot", robot, names)
        released = self._button.release(robot, by=by, signature=signature)
        for name in tuple(self._told) if released.whole else released.robots:
            self._told.pop(name, None)
        return {"released": list(released.robots), "whole": released.whole}

    def _stopped_by(self, robot: str, state: FleetState) -> str:
        """Return who stopped a robot, by the journal or by what was told and is not in it."""
        if why := state.why_stopped(robot):
            return why
        by = self._told.get(robot) or self._told.get(None)
        return f"{by}, not in the journal" if by else ""


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
