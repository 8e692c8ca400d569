"""A small kinematic world with a truth of its own, and what robots do in it.

Two stations on a line; arms stand at them, carts drive between them. A robot moves only while its
process sends the next tick, as a drive does: a process that is killed or stopped leaves its robot
where it was. A skill takes effect at one moment in the middle of its run, if the world then allows
it, and the world counts runs and effects by intent. Nobody but the judge reads what it counted.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopwright.robot.memory.things import Thing, Things
from loopwright.robot.messages import Claim, RunSkill
from loopwright.robot.sighting import Sighting
from loopwright.robot.skill import Entity, Hands, Motion, Place, Skill, SkillSet, skill

STATIONS = {"bench": 0.0, "door": 4.0}
"""Where they are along the line, in metres; their regions meet in the middle."""
RADIUS_M = 2.03
SURFACES = {"table": "bench", "tray": "door"}
CARTS = {"cart-1": -0.3, "cart-2": 0.3}
"""Lanes: how far beside the line each cart drives, in metres."""
ARMS = {"arm-1": "bench", "arm-2": "door"}
ROBOTS = (*ARMS, *CARTS)
OBJECTS = {"red-cube": -0.06, "green-cube": 0.0, "blue-cube": 0.06}
"""Where each lies beside the middle of whatever carries it, in metres."""
CUBE_M, TOP_M, DECK_M, HAND_M = 0.04, 0.42, 0.36, 0.80
SIGMA_M = 0.004
LONGEST_S = 8.0
TICK_S = 0.05
DRIVE_DEADMAN_S = 0.2
"""A tick that comes later moves a robot no farther than this."""
GONE_S = 1.0
"""A robot without ticks for so long has come to rest for good."""
NO_REST_M = 0.06
"""Nothing comes to rest so near to the line between two stations: it would be at neither."""


@skill(
    requires=(
        "on(?object, ?surface)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "free-hand(?robot)",
    ),
    ensures=("holding(?robot, ?object)", "not on(?object, ?surface)", "not free-hand(?robot)"),
    resources=("arm", "gripper", "surface:?surface"),
    longest_s=LONGEST_S,
)
def pick(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Take an object from a surface."""
    yield None


@skill(
    requires=(
        "holding(?robot, ?object)",
        "at(?surface, ?station)",
        "at(?robot, ?station)",
        "clear(?surface)",
    ),
    ensures=("on(?object, ?surface)", "not holding(?robot, ?object)", "free-hand(?robot)"),
    resources=("arm", "gripper", "surface:?surface"),
    longest_s=LONGEST_S,
)
def place(hands: Hands, object: Entity, surface: Place, station: Place) -> Motion:
    """Put down an object that is held."""
    yield None


@skill(
    requires=("at(?robot, ?start)",),
    ensures=("at(?robot, ?goal)", "not at(?robot, ?start)"),
    resources=("base", "surface:?robot"),
    longest_s=LONGEST_S,
)
def drive(hands: Hands, start: Place, goal: Place) -> Motion:
    """Drive from one station to another."""
    yield None


def skills_of(robot: str) -> tuple[SkillSet, frozenset[str]]:
    """Return what a robot can do, and its parts."""
    found: tuple[Skill, ...] = (pick, place) if robot in ARMS else (drive,)
    return SkillSet(*found), frozenset({"arm", "gripper"} if robot in ARMS else {"base"})


def things() -> Things:
    """Return everything that has a name."""
    found = [
        Thing(name=name, kind="station", position_m=(x_m, 0.0, 0.0), radius_m=RADIUS_M)
        for name, x_m in STATIONS.items()
    ]
    found += [
        Thing(
            name=name,
            kind="surface",
            position_m=(STATIONS[station], 0.0, TOP_M),
            size_m=(0.3, 0.3, 0.1),
            capacity=4,
        )
        for name, station in SURFACES.items()
    ]
    found += [
        Thing(
            name=name,
            kind="robot",
            position_m=(STATIONS[station], 0.0, 0.0),
            parts=("arm", "gripper"),
        )
        for name, station in ARMS.items()
    ]
    found += [
        Thing(
            name=name,
            kind="robot",
            deck_m=(0.0, 0.0, DECK_M),
            size_m=(0.3, 0.3, 0.1),
            capacity=3,
            parts=("base",),
        )
        for name in CARTS
    ]
    found += [
        Thing(
            name=name,
            kind="object",
            size_m=(CUBE_M, CUBE_M, CUBE_M),
            words={"en": (name.replace("-", " "),)},
            properties={"color": name.split("-")[0]},
        )
        for name in OBJECTS
    ]
    return Things(found)


# The world ---------------------------------------------------------------------------------------


