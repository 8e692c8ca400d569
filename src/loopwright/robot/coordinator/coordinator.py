"""The coordinator at work: one thread that hears, writes down, decides and tells, in this order.

Nothing is told to a robot before it is in the journal. Everything the coordinator knows beyond the
journal (who pulsed when, which questions are open) may be lost at any moment: a new coordinator
folds the journal, asks the robots how open attempts stand, and goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from loopwright.core.errors import InvalidConfig, LoopwrightError, StorageError, UnknownName
from loopwright.robot import messages as say
from loopwright.robot.bus import Bus
from loopwright.robot.coordinator import moves
from loopwright.robot.coordinator.ending import Ending
from loopwright.robot.coordinator.planning import Planning
from loopwright.robot.coordinator.scheduling.foresight import Foresight
from loopwright.robot.coordinator.scheduling.schedule import Schedule
from loopwright.robot.journal import events as happened
from loopwright.robot.journal.fold import FleetState, IntentState, TaskState, fold
from loopwright.robot.journal.journal import Entry, Journal
from loopwright.robot.knowledge import Brain, WorldMemory
from loopwright.robot.logic import all_met, unmet
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import SkillContract
from loopwright.robot.task import Outcome, TaskGraph

PULSE_S = 0.3
"""How often everybody says that they live."""
SILENCE_S = 1.5
"""A robot that was silent for so long is lost."""
REPEAT_S = 0.5
"""How often an order is repeated that was not answered."""
LATENESS_STEP_S = 3.0
"""An expected lateness is written down again when it has changed by more than this."""

REMEMBERED = 10_000
"""Of how many tasks that are over the state is held in memory; of others the journal is asked."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Coordinator:
    """Carries tasks through their graphs."""

    def __init__(
        self,
        *,
        journal: Journal,
        memory: WorldMemory,
        brain: Brain,
        bus: Bus,
        rules: moves.Rules | None = None,
        on_entry: Callable[[Entry], None] | None = None,
    ) -> None:
        """Take over a journal.

        Args:
            journal: Where everything is written; its open tasks are gone on with.
            memory: What is believed of the world.
            brain: Makes graphs.
            bus: Where the robots are.
            rules: How patient to be.
            on_entry: Told of everything that is written, after it is durable.
        """
        self._journal, self._memory, self._brain, self._bus = journal, memory, brain, bus
        self._rules = rules or moves.Rules()
        self._on_entry = on_entry
        self._state = fold(journal.lately(REMEMBERED), remembers=REMEMBERED)
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._heard_s: dict[str, float] = {}
        self._incarnations: dict[str, str] = {}
        self._endings: dict[str, Ending] = {}
        self._releases: dict[str | None, say.Release] = {}
        self._questions: dict[str, float] = {}
        self._planning = Planning(
            brain=brain,
            memory=memory,
            rules=self._rules,
            glance=self.look_at,
            look=lambda: self._inbox.put(self._look),
            deliver=lambda move, found: self._inbox.put(lambda: self._answered(move, found)),
        )
        self._foresight = Foresight(
            self._state, lambda found: self._inbox.put(lambda: self._foresee(found))
        )
        self._schedule: Schedule | None = None
        self._asked_s: dict[str, float] = {}
        self._looked_s = 0.0
        self._to_tell: list[Callable[[], None]] = []
        self._unsynced = False
        self._dropped: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)
        self._ends: list[Callable[[], None]] = []
        self.failure: BaseException | None = None
        """What ended the coordinator, if it did not end orderly."""

    # What others call, from any thread -----------------------------------------------------------

    def start(self) -> None:
        """Begin; open tasks of the journal are gone on with."""
        epoch = self._state.epoch + 1
        self._write(happened.CoordinatorStarted(epoch=epoch))
        self._journal.sync()
        now_s = time.monotonic()
        # Robots of an earlier coordinator get the time to notice the new one.
        self._heard_s = dict.fromkeys(self._state.robots, now_s)
        self._ends.append(self._bus.subscribe(say.REPORTS, self._hear))
        self._thread.start()

    def close(self) -> None:
        """End; nothing is lost, a later coordinator goes on. Idempotent."""
        self._stopping.set()
        self._planning.close()
        self._inbox.put(lambda: None)
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self._foresight.close()
        for end in self._ends:
            end()
        self._ends.clear()

    def ask(
        self,
        instruction: str,
        *,
        by: str,
        graph: TaskGraph | None = None,
        deadline_s: float | None = None,
        task: str | None = None,
    ) -> str:
        """Take on a task; durable when this returns.

        Args:
            instruction: What is wanted, in words.
            by: Who asks.
            graph: A graph that somebody else made; None leaves it to the brain.
            deadline_s: Seconds from now until it should be over. A task that cannot be, or was
                not, is not ended by that; it is said.
            task: The id that the caller gives it; None for a new one.

        Returns:
            The id of the task.

        Raises:
            InvalidConfig: The deadline is no time to come, the words are no text, or there is a
                task of that id.
            StorageError: It could not be written down, so it was not taken on.
        """
        try:
            instruction.encode()
        except UnicodeEncodeError as error:
            raise InvalidConfig(f"the instruction is no text: {error}") from error
        if deadline_s is not None and not 0.0 < deadline_s < float("inf"):
            raise InvalidConfig(f"deadline_s is {deadline_s:g}; expected seconds from now, above 0")
        task = task or f"t-{uuid.uuid4().hex[:12]}"
        asked = happened.TaskAsked(
            task=task,
            trace=uuid.uuid4().hex,
            instruction=instruction,
            by=by,
            deadline_s=deadline_s,
        )
        planned = (
            []
            if graph is None
            else [happened.TaskPlanned(task=task, graph=graph.to_json(), planner=by)]
        )
        self._call(lambda: self._take_on(asked, *planned))
        return task

    def cancel(self, task: str, *, by: str) -> None:
        """Stop a task: running skills are told at once.

        Raises:
            UnknownName: There is no such task.
        """
        self._call(lambda: self._about(task, happened.CancelAsked(task=task, by=by)))

    def pause(self, task: str, *, by: str) -> None:
        """Begin no further step of a task until it is resumed."""
        self._call(lambda: self._about(task, happened.TaskPaused(task=task, by=by)))

    def resume(self, task: str, *, by: str) -> None:
        """Let a paused task go on."""
        self._call(lambda: self._about(task, happened.TaskResumed(task=task, by=by)))

    def stop(self, robot: str | None, *, by: str) -> None:
        """Emergency stop of one robot or of all; told first, written down afterwards.

        Raises:
            UnknownName: There is no such robot.
            StorageError: It was told, and could not be written down.
        """
        topic = say.ALL_ROBOTS if robot is None else say.orders_to(robot)
        self._bus.publish(topic, say.Stop(by=by))

        def write() -> None:
            if robot is not None and robot not in self._state.robots:
                raise UnknownName("robot", robot, self._state.robots)
            self._write(happened.StopPressed(robot=robot, by=by))

        self._call(write)

    def release(self, robot: str | None, *, by: str, signature: str) -> None:
        """Release a stop; the robots check the signature themselves."""
        released = happened.StopReleased(robot=robot, by=by, signature=signature)
        self._call(lambda: self._write(released))
        topic = say.ALL_ROBOTS if robot is None else say.orders_to(robot)
        release = say.Release(by=by, signature=signature)
        self._releases[robot] = release
        self._bus.publish(topic, release)

    def died(self, robot: str, *, reason: str) -> None:
        """Take it from somebody who knows that a robot's process is dead and the robot at rest.

        Its work is given to another at once; of a robot that is only silent nobody knows what it
        does, and its lease is waited for.
        """
        known = self.look_at(lambda state: state.robots.get(robot))
        if known is not None:
            epoch = known.epoch  # of the life that ended; another may have begun when it is heard
            self._inbox.put(lambda: self._lose(robot, reason, dead_epoch=epoch))

    def task(self, identity: str) -> TaskState:
        """Return a task as it stands.

        Raises:
            UnknownName: There is no such task.
        """
        with self._changed:
            if found := self._state.tasks.get(identity):
                return replace(found, intents=[replace(i) for i in found.intents])
            lately = list(self._state.tasks)
        if not any(self._journal.entries(task=identity, limit=1)):
            raise UnknownName("task", identity, lately)
        return fold(self._journal.around(identity)).tasks[identity]

    def wait(self, identity: str, *, timeout_s: float) -> TaskState:
        """Return a task once it is over, or as it stands when time is up."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                task = self._state.tasks.get(identity)
                left_s = until_s - time.monotonic()
                if task is None or task.status == "ended" or left_s <= 0 or self.failure:
                    break
                self._changed.wait(left_s)
        return self.task(identity)

    def at_work(self) -> frozenset[str]:
        """Return the robots that have reported for work to this coordinator, and are not lost."""
        return frozenset(self._incarnations)

    @property
    def unheard(self) -> Mapping[str, int]:
        """How many messages on the bus it did not hear, by why."""
        return self._bus.unheard

    def look_at(self, reader: Callable[[FleetState], T]) -> T:
        """Return what ``reader`` makes of the state, while nothing changes."""
        with self._changed:
            return reader(self._state)

    # The loop ------------------------------------------------------------------------------------

    def _run(self) -> None:
        pulse_s = 0.0
        try:
            while not self._stopping.is_set():
                if time.monotonic() - pulse_s >= PULSE_S:
                    pulse_s = time.monotonic()
                    self._bus.publish(say.COORDINATOR, self._pulse())
                self._hear_and_decide()
                self._foresight.consider(self._state, self._memory)
        except StorageError as error:
            # Without a journal nothing may be decided; robots stop when the pulse is gone.
            self._fail(error)
        except BaseException as error:
            self._fail(error)
            raise

    def _hear_and_decide(self) -> None:
        """Take in all that waits, decide, sync the journal once, and only then tell anybody."""
        waiting: list[Callable[[], None]] = []
        with suppress(queue.Empty):
            waiting.append(self._inbox.get(timeout=0.05))
            while True:
                waiting.append(self._inbox.get_nowait())
        with self._changed:  # nobody reads what is not on the disk yet
            before = self._state.number
            for act in waiting:
                act()
            self._miss_the_silent()
            self._settle()
            self._advance()
            if self._unsynced:
                self._journal.sync()
                self._unsynced = False
            if self._state.number != before:
                self._changed.notify_all()
        told, self._to_tell = self._to_tell, []
        for tell in told:
            tell()

    def _tell(self, topic: str, message: say.Message) -> None:
        """Publish something once everything that was written before is on the disk."""
        self._to_tell.append(partial(self._bus.publish, topic, message))

    def _fail(self, error: BaseException) -> None:
        """Say to whoever waits that nothing goes on."""
        self.failure = error
        with self._changed:
            self._changed.notify_all()

    def _call(self, act: Callable[[], None]) -> None:
        """Run something in the loop's thread, and hand its error to the caller."""
        done = threading.Event()
        raised: list[Exception] = []

        def within() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - the caller's, and not that of the fleet
                raised.append(error)
            finally:
                self._to_tell.append(done.set)

        if self.failure is not None:
            raise StorageError(f"the coordinator has stopped: {self.failure}")
        self._inbox.put(within)
        while not done.wait(0.2):
            if self.failure is not None or not self._thread.is_alive():
                raise StorageError(f"the coordinator has stopped: {self.failure}")
        if raised:
            raise raised[0]

    def _write(
        self,
        *events: happened.Event,
        task: str | None = None,
        cause: int | None = None,
        durable: bool = True,
    ) -> None:
        entries = self._journal.append(events, task=task, cause=cause, durable=False)
        self._unsynced |= durable
        for entry in entries:
            self._state.apply(entry)
            if self._on_entry:
                self._to_tell.append(partial(self._on_entry, entry))

    def _take_on(self, asked: happened.TaskAsked, *planned: happened.TaskPlanned) -> None:
        if any(self._journal.entries(task=asked.task, limit=1)):
            raise InvalidConfig(f"there is a task {asked.task} already; give another id, or none")
        self._write(asked, *planned)

    def _about(self, task: str, event: happened.Event) -> None:
        if task not in self._state.tasks:
            raise UnknownName("task", task, self._state.tasks)
        if self._state.tasks[task].status != "ended":
            self._write(event)

    # Hearing -------------------------------------------------------------------------------------

    def _hear(self, message: say.Message) -> None:
        self._inbox.put(lambda: self._take(message))

    def _take(self, message: say.Message) -> None:
        try:
            self._understand(message)
        except StorageError:
            raise
        except Exception as error:  # noqa: BLE001 - a report of one robot must not end the fleet
            self._drop(f"a {message.KIND} of {_sender(message)}", error)

    def _drop(self, what: str, error: Exception) -> None:
        """Go on without something that makes no sense; said once."""
        if what not in self._dropped:
            self._dropped.add(what)
            _log.warning("%s is dropped: %s", what, error)

    def _understand(self, message: say.Message) -> None:
        if isinstance(message, say.Seen):
            self._see(message)
        elif isinstance(message, say.Joined):
            self._joined(message)
        elif isinstance(message, say.RobotPulse):
            if self._incarnations.get(message.robot) == message.incarnation:
                self._pulsed(message)
        elif isinstance(message, say.Started):
            intent = self._open_intent(message)
            if intent and not intent.started:
                started = happened.IntentStarted(intent=intent.id)
                self._write(started, task=intent.task, cause=intent.number, durable=False)
        elif isinstance(message, say.Ended):
            self._ended(message)
        elif isinstance(message, say.Standing):
            self._stands(message)

    def _open_intent(self, message: say.Started | say.Ended | say.Standing) -> IntentState | None:
        """Return the attempt that a robot speaks of, if it is its own and not over."""
        intent = self._state.intents.get(message.intent)
        return intent if intent and intent.is_open and intent.robot == message.robot else None

    def _see(self, message: say.Seen | say.Joined | say.Ended) -> None:
        found = []
        for plain in message.sightings:
            try:
                sighting = Sighting.from_json(plain)
                if sighting.by != _sender(message):
                    raise InvalidConfig(f"{sighting.by} saw it, as it says: nobody sees for others")
                found.append(sighting)
            except (LoopwrightError, KeyError, TypeError, ValueError) as error:
                self._drop(f"a sighting of {_sender(message)}", error)
        self._memory.take(found)

    def _pulse(self) -> say.CoordinatorPulse:
        robots = self._state.robots
        at_work = {known: robots[name].epoch for name, known in self._incarnations.items()}
        return say.CoordinatorPulse(epoch=self._state.epoch, at_work=at_work)

    def _pulsed(self, message: say.RobotPulse) -> None:
        self._heard_s[message.robot] = time.monotonic()
        self._hold(message.robot, message.held)
        self._cancel_unwanted(message.robot, message.running)
        for intent in moves.open_intents(self._state):
            # Either its order or the report of its end was lost on the way.
            if (
                intent.robot == message.robot
                and intent.id not in message.running
                and intent.id not in self._endings
                and time.time() - intent.issued_s > REPEAT_S
            ):
                self._inquire(intent)

    def _cancel_unwanted(self, robot: str, running: tuple[str, ...]) -> bool:
        """Stop attempts that were given up while their robot was not heard; tell if there are."""
        unwanted = []
        for identity in running:
            intent = self._state.intents.get(identity)
            if intent is None or not intent.is_open or identity in self._endings:
                unwanted.append(identity)
        for identity in unwanted:
            self._tell(
                say.orders_to(robot),
                say.CancelSkill(
                    coordinator_epoch=self._state.epoch,
                    intent=identity,
                    reason="it was given up while the robot was not heard",
                ),
            )
        return bool(unwanted)

    def _joined(self, message: say.Joined) -> None:
        self._see(message)
        known = self._state.robots.get(message.robot)
        same = self._incarnations.get(message.robot) == message.incarnation
        if self._cancel_unwanted(message.robot, message.running) and not same:
            return  # it reports again, once it is at rest
        for contract in message.skills:
            SkillContract.from_json(contract)  # before it is in the journal, which must be readable
        self._heard_s[message.robot] = time.monotonic()
        if not (known and known.alive and same):
            self._incarnations[message.robot] = message.incarnation
            self._write(
                happened.RobotJoined(
                    robot=message.robot,
                    epoch=known.epoch + 1 if known else 1,
                    parts=message.parts,
                    skills=message.skills,
                )
            )
            for intent in moves.open_intents(self._state):
                if intent.robot == message.robot and intent.id not in self._endings:
                    self._inquire(intent)
        self._tell(
            say.orders_to(message.robot),
            say.Welcome(
                coordinator_epoch=self._state.epoch,
                robot_epoch=self._state.robots[message.robot].epoch,
                incarnation=message.incarnation,
            ),
        )

    def _hold(self, robot: str, why: str) -> None:
        """Keep a robot that may not move out of everything until it may again."""
        if why != self._state.held.get(robot, ""):
            self._write(happened.RobotHeld(robot=robot, reason=why))
        pressed = self._state.stops.get(robot) or self._state.stops.get(None)
        release = self._releases.get(robot) or self._releases.get(None)
        if pressed and not why:
            # It was not there when the stop was pressed, or has forgotten it.
            reminder = say.Stop(by=pressed, reminder=True)
            self._bus.publish(say.orders_to(robot), reminder)
        elif why and release and not pressed:
            # It may not have heard of it; where it is of no use, the robot stays as it is.
            self._bus.publish(say.orders_to(robot), release)

    def _inquire(self, intent: IntentState) -> None:
        self._tell(
            say.orders_to(intent.robot),
            say.Inquire(coordinator_epoch=self._state.epoch, intent=intent.id),
        )

    def _ended(self, message: say.Ended) -> None:
        intent = self._open_intent(message)
        self._see(message)
        if intent is None or intent.id in self._endings:
            return
        self._endings[intent.id] = Ending(
            claim=message.claim,
            reason=message.reason,
            lasted_s=message.lasted_s,
            since_s=intent.issued_s,
        )

    def _stands(self, message: say.Standing) -> None:
        intent = self._open_intent(message)
        if intent is None or message.standing == "running":
            return
        if message.standing == "never-heard":
            robot = self._state.robots[intent.robot]
            if robot.alive and robot.epoch == intent.epoch:
                self._order(intent)  # the bus lost it
                return
            never = "the order never reached the robot"
            self._close(intent, "failed", Ending(None, never, 0.0, intent.issued_s))
        elif message.standing == "interrupted":
            self._interrupted(intent, "the robot's agent died while it ran")

    def _interrupted(self, intent: IntentState, reason: str) -> None:
        self._endings.setdefault(
            intent.id, Ending(claim=None, reason=reason, lasted_s=0.0, since_s=time.time())
        )

    def _miss_the_silent(self) -> None:
        now_s = time.monotonic()
        for robot in list(self._state.robots.values()):
            if robot.alive and now_s - self._heard_s.get(robot.name, 0.0) > SILENCE_S:
                self._lose(robot.name, f"silent for {SILENCE_S:g} s")
        for intent in moves.open_intents(self._state):
            robot = self._state.robots[intent.robot]
            silent_s = now_s - self._heard_s.get(robot.name, 0.0)
            if not robot.alive and silent_s > say.LEASE_S:
                self._interrupted(intent, f"{robot.name} was lost: {robot.lost_because}")

    def _lose(self, name: str, reason: str, *, dead_epoch: int | None = None) -> None:
        """Count on a robot no longer; what it was doing is over only if that life of it is."""
        robot = self._state.robots[name]
        if dead_epoch not in (None, robot.epoch):
            return
        self._incarnations.pop(name, None)
        if robot.alive:
            self._write(happened.RobotLost(robot=name, reason=reason))
        for intent in moves.open_intents(self._state):
            if intent.robot == name and intent.epoch == dead_epoch:
                self._interrupted(intent, f"{name} was lost: {reason}")

    # Judging -------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Decide how attempts ended that are over, by what has been seen since."""
        for identity, ending in list(self._endings.items()):
            intent = self._state.intents[identity]
            if not intent.is_open:
                del self._endings[identity]
                continue
            ensures = intent.contract.bound(intent.robot, intent.values).ensures
            facts = self._memory.facts(since_s=ending.since_s)
            truth = all_met(ensures, facts) if ensures else None
            if ending.claim == "refused":
                self._close(intent, "failed", ending)
            elif truth is None and ensures and self._waited_s(identity) < self._rules.patience_s:
                self._look()
            else:
                outcome, reason = ending.judged(truth, has_ensures=bool(ensures))
                missing = tuple(str(c) for c in unmet(ensures, facts))
                self._close(intent, outcome, replace(ending, reason=reason), unmet=missing)

    def _close(
        self,
        intent: IntentState,
        outcome: Outcome,
        ending: Ending,
        *,
        unmet: tuple[str, ...] = (),
    ) -> None:
        self._endings.pop(intent.id, None)
        self._questions.pop(intent.id, None)
        self._write(
            happened.IntentEnded(
                intent=intent.id,
                outcome=outcome,
                reason=ending.reason,
                claim=ending.claim or "",
                unmet=unmet,
                lasted_s=ending.lasted_s,
            ),
            task=intent.task,
            cause=intent.number,
        )
        self._foresight.learn(intent)

    def _waited_s(self, question: str) -> float:
        now_s = time.monotonic()
        return now_s - self._questions.setdefault(question, now_s)

    def _look(self) -> None:
        """Ask everybody to look around, not more often than is of use."""
        if time.monotonic() - self._looked_s > REPEAT_S / 2:
            self._looked_s = time.monotonic()
            self._tell(say.ALL_ROBOTS, say.Look(coordinator_epoch=self._state.epoch))

    # Deciding ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Make moves until none changes the journal any more."""
        while True:
            before = self._state.number
            asked: set[str] = set()
            found = list(
                moves.next_moves(
                    self._state,
                    self._memory.facts(),
                    self._wonders_s(asked),
                    time.time(),
                    self._rules,
                    self._schedule,
                )
            )
            for move in found:
                self._make(move)
            self._questions = {
                k: v for k, v in self._questions.items() if k in asked or k in self._endings
            }
            if self._state.number == before:
                return

    def _wonders_s(self, asked: set[str]) -> Callable[[str], float]:
        def waited_s(question: str) -> float:
            asked.add(question)
            return self._waited_s(question)

        return waited_s

    def _make(self, move: moves.Move) -> None:
        if isinstance(move, moves.IssueIntent):
            self._issue(move)
        elif isinstance(move, moves.AskPlan):
            self._planning.ask(move, self._state)
        elif isinstance(move, moves.AskCancel):
            self._cancel_intent(move)
        elif isinstance(move, moves.AskLook):
            self._look()
        else:
            task = self._state.tasks[move.task]
            self._write(
                happened.TaskEnded(
                    task=move.task,
                    outcome=move.outcome,
                    reason=move.reason,
                    cancelled=move.cancelled,
                ),
                cause=task.number,
            )

    def _issue(self, move: moves.IssueIntent) -> None:
        task, robot = self._state.tasks[move.task], self._state.robots[move.robot]
        issued = happened.IntentIssued(
            task=task.id,
            step=move.step.id,
            intent=f"i-{uuid.uuid4().hex[:12]}",
            robot=robot.name,
            epoch=robot.epoch,
            skill=move.step.skill,
            values=dict(move.step.values),
        )
        self._write(issued, cause=task.number)
        self._order(self._state.intents[issued.intent])

    def _order(self, intent: IntentState) -> None:
        """Tell a robot to run an attempt; an agent that has heard it before only answers."""
        self._tell(
            say.orders_to(intent.robot),
            say.RunSkill(
                coordinator_epoch=self._state.epoch,
                robot_epoch=intent.epoch,
                intent=intent.id,
                trace=self._state.tasks[intent.task].trace,
                skill=intent.skill,
                values=intent.values,
                longest_s=intent.contract.longest_s,
            ),
        )

    def _cancel_intent(self, move: moves.AskCancel) -> None:
        intent = self._state.intents[move.intent]
        now_s = time.monotonic()
        if intent.id in self._endings or now_s - self._asked_s.get(intent.id, 0.0) < REPEAT_S:
            return
        self._asked_s[intent.id] = now_s
        self._tell(
            say.orders_to(intent.robot),
            say.CancelSkill(
                coordinator_epoch=self._state.epoch, intent=intent.id, reason=move.reason
            ),
        )

    # Looking ahead -------------------------------------------------------------------------------

    def _foresee(self, schedule: Schedule) -> None:
        """Take a new schedule, and say what it tells of deadlines."""
        self._schedule = schedule
        for identity in {placed.task for placed in schedule.placed} - set(schedule.stuck):
            task = self._state.tasks.get(identity)
            late_s = schedule.late_s.get(identity, 0.0)
            if (
                task
                and task.status != "ended"
                and abs(late_s - task.expected_late_s) > LATENESS_STEP_S
            ):
                proven = schedule.proof == "optimal"
                self._write(happened.TaskLate(task=identity, late_s=late_s, proven=proven))

    # Planning ------------------------------------------------------------------------------------

    def _answered(self, move: moves.AskPlan, found: TaskGraph | str) -> None:
        self._planning.heard(move)
        task = self._state.tasks.get(move.task)
        # While it was thought about, it may have ended long ago, or a step have been begun.
        if task is None or task.status in ("ended", "cancelling") or task.open_intents:
            return
        if isinstance(found, TaskGraph):
            self._planned(task, move, found)
        elif not move.keep:  # else the robot that it lacks may come back
            self._refused(task, move, found)

    def _planned(self, task: TaskState, move: moves.AskPlan, graph: TaskGraph) -> None:
        self._write(
            happened.TaskPlanned(
                task=task.id,
                graph=graph.numbered(task.plans + 1).to_json(),
                planner=self._brain.name,
                reason=move.reason,
            ),
            cause=task.number,
            durable=False,  # who acts on it writes that down durably; else it is planned again
        )

    def _refused(self, task: TaskState, move: moves.AskPlan, reason: str) -> None:
        began = bool(task.intents)
        self._write(
            happened.TaskEnded(
                task=task.id,
                outcome=self._outcome_without_plan(task),
                reason=f"{move.reason}; no other plan: {reason}" if began else reason,
                refused=not began,
            ),
            cause=task.number,
        )

    def _outcome_without_plan(self, task: TaskState) -> Outcome:
        """Return how a task ended that nobody knows how to go on with, by the world."""
        goal = task.graph.goal if task.graph else ()
        truth = all_met(goal, self._memory.facts()) if goal else None
        if truth and task.intents:
            return "succeeded"  # what was done so far was enough
        doubtful = bool(task.intents) and task.intents[-1].outcome == "unknown"
        return "unknown" if doubtful and truth is None else "failed"


def _sender(message: say.Message) -> str:
    return str(getattr(message, "robot", getattr(message, "by", "somebody")))