@dataclass
class Movement:
    """One run of a skill, as far as it has come."""

    intent: str
    robot: str
    skill: str
    values: Mapping[str, Any]
    lasts_s: float
    takes_effect: float
    """Share of the run after which the effect is there."""
    from_m: float
    share: float = 0.0
    ticked_s: float = field(default_factory=time.monotonic)


class World:
    """What is true, and a record of how it came about."""

    def __init__(self) -> None:
        """Put everything where it begins."""
        self._lock = threading.Lock()
        self._carts_m = dict.fromkeys(CARTS, 0.0)
        self._carrier = dict.fromkeys(OBJECTS, "table")
        """What carries each object: a surface, a cart, or the hand of an arm."""
        self._moving: dict[str, Movement] = {}
        self._history: list[dict[str, Any]] = []
        self._note("began")

    def answer(self, asked: Mapping[str, Any]) -> Any:
        """Do or tell what a robot or the judge asks."""
        with self._lock:
            kind = asked["kind"]
            if kind == "see":
                return [s.to_json() for s in self._seen_by(asked["robot"])]
            if kind == "begin":
                return self._begin(asked)
            if kind == "tick":
                return self._tick(asked["robot"], asked["intent"])
            if kind == "rest":
                self._rest(asked["robot"], asked["intent"])
                return None
            return self._history[asked["since"] :]

    def _begin(self, asked: Mapping[str, Any]) -> None:
        robot, intent = asked["robot"], asked["intent"]
        # How long and when depends on the attempt alone, so that runs can be compared.
        dice = hashlib.sha256(intent.encode()).digest()
        before = self._moving.get(robot)
        if before is not None:
            if time.monotonic() - before.ticked_s < DRIVE_DEADMAN_S:
                self._note("disturbed", intent=before.intent, robot=robot, by=intent)
            self._settle(robot)
        self._moving[robot] = Movement(
            intent=intent,
            robot=robot,
            skill=asked["skill"],
            values=asked["values"],
            lasts_s=0.4 + 0.8 * dice[0] / 255,
            takes_effect=0.3 + 0.6 * dice[1] / 255,
            from_m=self._x_m(robot),
        )
        self._note("run", intent=intent, robot=robot, skill=asked["skill"], values=asked["values"])

    def _tick(self, robot: str, intent: str) -> dict[str, Any]:
        """Move a robot on; returns whether it is done, and why it gave up."""
        movement = self._moving.get(robot)
        if movement is None or movement.intent != intent:
            return {"done": True, "why": "something else moves this robot"}
        now_s = time.monotonic()
        moved_s = min(now_s - movement.ticked_s, DRIVE_DEADMAN_S)
        movement.ticked_s = now_s
        before, movement.share = movement.share, movement.share + moved_s / movement.lasts_s
        if movement.skill == "drive":
            goal_m, was_at = STATIONS[movement.values["goal"]], _nearest(self._carts_m[robot])
            way = min(1.0, movement.share)
            self._carts_m[robot] = movement.from_m + way * (goal_m - movement.from_m)
            if _nearest(self._carts_m[robot]) != was_at:
                self._note("passed", robot=robot)
        elif before < movement.takes_effect <= movement.share and not self._grip(movement):
            del self._moving[robot]
            return {"done": True, "why": "there is nothing where it should be"}
        if movement.share < 1.0:
            return {"done": False, "why": ""}
        del self._moving[robot]
        if movement.skill == "drive":
            self._note("effect", intent=intent)
        return {"done": True, "why": ""}

    def _grip(self, movement: Movement) -> bool:
        """Let an object change hands if everything is where it must be."""
        robot, values = movement.robot, movement.values
        thing, surface = values["object"], values["surface"]
        held = [o for o, c in self._carrier.items() if c == robot]
        near = self._station(surface) == ARMS[robot]
        if movement.skill == "pick":
            if held or not near or self._carrier[thing] != surface:
                return False
            self._carrier[thing] = robot
        else:
            if held != [thing] or not near:
                return False
            self._carrier[thing] = surface
        self._note("effect", intent=movement.intent)
        return True

    def _rest(self, robot: str, intent: str) -> None:
        movement = self._moving.get(robot)
        if movement is not None and movement.intent == intent:
            self._settle(robot)

    def _settle(self, robot: str) -> None:
        """Bring a robot to rest on its side of the middle, though not between two stations."""
        del self._moving[robot]
        if robot in CARTS:
            beyond_m = self._carts_m[robot] - sum(STATIONS.values()) / 2
            if abs(beyond_m) < NO_REST_M:
                self._carts_m[robot] += math.copysign(NO_REST_M, beyond_m) - beyond_m
        self._note("rest", robot=robot)

    # Seeing --------------------------------------------------------------------------------------

    def _seen_by(self, robot: str) -> list[Sighting]:
        """Return what cameras above see, and what the robot feels itself."""
        for cart in CARTS:  # a process that died mid-way lets its robot roll out
            movement = self._moving.get(cart)
            if movement and time.monotonic() - movement.ticked_s > GONE_S:
                self._settle(cart)
        now_s = time.time()
        found = [
            Sighting(entity=name, by=robot, time_s=now_s, pose=_pose(*p), sigma_m=SIGMA_M)
            for name, p in (
                *((c, (x_m, CARTS[c], 0.0)) for c, x_m in self._carts_m.items()),
                *((o, self._position_m(o)) for o in OBJECTS),
            )
        ]
        if robot in ARMS:
            holds = {o: self._carrier[o] == robot for o in OBJECTS}
            felt = [f"{'' if yes else 'not '}holding({robot}, {o})" for o, yes in holds.items()]
            felt.append(f"{'not ' if any(holds.values()) else ''}free-hand({robot})")
            found.append(Sighting(entity=robot, by=robot, time_s=now_s, relations=tuple(felt)))
        return found

    def _position_m(self, thing: str) -> tuple[float, float, float]:
        carrier, beside_m = self._carrier[thing], OBJECTS[thing]
        if carrier in ARMS:
            return self._x_m(carrier), beside_m, HAND_M
        if carrier in CARTS:
            return self._x_m(carrier), CARTS[carrier] + beside_m, DECK_M + CUBE_M / 2
        return STATIONS[SURFACES[carrier]], beside_m, TOP_M + CUBE_M / 2

    def _x_m(self, robot: str) -> float:
        return self._carts_m[robot] if robot in CARTS else STATIONS[ARMS[robot]]

    def _station(self, carrier: str) -> str:
        """Return where a surface or a cart is; a moving cart is nowhere."""
        if carrier in SURFACES:
            return SURFACES[carrier]
        if carrier in self._moving:
            return ""
        return _nearest(self._carts_m[carrier])

    # The record ----------------------------------------------------------------------------------

    def _note(self, what: str, **about: Any) -> None:
        stations = {cart: _nearest(x_m) for cart, x_m in self._carts_m.items()}
        self._history.append(
            {
                "what": what,
                "time_s": time.time(),
                **about,
                "carrier": dict(self._carrier),
                "station": stations,
            }
        )


def _nearest(x_m: float) -> str:
    return min(STATIONS, key=lambda s: abs(STATIONS[s] - x_m))


def _pose(x_m: float, y_m: float, z_m: float) -> tuple[float, ...]:
    return (x_m, y_m, z_m, 1.0, 0.0, 0.0, 0.0)


# Between processes -------------------------------------------------------------------------------


def serve_world(path: Path) -> None:
    """Be the world; everybody asks over a Unix socket, a line of JSON each way."""
    world = World()

    class Asked(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(json.dumps(world.answer(json.loads(line))).encode() + b"\n")

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            if not isinstance(sys.exc_info()[1], (ConnectionError, BrokenPipeError)):
                super().handle_error(request, client_address)

    with Server(str(path), Asked) as server:
        server.serve_forever(poll_interval=5.0)


class Link:
    """A line to the world, or to the coordinator's process, for one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rwb")

    def ask(self, **asked: Any) -> Any:
        """Ask, and return the answer.

        Raises:
            ConnectionError: Who should answer is gone.
        """
        with self._lock:
            self._file.write(json.dumps(asked).encode() + b"\n")
            self._file.flush()
            line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("whoever was asked is gone")
        return json.loads(line)

    def close(self) -> None:
        """Close it."""
        self._file.close()
        self._socket.close()


class WorldRunner:
    """Makes a robot of the world move, tick by tick."""

    def __init__(self, robot: str, path: Path) -> None:
        """Connect to the world."""
        self._robot, self._link = robot, Link(path)

    def run(self, order: RunSkill, cancelled: threading.Event) -> tuple[Claim, str]:
        """Move until the world says that it is done."""
        about = {"robot": self._robot, "intent": order.intent}
        self._link.ask(kind="begin", **about, skill=order.skill, values=dict(order.values))
        while not cancelled.wait(TICK_S):
            told = self._link.ask(kind="tick", **about)
            if told["done"]:
                return ("gave-up", told["why"]) if told["why"] else ("finished", "")
        self._link.ask(kind="rest", **about)
        return "cancelled", "asked to stop"

    def look(self) -> tuple[Sighting, ...]:
        """Return what is seen and felt."""
        return tuple(map(Sighting.from_json, self._link.ask(kind="see", robot=self._robot)))

    def held(self) -> str | None:
        """Nothing ever holds these robots."""
        return None

    def stop(self, reason: str) -> None:
        """Nobody presses a stop here."""

    def release(self, by: str, signature: str) -> None:
        """Nobody presses a stop here."""


def end_with_parent() -> None:
    """End this process as soon as whoever started it is gone."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
